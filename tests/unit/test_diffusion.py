"""Diffusion and flow matching against closed forms: schedules, posteriors, samplers, the U-Net."""

import math

import pytest
import torch
from dl4cv import exercises
from dl4cv.models import diffusion, unet
from torch.distributions import Normal, kl_divergence

SCHEDULES = [diffusion.linear, diffusion.cosine]


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
    alpha_bar = diffusion.linear(1000)
    kept = 1.0
    for t in range(1, 1001):
        kept *= 1 - (1e-4 + (t - 1) / 999 * (0.02 - 1e-4))
        assert alpha_bar[t].item() == pytest.approx(kept, rel=1e-10)


def test_the_cosine_schedule_is_the_papers_but_for_the_last_step():
    alpha_bar = diffusion.cosine(1000)
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
    alpha_bar, generator = diffusion.cosine(20), rng()
    x = torch.full((50_000,), 2.0, dtype=torch.float64)
    for t in range(1, 13):
        fresh = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = diffusion.q_sample(x, fresh, alpha_bar[t] / alpha_bar[t - 1])
    assert x.mean().item() == pytest.approx(2 * alpha_bar[12].sqrt().item(), abs=0.02)
    assert x.var().item() == pytest.approx(1 - alpha_bar[12].item(), abs=0.02)


def test_each_image_of_a_batch_has_its_own_time():
    clean, noise = normal(3, 1, 4, 5), normal(3, 1, 4, 5, seed=1)
    alpha_bar = torch.tensor([0.9, 0.5, 0.04], dtype=torch.float64)
    x = diffusion.q_sample(clean, noise, alpha_bar)
    for i, a in enumerate(alpha_bar.tolist()):
        torch.testing.assert_close(x[i], math.sqrt(a) * clean[i] + math.sqrt(1 - a) * noise[i])
    torch.testing.assert_close(diffusion.clean_from(x, noise, alpha_bar), clean)
    torch.testing.assert_close(diffusion.noise_from(x, clean, alpha_bar), noise)


def test_q_sample_refuses_other_shapes():
    with pytest.raises(ValueError, match="noise has shape"):
        diffusion.q_sample(torch.zeros(2, 3), torch.zeros(3), torch.tensor(0.5))


@pytest.mark.parametrize(("now", "then"), [(0.5, 0.6), (0.01, 0.9), (0.3, 1.0)])
def test_the_posterior_is_that_of_the_joint_normal(now, then):
    # x_s = √a x₀ + … and x_t = √(b/a) x_s + …: condition the joint normal of (x_s, x_t) on x_t.
    clean, x = 0.7, -1.2
    alpha = now / then
    mean = torch.tensor([math.sqrt(then) * clean, math.sqrt(now) * clean], dtype=torch.float64)
    early = 1 - then
    cross = math.sqrt(alpha) * early
    late = alpha * early + 1 - alpha
    expected_mean = mean[0] + cross / late * (x - mean[1])
    expected_variance = early - cross**2 / late
    ours = diffusion.posterior(
        *(torch.tensor([v], dtype=torch.float64) for v in (x, clean, now, then))
    )
    torch.testing.assert_close(ours[0].squeeze(), expected_mean)
    assert ours[1].item() == pytest.approx(expected_variance, abs=1e-14)


def test_the_posterior_is_that_of_bayes_on_a_grid():
    now, then, clean, x = 0.35, 0.5, 0.4, 0.1
    grid = torch.linspace(-8, 8, 40_001, dtype=torch.float64)
    log_p = Normal(math.sqrt(then) * clean, math.sqrt(1 - then)).log_prob(grid)
    log_p += Normal(math.sqrt(now / then) * grid, math.sqrt(1 - now / then)).log_prob(
        torch.tensor(x, dtype=torch.float64)
    )
    p = log_p.softmax(0)
    mean = (p * grid).sum()
    ours = diffusion.posterior(
        *(torch.tensor([v], dtype=torch.float64) for v in (x, clean, now, then))
    )
    assert ours[0].item() == pytest.approx(mean.item(), abs=1e-6)
    assert ours[1].item() == pytest.approx((p * (grid - mean) ** 2).sum().item(), abs=1e-6)


