"""Diffusion and flow matching against closed forms: schedules, posteriors, samplers, the U-Net."""

import math

import pytest
import torch
from dl4cv import exercises
from dl4cv.models import diffusion, unet
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

SCHEDULES = [diffusion.linear_schedule, diffusion.cosine_schedule]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 10, 1000])
def test_a_schedule_falls_from_one_and_stays_positive(schedule, steps):
    alpha_bar = schedule(steps)
    assert alpha_bar.shape == (steps + 1,)
    assert alpha_bar.dtype == torch.float64
    assert alpha_bar[0] == 1
    assert (alpha_bar.diff() < 0).all()
    assert alpha_bar[-1] > 0


def test_the_linear_schedule_is_the_product_of_what_its_steps_keep():
    alpha_bar = diffusion.linear_schedule(1000)
    kept = 1.0
    for t in range(1, 1001):
        kept *= 1 - (1e-4 + (t - 1) / 999 * (0.02 - 1e-4))
        assert alpha_bar[t].item() == pytest.approx(kept, rel=1e-10)


def test_the_cosine_schedule_is_the_papers_but_for_the_last_step():
    alpha_bar = diffusion.cosine_schedule(1000)
    wave = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
    for t in range(1000):
        assert alpha_bar[t].item() == pytest.approx(wave[t] / wave[0], rel=1e-9)
    assert (alpha_bar[-1] / alpha_bar[-2]).item() == pytest.approx(0.001)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_all_steps_together_have_the_moments_of_the_closed_form(schedule):
    alpha_bar = schedule(50)
    mean, variance = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for t in range(1, 51):
        alpha = alpha_bar[t] / alpha_bar[t - 1]
        # What a step does to an image of 1, and what it adds.
        mean = mean * diffusion.q_sample(one, zero, alpha)
        variance = variance * diffusion.q_sample(one, zero, alpha) ** 2
        variance = variance + diffusion.q_sample(zero, one, alpha) ** 2
        at_once = diffusion.q_sample(one, zero, alpha_bar[t])
        torch.testing.assert_close(mean, at_once)
        torch.testing.assert_close(variance, diffusion.q_sample(zero, one, alpha_bar[t]) ** 2)
        torch.testing.assert_close(mean, alpha_bar[t].sqrt()[None])
        torch.testing.assert_close(variance, 1 - alpha_bar[t][None])


def test_steps_taken_one_by_one_spread_like_the_closed_form():
    alpha_bar, generator = diffusion.cosine_schedule(20), rng()
    x = torch.full((50_000,), 2.0, dtype=torch.float64)
    for t in range(1, 13):
        z = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = diffusion.q_sample(x, z, alpha_bar[t] / alpha_bar[t - 1])
    assert x.mean().item() == pytest.approx(2 * alpha_bar[12].sqrt().item(), abs=0.02)
    assert x.var().item() == pytest.approx(1 - alpha_bar[12].item(), abs=0.02)


def test_each_image_of_a_batch_has_its_own_time():
    x0, noise = normal(3, 1, 4, 5), normal(3, 1, 4, 5, seed=1)
    alpha_bar = torch.tensor([0.9, 0.5, 0.04], dtype=torch.float64)
    x = diffusion.q_sample(x0, noise, alpha_bar)
    for i, a in enumerate(alpha_bar.tolist()):
        torch.testing.assert_close(x[i], math.sqrt(a) * x0[i] + math.sqrt(1 - a) * noise[i])
    torch.testing.assert_close(diffusion.predict_x0(x, noise, alpha_bar), x0)
    torch.testing.assert_close(diffusion.predict_noise(x, x0, alpha_bar), noise)


def test_q_sample_refuses_other_shapes():
    with pytest.raises(ValueError, match="eps has shape"):
        diffusion.q_sample(torch.zeros(2, 3), torch.zeros(3), torch.tensor(0.5))


