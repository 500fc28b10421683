"""The variational autoencoder: its divergence, its bounds, its gradients, against exact oracles."""

import itertools
import math

import pytest
import torch
from dl4cv import exercises
from dl4cv.models import vae
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

EVERY = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double().reshape(-1, 1, 2, 2)


def normals(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return mean, torch.randn(*shape, generator=generator, dtype=torch.float64)


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tiny(*, latent_dim=1, num_classes=0, seed=0):
    torch.manual_seed(seed)
    net = vae.VAE(latent_dim, hidden=8, num_classes=num_classes, shape=(2, 2)).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.6)
    for parameter in net.encoder.layers[2].parameters():
        nn.init.normal_(parameter, std=0.1)  # q is wrong, but not by much
    return net.eval().requires_grad_(False)


def exact(net, images, labels=None):
    """ln p(x), and the log of p(x, z) on a grid of codes, of which it is the integral."""
    grid = torch.linspace(-12, 12, 2001, dtype=torch.float64)[:, None]
    codes = grid.repeat_interleave(len(images), 0)
    told = None if labels is None else labels.repeat(len(grid))
    logits = net.decode(codes, told).unflatten(0, (len(grid), len(images)))
    pixels = Independent(Bernoulli(logits=logits), 3).log_prob(images)
    joint = Normal(0.0, 1.0).log_prob(grid) + pixels  # (2001, N)
    return torch.logsumexp(joint, 0) + math.log(24 / 2000), grid, joint


def test_kl_equals_torchs():
    mean, log_var = normals(5, 7)
    oracle = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(vae.kl(mean, log_var), oracle)
    assert (vae.kl(mean, log_var) > 0).all()
    assert vae.kl(torch.zeros(3), torch.zeros(3)).eq(0).all()


def test_reparameterized_samples_have_the_mean_and_the_variance():
    mean, log_var = normals(3)
    z = vae.reparameterize(mean, log_var, noise(400_000, 3))
    scale = (log_var / 2).exp()
    assert ((z.mean(0) - mean).abs() < 0.01 * scale).all()
    torch.testing.assert_close(z.var(0), log_var.exp(), rtol=0.02, atol=0)


@pytest.mark.parametrize("function", [vae.kl, lambda m, v: vae.reparameterize(m, v, noise(2, 3))])
def test_gradients_are_those_of_finite_differences(function):
    mean, log_var = (t.requires_grad_() for t in normals(2, 3))
    assert torch.autograd.gradcheck(function, (mean, log_var))


def test_the_bound_has_the_gradient_of_finite_differences():
    net = tiny(latent_dim=2).requires_grad_(True)
    eps = noise(16, 2)

    def bound(*weights):
        named = dict(zip((name for name, _ in net.named_parameters()), weights, strict=True))
        rec, divergence = torch.func.functional_call(net, named, EVERY, {"noise": eps})
        return rec.mean() + divergence.sum(1).mean()

    assert torch.autograd.gradcheck(bound, tuple(net.parameters()))


@pytest.mark.parametrize("gradients", [vae.pathwise_gradients, vae.score_gradients])
def test_both_estimators_agree_with_the_gradient_of_the_expectation(gradients):
    mean, log_var = (t.requires_grad_() for t in normals(2))

    def f(z):  # E f = Σ a (μ² + σ²) + b μ, with the gradients 2 a μ + b and a σ²
        return (torch.tensor([0.7, -0.4]).double() * z.square() + z).sum(-1)

    exactly = (torch.tensor([0.7, -0.4]) * (mean.square() + log_var.exp()) + mean).sum()
    oracle = torch.autograd.grad(exactly, (mean, log_var))
    draws = gradients(f, mean.detach(), log_var.detach(), noise(200_000, 2))
    for drawn, expected in zip(draws, oracle, strict=True):
        error = drawn.std(0) / math.sqrt(len(drawn))
        assert ((drawn.mean(0) - expected).abs() < 5 * error).all()
        assert (error < 0.03).all()