@pytest.mark.parametrize("t", [2, 400, 1000])
def test_the_bound_is_the_squared_error_of_the_noise_but_for_a_factor(t):
    alpha_bar = diffusion.linear()
    now, then = alpha_bar[t], alpha_bar[t - 1]
    clean, noise, guess = normal(1), normal(1, seed=1), normal(1, seed=2)
    x = diffusion.q_sample(clean, noise, now)
    mean, variance = diffusion.posterior(x, clean, now, then)
    model, _ = diffusion.posterior(x, diffusion.clean_from(x, guess, now), now, then)
    kl = kl_divergence(Normal(mean, variance.sqrt()), Normal(model, variance.sqrt()))
    beta, alpha = 1 - now / then, now / then
    torch.testing.assert_close(kl, beta / (2 * alpha * (1 - then)) * (noise - guess) ** 2)


def test_ddim_with_eta_one_draws_as_ddpm_does():
    x, clean, fresh = (normal(4, 1, 3, 3, seed=s) for s in range(3))
    now = torch.tensor([0.02, 0.3, 0.5, 0.9], dtype=torch.float64)
    then = torch.tensor([0.1, 0.35, 0.99, 1.0], dtype=torch.float64)
    ours = diffusion.ddim_step(x, clean, now, then, fresh, eta=1.0)
    torch.testing.assert_close(ours, diffusion.ddpm_step(x, clean, now, then, fresh))
    zero = torch.zeros_like(fresh)
    added = ours - diffusion.ddim_step(x, clean, now, then, zero, eta=1.0)
    _, variance = diffusion.posterior(x, clean, now, then)
    torch.testing.assert_close(added, variance.sqrt() * fresh)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_every_eta_keeps_the_marginal(eta):
    # If x is √b x₀ + √(1 − b) ε, then the step's result is √a x₀ plus noise of variance 1 − a.
    now = torch.tensor(0.2, dtype=torch.float64)
    then = torch.tensor(0.7, dtype=torch.float64)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)

    def step(clean, noise, fresh):
        x = diffusion.q_sample(clean, noise, now)
        return diffusion.ddim_step(x, clean, now, then, fresh, eta=eta)

    torch.testing.assert_close(step(one, zero, zero), then.sqrt()[None])
    variance = step(zero, one, zero) ** 2 + step(zero, zero, one) ** 2
    torch.testing.assert_close(variance, 1 - then[None])


def test_ddim_wants_fresh_noise_if_eta_is_not_zero():
    x, level = torch.zeros(2, 3), torch.tensor(0.5)
    with pytest.raises(ValueError, match=r"fresh is None with eta 0\.5"):
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
    x = diffusion.sample(gaussian_noise(alpha_bar), noise, alpha_bar, steps=1000, limit=None)
    torch.testing.assert_close(x, MEAN + STD * noise, atol=0.02, rtol=0)


@pytest.mark.parametrize(("eta", "steps"), [(1.0, 200), (0.5, 200), (0.0, 200)])
def test_every_eta_draws_the_gaussian(eta, steps):
    alpha_bar, noise = diffusion.cosine(1000), normal(20_000, 1)
    x = diffusion.sample(
        gaussian_noise(alpha_bar),
        noise,
        alpha_bar,
        steps=steps,
        eta=eta,
        limit=None,
        generator=rng(1),
    )
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(STD, abs=0.02)


def test_only_ddpm_forgets_where_it_started():
    alpha_bar, noise = diffusion.cosine(1000), normal(2000, 1)

    def correlation(eta):
        x = diffusion.sample(
            gaussian_noise(alpha_bar), noise, alpha_bar, steps=200, eta=eta, generator=rng(1)
        )
        return torch.corrcoef(torch.cat([noise, x], 1).T)[0, 1].item()

    assert correlation(0.0) > 0.95
    assert abs(correlation(1.0)) < 0.2


def test_the_guess_is_cut_off_at_the_limit():
    alpha_bar, seen = diffusion.cosine(10), []
    diffusion.sample(
        lambda x, time, labels: torch.zeros_like(x),
        normal(5, 1),
        alpha_bar,
        steps=5,
        limit=0.5,
        watch=lambda x, clean: seen.append(clean),
    )
    assert len(seen) == 5
    assert all(clean.abs().max() <= 0.5 for clean in seen)