@pytest.mark.parametrize(("a_t", "a_s"), [(0.5, 0.6), (0.01, 0.9), (0.3, 1.0)])
def test_the_posterior_is_that_of_the_joint_normal(a_t, a_s):
    # x_s = √a x₀ + … and x_t = √(b/a) x_s + …: condition the joint normal of (x_s, x_t) on x_t.
    x0, x = 0.7, -1.2
    alpha = a_t / a_s
    mean = torch.tensor([math.sqrt(a_s) * x0, math.sqrt(a_t) * x0], dtype=torch.float64)
    early = 1 - a_s
    cross = math.sqrt(alpha) * early
    late = alpha * early + 1 - alpha
    expected_mean = mean[0] + cross / late * (x - mean[1])
    expected_variance = early - cross**2 / late
    ours = diffusion.posterior(*(torch.tensor([v], dtype=torch.float64) for v in (x, x0, a_t, a_s)))
    torch.testing.assert_close(ours[0].squeeze(), expected_mean)
    assert ours[1].item() == pytest.approx(expected_variance, abs=1e-14)


def test_the_posterior_is_that_of_bayes_on_a_grid():
    a_t, a_s, x0, x = 0.35, 0.5, 0.4, 0.1
    grid = torch.linspace(-8, 8, 40_001, dtype=torch.float64)
    log_p = Normal(math.sqrt(a_s) * x0, math.sqrt(1 - a_s)).log_prob(grid)
    log_p += Normal(math.sqrt(a_t / a_s) * grid, math.sqrt(1 - a_t / a_s)).log_prob(
        torch.tensor(x, dtype=torch.float64)
    )
    p = log_p.softmax(0)
    mean = (p * grid).sum()
    ours = diffusion.posterior(*(torch.tensor([v], dtype=torch.float64) for v in (x, x0, a_t, a_s)))
    assert ours[0].item() == pytest.approx(mean.item(), abs=1e-6)
    assert ours[1].item() == pytest.approx((p * (grid - mean) ** 2).sum().item(), abs=1e-6)


@pytest.mark.parametrize("t", [2, 400, 1000])
def test_the_bound_is_the_squared_error_of_the_noise_but_for_a_factor(t):
    alpha_bar = diffusion.linear_schedule()
    a_t, a_s = alpha_bar[t], alpha_bar[t - 1]
    x0, noise, guess = normal(1), normal(1, seed=1), normal(1, seed=2)
    x = diffusion.q_sample(x0, noise, a_t)
    mean, variance = diffusion.posterior(x, x0, a_t, a_s)
    model, _ = diffusion.posterior(x, diffusion.predict_x0(x, guess, a_t), a_t, a_s)
    kl = kl_divergence(Normal(mean, variance.sqrt()), Normal(model, variance.sqrt()))
    beta, alpha = 1 - a_t / a_s, a_t / a_s
    torch.testing.assert_close(kl, beta / (2 * alpha * (1 - a_s)) * (noise - guess) ** 2)


def test_ddim_with_eta_one_draws_as_ddpm_does():
    x, x0, z = (normal(4, 1, 3, 3, seed=s) for s in range(3))
    a_t = torch.tensor([0.02, 0.3, 0.5, 0.9], dtype=torch.float64)
    a_s = torch.tensor([0.1, 0.35, 0.99, 1.0], dtype=torch.float64)
    ours = diffusion.ddim_step(x, x0, a_t, a_s, z, eta=1.0)
    torch.testing.assert_close(ours, diffusion.ddpm_step(x, x0, a_t, a_s, z))
    zero = torch.zeros_like(z)
    added = ours - diffusion.ddim_step(x, x0, a_t, a_s, zero, eta=1.0)
    _, variance = diffusion.posterior(x, x0, a_t, a_s)
    torch.testing.assert_close(added, variance.sqrt() * z)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_every_eta_keeps_the_marginal(eta):
    # If x is √b x₀ + √(1 − b) ε, then the step's result is √a x₀ plus noise of variance 1 − a.
    a_t = torch.tensor(0.2, dtype=torch.float64)
    a_s = torch.tensor(0.7, dtype=torch.float64)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)

    def step(x0, noise, z):
        x = diffusion.q_sample(x0, noise, a_t)
        return diffusion.ddim_step(x, x0, a_t, a_s, z, eta=eta)

    torch.testing.assert_close(step(one, zero, zero), a_s.sqrt()[None])
    variance = step(zero, one, zero) ** 2 + step(zero, zero, one) ** 2
    torch.testing.assert_close(variance, 1 - a_s[None])


def test_ddim_needs_noise_if_eta_is_not_zero():
    x, level = torch.zeros(2, 3), torch.tensor(0.5)
    with pytest.raises(ValueError, match=r"z is None with eta 0\.5"):
        diffusion.ddim_step(x, x, level, torch.tensor(0.9), eta=0.5)


MEAN, STD = 0.6, 0.3


