"""Exercises of the chapter on variational autoencoders."""

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from dl4cv.exercises import Case, Exercise


def _random(seed: int, *shapes: tuple[int, ...], scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    ]


def _divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    return kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0.0, 1.0)).sum(-1)


def _kl() -> list[Case]:
    cases = []
    for name, shape, seed in (("one code of one unit", (1, 1), 0), ("four codes", (4, 6), 1)):
        mean, log_var = _random(seed, shape, shape)
        cases.append(Case(name, (mean, log_var), _divergence(mean, log_var)))
    prior = torch.zeros(2, 3, dtype=torch.float64)
    return [*cases, Case("the prior itself", (prior, prior), torch.zeros(2))]


def _reparameterize() -> list[Case]:
    cases = []
    for name, shape, seed in (("one code", (1, 3), 2), ("five samples of four", (5, 4, 2), 3)):
        mean, log_var, noise = _random(seed, shape[-2:], shape[-2:], shape)
        posterior = Normal(mean, (log_var / 2).exp())
        # The quantile function maps the noise's probability to the sample.
        expected = posterior.icdf(Normal(0.0, 1.0).cdf(noise))
        cases.append(Case(name, (mean, log_var, noise), expected))
    return cases


def _negative_elbo() -> list[Case]:
    cases = []
    for name, shape, latent_dim, seed in (
        ("one image of one pixel", (1, 1, 1, 1), 1, 4),
        ("three images of 3 × 4 pixels", (3, 1, 3, 4), 5, 5),
    ):
        logits, mean, log_var = _random(seed, shape, (shape[0], latent_dim), (shape[0], latent_dim))
        images = torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)).double()
        pixels = -Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3))
        expected = pixels + _divergence(mean, log_var)
        cases.append(Case(name, (logits, images, mean, log_var), expected))
    return cases


def _iwae_bound() -> list[Case]:
    (few,) = _random(6, (5, 3))
    far = few - 900
    return [
        Case("one sample", (few[:1],), few[0]),
        Case("five samples", (few,), few.exp().mean(0).log()),
        Case("weights near e to the power −900", (far,), few.exp().mean(0).log() - 900),
    ]


def _slerp() -> list[Case]:
    east, north = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    third = torch.tensor([math.sqrt(3), 1.0], dtype=torch.float64)
    a, b = _random(7, (4, 6), (4, 6))
    b = b / b.norm(dim=1, keepdim=True) * a.norm(dim=1, keepdim=True)
    # On a circle of the plane of a and b, half-way is the sum, scaled to their length.
    middle = (a + b) / (a + b).norm(dim=1, keepdim=True) * a.norm(dim=1, keepdim=True)
    return [
        Case("a third of a right angle", (east, north, 1 / 3), third),
        Case("the start", (a, b, 0.0), a),
        Case("the end", (a, b, 1.0), b),
        Case("half-way, in six dimensions", (a, b, 0.5), middle),
    ]


EXERCISES = {
    "kl": Exercise(_kl, "½ (μ² + σ² − 1 − ln σ²), summed over the latent units."),
    "reparameterize": Exercise(
        _reparameterize, "σ is the square root of the variance: exp of half its logarithm."
    ),
    "negative_elbo": Exercise(
        _negative_elbo, "sum over pixels and over latent units; a mean weights the terms wrongly."
    ),
    "iwae_bound": Exercise(
        _iwae_bound, "ln Σ e^w − ln S; torch.logsumexp subtracts the largest first."
    ),
    "slerp": Exercise(
        _slerp, "(sin((1 − t) α) a + sin(t α) b) / sin α, with α the angle between a and b."
    ),
}