def test_the_net_is_asked_at_equal_strides_of_time():
    asked = []

    def net(x, time, labels):
        asked.append(time.tolist())
        return torch.zeros_like(x)

    alpha_bar = diffusion.cosine(1000)
    diffusion.sample(net, normal(2, 1), alpha_bar, steps=4)
    assert asked == [[1.0, 1.0], [0.75, 0.75], [0.5, 0.5], [0.25, 0.25]]
    asked.clear()
    diffusion.flow(net, normal(2, 1), steps=4)
    assert asked == [[1.0, 1.0], [0.75, 0.75], [0.5, 0.5], [0.25, 0.25]]


@pytest.mark.parametrize("steps", [0, 11])
def test_sampling_refuses_steps_out_of_range(steps):
    with pytest.raises(ValueError, match=f"steps is {steps}; expected 1"):
        diffusion.sample(lambda *_: None, torch.zeros(1, 1), diffusion.cosine(10), steps=steps)


def test_flow_refuses_no_steps():
    with pytest.raises(ValueError, match="steps is 0; expected 1 or more"):
        diffusion.flow(lambda *_: None, torch.zeros(1, 1), steps=0)


def test_flow_with_the_exact_velocity_carries_noise_to_the_gaussian():
    noise = torch.linspace(-2.5, 2.5, 11, dtype=torch.float64)[:, None]
    x = diffusion.flow(gaussian_velocity, noise, steps=1000)
    torch.testing.assert_close(x, MEAN + STD * noise, atol=0.01, rtol=0)


def test_flow_to_a_single_image_needs_one_step():
    image, noise = normal(1, 3), normal(6, 3, seed=1)
    seen = []
    x = diffusion.flow(
        lambda x, time, labels: (x - image) / time[:, None],
        noise,
        steps=1,
        watch=lambda x, clean: seen.append(clean),
    )
    torch.testing.assert_close(x, image.expand(6, 3))
    torch.testing.assert_close(seen[0], x)


def test_the_target_of_a_flow_is_the_slope_of_its_way():
    clean, noise = normal(4, 1, 2, 2), normal(4, 1, 2, 2, seed=1)
    time = torch.tensor([0.0, 0.3, 0.5, 1.0], dtype=torch.float64)
    way = diffusion.between(clean, noise, time)
    slope = (diffusion.between(clean, noise, time + 0.01) - way) / 0.01
    torch.testing.assert_close(slope, diffusion.velocity(clean, noise))
    torch.testing.assert_close(way[0], clean[0])
    torch.testing.assert_close(way[3], noise[3])


def test_guidance_extrapolates_from_untold_to_told():
    def net(x, time, labels):
        return x + (0.0 if labels is None else labels[:, None].double())

    x, time, labels = normal(3, 2), torch.full((3,), 0.5), torch.tensor([1, 2, 4])
    for weight in (0.0, 0.5, 1.0, 3.0):
        came = diffusion.guided(net, weight)(x, time, labels)
        torch.testing.assert_close(came, x + weight * labels[:, None])
    torch.testing.assert_close(diffusion.guided(net, 3.0)(x, time, None), x)


@pytest.mark.parametrize(("weight", "calls"), [(0.0, 1), (1.0, 1), (2.0, 2)])
def test_guidance_asks_no_more_often_than_it_must(weight, calls):
    asked = []

    def net(x, time, labels):
        asked.append(labels)
        return x

    diffusion.guided(net, weight)(normal(2, 2), torch.zeros(2), torch.tensor([1, 2]))
    assert len(asked) == calls


@pytest.mark.parametrize("weight", [1.0, 2.0])
def test_guidance_of_gaussians_is_the_product_of_densities(weight):
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
    told = Normal(math.sqrt(a) * mean, math.sqrt(variance(narrow))).log_prob(x)
    untold = Normal(0.0, math.sqrt(variance(wide))).log_prob(x)
    (score,) = torch.autograd.grad((untold + weight * (told - untold)).sum(), x)
    labels = torch.zeros(7, dtype=torch.long)
    came = diffusion.guided(net, weight)(x, torch.zeros(7), labels)
    torch.testing.assert_close(came, -math.sqrt(1 - a) * score)