def gaussian_noise(alpha_bar):
    """The best guess of the noise if the data are normal with ``MEAN`` and ``STD``."""
    last = len(alpha_bar) - 1

    def net(x, time, labels):
        a = alpha_bar[(time * last).round().long()].reshape(-1, 1).to(x)
        return (1 - a).sqrt() * (x - a.sqrt() * MEAN) / (a * STD**2 + 1 - a)

    return net


def gaussian_velocity(x, time, labels):
    """E[ε − x₀ | x] if the data are normal with ``MEAN`` and ``STD``."""
    t = time.reshape(-1, 1)
    spread = (1 - t) ** 2 * STD**2 + t**2
    gap = x - (1 - t) * MEAN
    return t / spread * gap - (MEAN + (1 - t) * STD**2 / spread * gap)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_with_the_exact_denoiser_recovers_a_gaussian(schedule):
    alpha_bar, noise = schedule(1000), torch.linspace(-2.5, 2.5, 11, dtype=torch.float64)[:, None]
    x = diffusion.sample(gaussian_noise(alpha_bar), noise, alpha_bar, steps=1000, clip=None)
    torch.testing.assert_close(x, MEAN + STD * noise, atol=0.02, rtol=0)


@pytest.mark.parametrize(("eta", "steps"), [(1.0, 200), (0.5, 200), (0.0, 200)])
def test_every_eta_draws_the_gaussian(eta, steps):
    alpha_bar, noise = diffusion.cosine_schedule(1000), normal(20_000, 1)
    x = diffusion.sample(
        gaussian_noise(alpha_bar),
        noise,
        alpha_bar,
        steps=steps,
        eta=eta,
        clip=None,
        generator=rng(1),
    )
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(STD, abs=0.02)


def test_only_ddpm_forgets_where_it_started():
    alpha_bar, noise = diffusion.cosine_schedule(1000), normal(2000, 1)

    def correlation(eta):
        x = diffusion.sample(
            gaussian_noise(alpha_bar), noise, alpha_bar, steps=200, eta=eta, generator=rng(1)
        )
        return torch.corrcoef(torch.cat([noise, x], 1).T)[0, 1].item()

    assert correlation(0.0) > 0.95
    assert abs(correlation(1.0)) < 0.2


def test_predictions_of_x0_are_clipped():
    alpha_bar, seen = diffusion.cosine_schedule(10), []
    diffusion.sample(
        lambda x, time, labels: torch.zeros_like(x),
        normal(5, 1),
        alpha_bar,
        steps=5,
        clip=0.5,
        callback=lambda x, x0: seen.append(x0),
    )
    assert len(seen) == 5
    assert all(x0.abs().max() <= 0.5 for x0 in seen)


def test_the_net_is_evaluated_at_evenly_spaced_times():
    asked = []

    def net(x, time, labels):
        asked.append(time.tolist())
        return torch.zeros_like(x)

    alpha_bar = diffusion.cosine_schedule(1000)
    diffusion.sample(net, normal(2, 1), alpha_bar, steps=4)
    assert asked == [[1.0, 1.0], [0.75, 0.75], [0.5, 0.5], [0.25, 0.25]]
    asked.clear()
    diffusion.sample_flow(net, normal(2, 1), steps=4)
    assert asked == [[1.0, 1.0], [0.75, 0.75], [0.5, 0.5], [0.25, 0.25]]


@pytest.mark.parametrize("steps", [0, 11])
def test_sampling_refuses_steps_out_of_range(steps):
    with pytest.raises(ValueError, match=f"steps is {steps}; expected 1"):
        diffusion.sample(
            lambda *_: None, torch.zeros(1, 1), diffusion.cosine_schedule(10), steps=steps
        )


def test_flow_refuses_no_steps():
    with pytest.raises(ValueError, match="steps is 0; expected 1 or more"):
        diffusion.sample_flow(lambda *_: None, torch.zeros(1, 1), steps=0)


def test_flow_with_the_exact_velocity_carries_noise_to_the_gaussian():
    noise = torch.linspace(-2.5, 2.5, 11, dtype=torch.float64)[:, None]
    x = diffusion.sample_flow(gaussian_velocity, noise, steps=1000)
    torch.testing.assert_close(x, MEAN + STD * noise, atol=0.01, rtol=0)