def test_estimators_equal_autograd_sample_by_sample():
    mean, log_var = normals(3)
    eps = noise(4, 3)
    f = lambda z: z.sin().prod(-1)  # noqa: E731
    through, score = (
        g(f, mean, log_var, eps) for g in (vae.pathwise_gradients, vae.score_gradients)
    )
    for row in range(4):
        m, v = (t.clone().requires_grad_() for t in (mean, log_var))
        z = m + (v / 2).exp() * eps[row]
        oracle = torch.autograd.grad(f(z), (m, v), retain_graph=True)
        log_q = Normal(m, (v / 2).exp()).log_prob(z.detach()).sum()
        scores = torch.autograd.grad(log_q * f(z).detach(), (m, v))
        torch.testing.assert_close((through[0][row], through[1][row]), oracle)
        torch.testing.assert_close((score[0][row], score[1][row]), scores)


def test_variances_at_one_are_those_worked_out_by_hand():
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    f = lambda z: z[:, 0].square()  # noqa: E731
    eps = noise(400_000, 1)
    assert vae.pathwise_gradients(f, one, zero, eps)[0].var() == pytest.approx(4, rel=0.02)
    assert vae.score_gradients(f, one, zero, eps)[0].var() == pytest.approx(30, rel=0.05)


def test_forward_gives_reconstruction_and_kl():
    net, eps = tiny(latent_dim=3), noise(16, 3)
    rec, divergence = net(EVERY, noise=eps)
    mean, log_var = net.encode(EVERY)
    logits = net.decode(mean + (log_var / 2).exp() * eps)
    oracle = -Bernoulli(logits=logits).log_prob(EVERY).sum((1, 2, 3))
    torch.testing.assert_close(rec, oracle)
    torch.testing.assert_close(divergence, vae.kl(mean, log_var))


@pytest.mark.parametrize("num_classes", [0, 3])
def test_bound_is_the_likelihood_less_the_divergence_from_the_true_posterior(num_classes):
    net = tiny(num_classes=num_classes)
    labels = torch.arange(16) % num_classes if num_classes else None
    log_p, grid, joint = exact(net, EVERY, labels)
    mean, log_var = net.encode(EVERY, labels)
    log_q = Normal(mean, (log_var / 2).exp()).log_prob(grid[:, None])[..., 0]  # (2001, 16)
    gap = (log_q.exp() * (log_q - joint + log_p)).sum(0) * 24 / 2000  # KL(q ‖ p(z | x))
    told = None if labels is None else labels.repeat(2000)
    weights = vae.log_weights(net, EVERY.repeat(2000, 1, 1, 1), noise(20, 32_000, 1), told)
    weights = weights.reshape(-1, 16)  # 40,000 samples of each image
    error = weights.std(0) / math.sqrt(len(weights))
    assert (gap > 0).all()
    assert ((weights.mean(0) - (log_p - gap)).abs() < 5 * error + 1e-6).all()
    assert (error < 0.02).all()


def test_probabilities_of_all_images_add_up_to_one():
    log_p, _, _ = exact(tiny(), EVERY)
    torch.testing.assert_close(log_p.exp().sum(), torch.ones(()).double())