def test_the_denoiser_is_right_when_its_net_names_v():
    alpha_bar = diffusion.cosine(1000).float().double()
    t = torch.tensor([3, 500, 990])
    clean, noise = normal(3, 1, 4, 4), normal(3, 1, 4, 4, seed=1)
    a = alpha_bar[t].reshape(3, 1, 1, 1)
    heard = []

    def net(x, time, labels):
        heard.append((time, labels))
        return a.sqrt() * noise - (1 - a).sqrt() * clean

    denoiser = diffusion.Denoiser(Called(net), alpha_bar).double()
    x, labels = diffusion.q_sample(clean, noise, alpha_bar[t]), torch.tensor([1, 2, 10])
    torch.testing.assert_close(denoiser(x, t / 1000.0, labels), noise)
    torch.testing.assert_close(heard, [(t / 1000.0, labels)])


class Called(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def test_labels_are_dropped_at_the_share_that_is_asked():
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
    came = unet.time_embedding(time, 8)
    assert came.shape == (3, 8)
    for i, frequency in enumerate((1.0, 100 ** (1 / 3), 100 ** (2 / 3), 100.0)):
        torch.testing.assert_close(came[:, i], (time * frequency).sin())
        torch.testing.assert_close(came[:, i + 4], (time * frequency).cos())


def test_the_time_embedding_tells_all_thousand_times_apart():
    came = unet.time_embedding(torch.arange(1001, dtype=torch.float64) / 1000, 64)
    distances = torch.cdist(came, came) + 9 * torch.eye(1001)
    assert distances.min() > 0.05


@pytest.mark.parametrize("size", [2, 7])
def test_the_time_embedding_refuses(size):
    with pytest.raises(ValueError, match=f"size is {size}; expected an even number"):
        unet.time_embedding(torch.zeros(1), size)


def wake(net):
    """Fill the weights that start at zero, behind which others learn nothing at first."""
    for module in net.modules():
        if isinstance(module, unet.Block):
            torch.nn.init.normal_(module.conv2.weight, std=0.1)
    torch.nn.init.normal_(net.leave.weight, std=0.1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return unet.UNet((4, 8), known=16).double()


@pytest.mark.parametrize("side", [4, 12, 28])
def test_the_unet_keeps_the_shape(net, side):
    x = normal(3, 1, side, side + 4)
    assert net(x, torch.rand(3).double()).shape == x.shape


def test_the_unet_hears_time_and_label(net):
    wake(net)
    x, time = normal(2, 1, 8, 8), torch.tensor([0.3, 0.3], dtype=torch.float64)
    told = net(x, time, torch.tensor([3, 3]))
    untold = net(x, time, torch.tensor([10, 10]))
    assert not torch.allclose(told, untold)
    torch.testing.assert_close(net(x, time), untold)
    assert not torch.allclose(net(x, time + 0.1), untold)


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
    clean, noise = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    time = torch.tensor([0.3, 0.6])
    x = diffusion.between(clean, noise, time)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(150):
        loss = (net(x, time) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_a_state_dict_makes_the_round_trip(net):
    other = unet.UNet((4, 8), known=16).double()
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
        "clean",
        lambda x, e, a: diffusion.clean_from(x, e, torch.tensor(a)).clamp(-1, 1),
        lambda x, e, a: diffusion.clean_from(x, e, torch.tensor(a)),
    ),
    (
        "ddim",
        lambda x, e, now, then: (
            (x - (1 - now) ** 0.5 * e) * (then / now) ** 0.5 + (1 - then) ** 0.5 * e
        ),
        lambda x, e, now, then: (x - (1 - now) ** 0.5 * e) / now**0.5 + (1 - then) ** 0.5 * e,
    ),
    ("guide", lambda t, u, w: u + w * (t - u), lambda t, u, w: t + w * (t - u)),
    ("euler", euler, lambda v, x, steps: euler(v, x, steps, late=1)),
]


@pytest.mark.parametrize(("name", "right", "wrong"), ANSWERS, ids=[answer[0] for answer in ANSWERS])
def test_exercises_tell_right_from_wrong(name, right, wrong):
    assert exercises.check(f"diffusion/{name}", right).passed
    assert not exercises.check(f"diffusion/{name}", wrong).passed