def test_flow_to_a_single_image_needs_one_step():
    image, noise = normal(1, 3), normal(6, 3, seed=1)
    seen = []
    x = diffusion.sample_flow(
        lambda x, time, labels: (x - image) / time[:, None],
        noise,
        steps=1,
        callback=lambda x, x0: seen.append(x0),
    )
    torch.testing.assert_close(x, image.expand(6, 3))
    torch.testing.assert_close(seen[0], x)


def test_the_target_of_a_flow_is_the_slope_of_its_path():
    x0, noise = normal(4, 1, 2, 2), normal(4, 1, 2, 2, seed=1)
    time = torch.tensor([0.0, 0.3, 0.5, 0.99], dtype=torch.float64)
    x_t = diffusion.interpolate(x0, noise, time)
    slope = (diffusion.interpolate(x0, noise, time + 0.01) - x_t) / 0.01
    torch.testing.assert_close(slope, diffusion.velocity(x0, noise))
    torch.testing.assert_close(x_t[0], x0[0])
    torch.testing.assert_close(diffusion.interpolate(x0, noise, 1.0), noise)


def test_guidance_extrapolates_from_unconditional_to_conditional():
    def net(x, time, labels):
        return x + (0.0 if labels is None else labels[:, None].double())

    x, time, labels = normal(3, 2), torch.full((3,), 0.5), torch.tensor([1, 2, 4])
    for scale in (0.0, 0.5, 1.0, 3.0):
        got = diffusion.classifier_free_guidance(net, scale=scale)(x, time, labels)
        torch.testing.assert_close(got, x + scale * labels[:, None])
    torch.testing.assert_close(diffusion.classifier_free_guidance(net, scale=3.0)(x, time, None), x)


@pytest.mark.parametrize(("scale", "calls"), [(0.0, 1), (1.0, 1), (2.0, 2)])
def test_guidance_evaluates_the_net_no_more_often_than_it_must(scale, calls):
    asked = []

    def net(x, time, labels):
        asked.append(labels)
        return x

    diffusion.classifier_free_guidance(net, scale=scale)(
        normal(2, 2), torch.zeros(2), torch.tensor([1, 2])
    )
    assert len(asked) == calls


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_guidance_of_gaussians_is_the_product_of_densities(scale):
    # Classes are normal with means ±1 and equal spread; all data taken for one normal cloud, the
    # guided noise belongs to p(x) (p(x | y) / p(x))^w, which is normal too.
    a, wide, narrow, mean = 0.4, 1.5, 0.5, 1.0
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]

    def variance(s):
        return a * s**2 + 1 - a

    def net(x, time, labels):
        if labels is None:
            return math.sqrt(1 - a) * x / variance(wide)
        return math.sqrt(1 - a) * (x - math.sqrt(a) * mean) / variance(narrow)

    x.requires_grad_()
    cond = Normal(math.sqrt(a) * mean, math.sqrt(variance(narrow))).log_prob(x)
    uncond = Normal(0.0, math.sqrt(variance(wide))).log_prob(x)
    (score,) = torch.autograd.grad((uncond + scale * (cond - uncond)).sum(), x)
    labels = torch.zeros(7, dtype=torch.long)
    got = diffusion.classifier_free_guidance(net, scale=scale)(x, torch.zeros(7), labels)
    torch.testing.assert_close(got, -math.sqrt(1 - a) * score)


def test_the_denoiser_is_right_when_its_net_names_v():
    alpha_bar = diffusion.cosine_schedule(1000).float().double()
    t = torch.tensor([3, 500, 990])
    x0, noise = normal(3, 1, 4, 4), normal(3, 1, 4, 4, seed=1)
    a = alpha_bar[t].reshape(3, 1, 1, 1)
    heard = []

    def net(x, time, labels):
        heard.append((time, labels))
        return a.sqrt() * noise - (1 - a).sqrt() * x0

    denoiser = diffusion.Denoiser(Called(net), alpha_bar).double()
    x, labels = diffusion.q_sample(x0, noise, alpha_bar[t]), torch.tensor([1, 2, 10])
    torch.testing.assert_close(denoiser(x, t / 1000.0, labels), noise)
    torch.testing.assert_close(heard, [(t / 1000.0, labels)])