def test_one_weight_is_the_bound_with_a_sampled_divergence():
    net, eps = tiny(latent_dim=2), noise(3, 16, 2)
    mean, log_var = net.encode(EVERY)
    z = mean + (log_var / 2).exp() * eps
    ratio = Normal(mean, (log_var / 2).exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    pixels = Bernoulli(logits=torch.stack([net.decode(codes) for codes in z])).log_prob(EVERY)
    oracle = pixels.sum((2, 3, 4)) - ratio.sum(2)
    torch.testing.assert_close(vae.log_weights(net, EVERY, eps), oracle)
    torch.testing.assert_close(vae.iwae_bound(oracle[:1]), oracle[0])


def test_iwae_bound_is_a_log_of_a_mean_and_does_not_overflow():
    weights = normals(6, 4)[0]
    torch.testing.assert_close(vae.iwae_bound(weights), weights.exp().mean(0).log())
    torch.testing.assert_close(vae.iwae_bound(weights - 2000), weights.exp().mean(0).log() - 2000)


def test_iwae_bound_grows_with_the_samples_towards_the_likelihood():
    net = tiny()
    log_p, _, _ = exact(net, EVERY)
    weights = vae.log_weights(net, EVERY.repeat(1024, 1, 1, 1), noise(16, 16_384, 1))
    weights = weights.reshape(-1, 16)  # 16,384 samples of each image
    means = [
        torch.stack([vae.iwae_bound(part) for part in weights.split(k)]).mean().item()
        for k in (1, 4, 32, 1024)
    ]
    assert means == sorted(means)
    assert means[-1] < log_p.mean() + 0.01
    assert means[-1] == pytest.approx(float(log_p.mean()), abs=0.03)


def test_weights_are_constant_when_the_encoder_is_right():
    """If the decoder ignores the code, the prior is the posterior and every weight is p(x)."""
    net = tiny()
    net.decoder.layers[0].weight.zero_()
    net.encoder.layers[2].weight.zero_()
    net.encoder.layers[2].bias.zero_()
    weights = vae.log_weights(net, EVERY, noise(9, 16, 1))
    torch.testing.assert_close(weights, exact(net, EVERY)[0].expand(9, 16))


def test_labels_reach_every_layer():
    net = vae.MLP(4, 5, 3, num_classes=2).double()
    x, labels = noise(6, 4), torch.tensor([0, 1, 0, 1, 1, 0])

    def normal(h):
        h = (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        return h * h.sigmoid()

    h = x
    for number, layer in enumerate(net.layers):
        told = torch.cat([h, nn.functional.one_hot(labels, 2).double()], 1)
        h = told @ layer.weight.T + layer.bias
        h = normal(h) if number < 2 else h
    torch.testing.assert_close(net(x, labels), h)


def test_the_output_bias_sets_the_probability_of_each_pixel():
    net = tiny()
    net.decoder.layers[2].weight.zero_()
    probability = torch.tensor([[[0.1, 0.5], [0.9, 0.25]]]).double()
    net.init_output_bias(probability)
    probs = net.decode_probs(noise(3, 1))
    torch.testing.assert_close(probs, probability.float().expand(3, 1, 2, 2))


def test_a_conditional_model_demands_labels():
    with pytest.raises(ValueError, match="labels is None; expected"):
        vae.MLP(4, 5, 3, num_classes=2)(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="labels is given; expected None"):
        vae.MLP(4, 5, 3)(torch.zeros(1, 4), torch.zeros(1).long())


def test_terms_are_float32_even_under_autocast():
    net = vae.VAE(2, hidden=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rec, divergence = net(torch.zeros(3, 1, 28, 28))
    assert rec.dtype == divergence.dtype == torch.float32


def test_active_counts_what_moves():
    mean = noise(1000, 3) * torch.tensor([1.0, 0.2, 0.05])
    assert vae.active_units(mean).tolist() == [True, True, False]


def test_slerp_keeps_to_the_arc():
    a, b = noise(5, 8), noise(5, 8, seed=2)
    b = b / b.norm(dim=1, keepdim=True) * a.norm(dim=1, keepdim=True)
    torch.testing.assert_close(vae.slerp(a, b, 0.0), a)
    torch.testing.assert_close(vae.slerp(a, b, 1.0), b)
    middle = vae.slerp(a, b, 0.5)
    torch.testing.assert_close(middle.norm(dim=1), a.norm(dim=1))
    torch.testing.assert_close((middle * a).sum(1), (middle * b).sum(1))
    torch.testing.assert_close(vae.slerp(a, 3 * a, 0.25), 1.5 * a)


def test_autoencoder_overfits_one_batch():
    torch.manual_seed(0)
    net = vae.Autoencoder(4, hidden=64)
    images = (torch.rand(4, 1, 28, 28) < 0.5).float()
    assert overfit(net, lambda: net(images).mean()) < 5


def test_vae_overfits_one_batch():
    torch.manual_seed(0)
    net = vae.VAE(4, hidden=32, num_classes=2, shape=(4, 5))
    images, labels = (torch.rand(4, 1, 4, 5) < 0.5).float(), torch.tensor([0, 1, 0, 1])

    def loss():
        rec, divergence = net(images, labels)
        return rec.mean() + divergence.sum(1).mean()

    assert overfit(net, loss) < 3  # four images in two classes need ln 2 each


def overfit(net, loss_fn):
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(200):
        loss = loss_fn()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_a_state_dict_makes_the_round_trip():
    net, other = tiny(num_classes=3), tiny(num_classes=3, seed=1)
    other.load_state_dict(net.state_dict())
    labels = torch.arange(16) % 3
    eps = noise(16, 1)
    torch.testing.assert_close(net(EVERY, labels, noise=eps), other(EVERY, labels, noise=eps))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_zeros_and_ones_of_any_type_are_images(dtype):
    net, eps = tiny(latent_dim=2), noise(16, 2)
    torch.testing.assert_close(net(EVERY.to(dtype), noise=eps), net(EVERY, noise=eps))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_any_integer_type_are_classes(dtype):
    net, labels = tiny(num_classes=3), torch.arange(16) % 3
    torch.testing.assert_close(net.encode(EVERY, labels.to(dtype)), net.encode(EVERY, labels))


@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_of_none_or_one(count):
    net = vae.VAE(3, hidden=8, shape=(4, 6))
    rec, divergence = net(torch.zeros(count, 1, 4, 6))
    assert rec.shape == (count,)
    assert divergence.shape == (count, 3)
    assert vae.Autoencoder(2, hidden=4)(torch.zeros(count, 1, 28, 28)).shape == (count,)


def test_half_precision_gives_about_the_same_terms():
    net, eps = tiny(latent_dim=2), noise(16, 2)
    expected = net(EVERY, noise=eps)
    terms = net.bfloat16()(EVERY, noise=eps)
    for term, exact in zip(terms, expected, strict=True):
        torch.testing.assert_close(term.double(), exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_slerp_in_half_precision_is_that_of_float64(dtype):
    a, b = noise(5, 8).to(dtype), noise(5, 8, seed=2).to(dtype)
    for t in (0.0, 0.3, torch.tensor(1.0)):
        got = vae.slerp(a, b, t)
        assert got.dtype == dtype
        torch.testing.assert_close(
            got.double(), vae.slerp(a.double(), b.double(), t), atol=0.02, rtol=0
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vae.VAE(0), "out_features is 0; expected 1 or more"),
        (lambda: tiny().encode(EVERY[..., :1]), r"images has shape .* expected \(N, 1, 2, 2\)"),
        (lambda: tiny(num_classes=3).encode(EVERY, torch.full((16,), 3)), "labels holds 3"),
        (
            lambda: tiny().init_output_bias(torch.zeros(1, 2, 2)),
            r"from 0 to 0; expected .* \(0, 1\)",
        ),
        (lambda: tiny().init_output_bias(torch.full((4,), 0.5)), r"probability has shape \(4,\)"),
        (lambda: vae.log_weights(tiny(), EVERY, noise(16, 1)), r"noise has shape .* \(S, 16, 1\)"),
        (lambda: vae.iwae_bound(torch.zeros(0, 3)), "log_weights has shape"),
        (lambda: vae.active_units(torch.zeros(1, 3)), "mean has shape .* two images or more"),
        (lambda: vae.slerp(torch.zeros(2, 3), torch.zeros(3), 0.5), "b has shape"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_exercises_tell_right_from_wrong():
    check = exercises.check
    assert check("vae/kl", lambda m, v: vae.kl(m, v).sum(-1)).passed
    assert not check("vae/kl", lambda m, v: vae.kl(m, v)).passed
    assert check("vae/reparameterize", vae.reparameterize).passed
    assert not check("vae/reparameterize", lambda m, v, e: m + v.exp() * e).passed
    right = lambda s, x, m, v: vae.nll(s, x) + vae.kl(m, v).sum(1)  # noqa: E731
    assert check("vae/negative_elbo", right).passed
    mean = lambda s, x, m, v: vae.nll(s, x) / 12 + vae.kl(m, v).mean(1)  # noqa: E731
    assert not check("vae/negative_elbo", mean).passed
    assert check("vae/iwae_bound", vae.iwae_bound).passed
    assert not check("vae/iwae_bound", lambda w: w.exp().mean(0).log()).passed
    assert not check("vae/iwae_bound", lambda w: w.mean(0)).passed
    assert check("vae/slerp", vae.slerp).passed
    assert not check("vae/slerp", torch.lerp).passed