class Called(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def test_labels_are_dropped_with_the_given_probability():
    torch.manual_seed(0)
    labels = torch.arange(20_000) % 10
    dropped = diffusion.drop_labels(labels, 0.2, 10)
    gone = dropped == 10
    assert gone.double().mean().item() == pytest.approx(0.2, abs=0.01)
    assert torch.equal(dropped[~gone], labels[~gone])
    assert torch.equal(diffusion.drop_labels(labels, 0.0, 10), labels)
    assert (diffusion.drop_labels(labels, 1.0, 10) == 10).all()


def test_the_time_embedding_turns_at_its_frequencies():
    time = torch.tensor([0.0, 0.2, 1.0], dtype=torch.float64)
    got = unet.time_embedding(time, 8)
    assert got.shape == (3, 8)
    for i, frequency in enumerate((1.0, 100 ** (1 / 3), 100 ** (2 / 3), 100.0)):
        torch.testing.assert_close(got[:, i], (time * frequency).sin())
        torch.testing.assert_close(got[:, i + 4], (time * frequency).cos())


def test_the_time_embedding_separates_all_thousand_times():
    got = unet.time_embedding(torch.arange(1001, dtype=torch.float64) / 1000, 64)
    distances = torch.cdist(got, got) + 9 * torch.eye(1001)
    assert distances.min() > 0.05


@pytest.mark.parametrize("size", [2, 7])
def test_the_time_embedding_refuses(size):
    with pytest.raises(ValueError, match=f"dim is {size}; expected an even number"):
        unet.time_embedding(torch.zeros(1), size)


def wake(net):
    """Fill the weights that start at zero, behind which others learn nothing at first."""
    for module in net.modules():
        if isinstance(module, unet.ResBlock):
            torch.nn.init.normal_(module.conv2.weight, std=0.1)
    torch.nn.init.normal_(net.conv_out.weight, std=0.1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return unet.UNet((4, 8), cond_dim=16).double()


@pytest.mark.parametrize("side", [4, 12, 28])
def test_the_unet_keeps_the_shape(net, side):
    x = normal(3, 1, side, side + 4)
    assert net(x, torch.rand(3).double()).shape == x.shape


def test_the_unet_depends_on_time_and_label(net):
    wake(net)
    x, time = normal(2, 1, 8, 8), torch.tensor([0.3, 0.3], dtype=torch.float64)
    conditional = net(x, time, torch.tensor([3, 3]))
    unconditional = net(x, time, torch.tensor([10, 10]))
    assert not torch.allclose(conditional, unconditional)
    torch.testing.assert_close(net(x, time), unconditional)
    assert not torch.allclose(net(x, time + 0.1), unconditional)


def test_an_image_changes_no_other_image_of_its_batch(net):
    x, time = normal(3, 1, 8, 8), torch.rand(3).double()
    other = x.clone()
    other[0] += 1
    torch.testing.assert_close(net(x, time)[1:], net(other, time)[1:])


def test_every_parameter_of_the_unet_learns(net):
    wake(net)
    net(normal(11, 1, 8, 8), torch.rand(11).double(), torch.arange(11)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_unet_learns_one_batch():
    torch.manual_seed(0)
    net = unet.UNet((16, 32))
    x0, noise = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    time = torch.tensor([0.3, 0.6])
    x = diffusion.interpolate(x0, noise, time)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(150):
        loss = (net(x, time) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_a_state_dict_makes_the_round_trip(net):
    other = unet.UNet((4, 8), cond_dim=16).double()
    other.load_state_dict(net.state_dict())
    x, time = normal(1, 1, 8, 8), torch.tensor([0.5], dtype=torch.float64)
    assert torch.equal(net(x, time), other(x, time))


def euler(velocity, x, steps, late=0):
    for i in range(steps):
        x = x - velocity(x, 1 - (i + late) / steps) / steps
    return x


ANSWERS = [
    ("q_sample", diffusion.q_sample, lambda x, e, a: torch.lerp(e, x, a[:, None, None, None])),
    (
        "predict_x0",
        lambda x, e, a: diffusion.predict_x0(x, e, torch.tensor(a)).clamp(-1, 1),
        lambda x, e, a: diffusion.predict_x0(x, e, torch.tensor(a)),
    ),
    (
        "ddim_step",
        lambda x, e, a_t, a_s: (
            (x - (1 - a_t) ** 0.5 * e) * (a_s / a_t) ** 0.5 + (1 - a_s) ** 0.5 * e
        ),
        lambda x, e, a_t, a_s: (x - (1 - a_t) ** 0.5 * e) / a_t**0.5 + (1 - a_s) ** 0.5 * e,
    ),
    ("guidance", lambda t, u, w: u + w * (t - u), lambda t, u, w: t + w * (t - u)),
    ("euler", euler, lambda v, x, steps: euler(v, x, steps, late=1)),
]


@pytest.mark.parametrize(("name", "right", "wrong"), ANSWERS, ids=[answer[0] for answer in ANSWERS])
def test_exercises_tell_right_from_wrong(name, right, wrong):
    assert exercises.check(f"diffusion/{name}", right).passed
    assert not exercises.check(f"diffusion/{name}", wrong).passed


DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
LEVELS = st.floats(1e-3, 0.999)


@settings(max_examples=40)
@given(
    dtype=st.sampled_from(DTYPES),
    a=LEVELS,
    b=LEVELS,
    count=st.integers(0, 3),
    shape=st.sampled_from([(1, 4, 4), (3, 2, 5), (7,)]),
)
@example(dtype=torch.bfloat16, a=0.9985, b=0.999, count=2, shape=(1, 4, 4))
def test_every_function_agrees_with_float64_in_every_precision(dtype, a, b, count, shape):
    a_t, a_s = sorted((a, b))
    shape = (count, *shape)
    x0, eps, z = (normal(*shape, seed=s).clamp(-3, 3).to(dtype) for s in range(3))
    x_t = diffusion.q_sample(x0, eps, a_t)

    def agree(function, *inputs, **keywords):
        got = function(*inputs, **keywords)
        exact = function(*(i.double() if torch.is_tensor(i) else i for i in inputs), **keywords)
        assert got.dtype == dtype
        size = max(exact.abs().max().item(), 1) if count else 1
        # The result is rounded to its type; before that, dividing by √ᾱ enlarges small errors.
        rounding = 8 * torch.finfo(dtype).eps
        inner = 300 * torch.finfo(torch.promote_types(dtype, torch.float32)).eps
        torch.testing.assert_close(got.double(), exact, rtol=0, atol=(rounding + inner) * size)

    agree(diffusion.q_sample, x0, eps, a_t)
    agree(diffusion.predict_x0, x_t, eps, a_t)
    agree(diffusion.predict_noise, x_t, x0, a_t)
    agree(lambda *inputs: diffusion.posterior(*inputs)[0], x_t, x0, a_t, a_s)
    agree(diffusion.ddpm_step, x_t, x0, a_t, a_s, z)
    agree(diffusion.ddim_step, x_t, x0, a_t, a_s)
    agree(diffusion.ddim_step, x_t, x0, a_t, a_s, z, eta=0.5)
    agree(diffusion.interpolate, x0, eps, a)
    agree(diffusion.velocity, x0, eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sampling_is_right_in_every_precision(dtype, schedule, eta):
    alpha_bar, noise = schedule(1000), normal(9, 1)

    def draw(dtype):
        exact = gaussian_noise(alpha_bar)

        def net(x, time, labels):
            assert x.dtype == dtype
            assert time.dtype == torch.promote_types(dtype, torch.float32)
            return exact(x.double(), time, labels).to(dtype)

        return diffusion.sample(
            net, noise.to(dtype), alpha_bar, steps=50, eta=eta, clip=None, generator=rng()
        )

    assert draw(dtype).dtype == dtype
    torch.testing.assert_close(draw(dtype).double(), draw(torch.float64), rtol=0, atol=0.05)


@pytest.mark.parametrize("dtype", DTYPES)
def test_flow_and_guidance_are_right_in_every_precision(dtype):
    x = diffusion.sample_flow(
        lambda x, time, labels: x if labels is None else 0 * x,
        torch.ones(2, 3, dtype=dtype),
        steps=100,
        labels=torch.zeros(2, dtype=torch.uint8),
        scale=0.5,
    )
    assert x.dtype == dtype
    torch.testing.assert_close(
        x.double(), torch.full((2, 3), 0.995).double() ** 100, atol=0.02, rtol=0
    )


def test_the_unet_and_its_frame_work_in_half_precision(net):
    wake(net)
    model = diffusion.Denoiser(net, diffusion.cosine_schedule()).float()
    x, time, labels = normal(3, 1, 8, 8).float(), torch.tensor([0.01, 0.5, 1.0]), torch.arange(3)
    expected = model(x, time, labels)
    model.bfloat16()
    assert model.alpha_bar.dtype == torch.float32
    for dtype in (torch.int32, torch.uint8):
        eps = model(x.bfloat16(), time, labels.to(dtype))
        assert eps.dtype == torch.bfloat16
        torch.testing.assert_close(eps.float(), expected, atol=0.1, rtol=0.1)
    assert (
        diffusion.sample(model, x.bfloat16(), diffusion.cosine_schedule(), steps=5, labels=labels)
        .isfinite()
        .all()
    )


@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_of_none_or_one_is_sampled(net, count):
    noise = normal(count, 1, 8, 12)
    model = diffusion.Denoiser(net, diffusion.cosine_schedule(10))
    x = diffusion.sample(model, noise, diffusion.cosine_schedule(10), steps=10, eta=1.0)
    assert x.shape == diffusion.sample_flow(net, noise, steps=1).shape == noise.shape


def test_the_unet_takes_color():
    net = unet.UNet((4, 8), in_channels=3, num_classes=2, cond_dim=8)
    x = torch.rand(2, 3, 8, 4)
    assert net(x, torch.rand(2), torch.tensor([0, 2])).shape == x.shape


X, HALF = torch.zeros(2, 3), torch.tensor(0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: diffusion.linear_schedule(0), "steps is 0; expected 1 or more"),
        (lambda: diffusion.linear_schedule(beta_end=1.0), r"beta_end is 1; expected .* \(0, 1\)"),
        (lambda: diffusion.linear_schedule(beta_start=0), r"beta_start is 0; expected .* \(0, 1\)"),
        (lambda: diffusion.cosine_schedule(max_beta=1.0), r"max_beta is 1; expected .* \(0, 1\)"),
        (lambda: diffusion.cosine_schedule(offset=-0.1), r"offset is -0.1; expected .* \[0, 1\]"),
        (lambda: diffusion.q_sample(X, X, 1.5), r"alpha_bar is 1.5; expected .* \[0, 1\]"),
        (lambda: diffusion.q_sample(X, X, torch.ones(3)), r"alpha_bar has shape \(3,\); .* \(2,\)"),
        (lambda: diffusion.predict_x0(X, X, 0.0), r"alpha_bar is 0; expected .* \(0, 1\]"),
        (lambda: diffusion.predict_x0(X, X[:1], HALF), "eps has shape"),
        (lambda: diffusion.predict_noise(X, X, 1.0), r"alpha_bar is 1; expected .* \[0, 1\)"),
        (lambda: diffusion.posterior(X, X, 1.0, 1.0), r"alpha_bar_t is 1; expected .* \[0, 1\)"),
        (lambda: diffusion.posterior(X, X, 0.6, 0.5), "alpha_bar_s is below alpha_bar_t"),
        (lambda: diffusion.ddpm_step(X, X, 0.5, 0.6, X[:1]), "z has shape"),
        (
            lambda: diffusion.ddim_step(X, X, 0.5, 0.6, X, eta=1.5),
            r"eta is 1.5; expected .* \[0, 1\]",
        ),
        (lambda: diffusion.drop_labels(torch.arange(3), 1.5, 10), "probability is 1.5"),
        (lambda: diffusion.interpolate(X, X[:1], HALF), "eps has shape"),
        (lambda: diffusion.interpolate(X, X, 1.5), "time is 1.5"),
        (lambda: diffusion.velocity(X, X[:1]), "eps has shape"),
        (
            lambda: diffusion.sample_flow(lambda *_: X, X, steps=1, labels=torch.arange(3)),
            r"labels has shape \(3,\); expected \(2,\)",
        ),
        (lambda: unet.UNet()(torch.zeros(2, 3, 8, 8), torch.zeros(2)), "x has shape"),
        (lambda: unet.UNet()(torch.zeros(2, 1, 8, 6), torch.zeros(2)), "H and W multiples of 4"),
        (lambda: unet.UNet()(torch.zeros(2, 1, 8, 8), torch.zeros(())), "time has shape"),
        (
            lambda: unet.UNet()(torch.zeros(1, 1, 8, 8), torch.zeros(1), torch.tensor([11])),
            "labels holds 11; expected classes from 0 to 10",
        ),
        (
            lambda: diffusion.Denoiser(unet.UNet(), diffusion.cosine_schedule(9))(
                torch.zeros(1, 1, 8, 8), torch.tensor([-0.5])
            ),
            r"time is -0.5; expected .* \[0, 1\]",
        ),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
