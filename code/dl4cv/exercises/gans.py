"""Exercises of the chapter on generative adversarial networks."""

import math

import torch
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from dl4cv.exercises import Case, Exercise


def _optimal_discriminator() -> list[Case]:
    return [
        Case(
            "equal densities",
            (torch.tensor([0.3, 2.0]), torch.tensor([0.3, 2.0])),
            torch.tensor([0.5, 0.5]),
        ),
        Case(
            "one density is zero",
            (torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.1])),
            torch.tensor([1.0, 0.0]),
        ),
        Case(
            "three points",
            (torch.tensor([3.0, 1.0, 0.2]), torch.tensor([1.0, 3.0, 0.6])),
            torch.tensor([0.75, 0.25, 0.25]),
        ),
    ]


def _losses() -> list[Case]:
    cases = []
    for name, scale, seed in (
        ("an undecided discriminator", 0.0, 0),
        ("scores around 1", 1.0, 1),
        ("scores in the hundreds", 300.0, 2),
    ):
        generator = torch.Generator().manual_seed(seed)
        real, fake = scale * torch.randn(2, 7, generator=generator, dtype=torch.float64)
        entropy = F.binary_cross_entropy_with_logits
        one, zero = torch.ones_like(real), torch.zeros_like(real)
        expected = (entropy(real, one) + entropy(fake, zero), entropy(fake, one))
        cases.append(Case(name, (real, fake), expected))
    return cases


def _gradient_penalty() -> list[Case]:
    cases = []
    for name, shape, seed in (
        ("two gradients of one pixel", (2, 1, 1, 1), 3),
        ("five gradients of 4 × 4 pixels", (5, 1, 4, 4), 4),
        ("three color images", (3, 3, 2, 2), 5),
    ):
        gradients = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
        norms = [math.sqrt(sum(v * v for v in one.flatten().tolist())) for one in gradients]
        expected = sum((norm - 1) ** 2 for norm in norms) / len(norms)
        cases.append(Case(name, (gradients,), torch.tensor(expected, dtype=torch.float64)))
    return cases


def _mode_kl() -> list[Case]:
    def divergence(labels: torch.Tensor) -> torch.Tensor:
        fractions = Categorical(probs=labels.bincount(minlength=10).double())
        return kl_divergence(fractions, Categorical(probs=torch.full((10,), 0.1).double()))

    skewed = torch.tensor([0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 9])
    return [
        Case("each digit once", (torch.arange(10),), 0.0),
        Case("ones and nothing else", (torch.ones(50, dtype=torch.int64),), math.log(10)),
        Case("two digits equally often", (torch.tensor([4, 9, 4, 9]),), math.log(5)),
        Case("all digits, some more often", (skewed,), float(divergence(skewed))),
    ]


EXERCISES = {
    "optimal_discriminator": Exercise(
        _optimal_discriminator, "of all images at a point, which fraction comes from the data?"
    ),
    "losses": Exercise(
        _losses, "−log σ(s) is softplus(−s), and −log(1 − σ(s)) is softplus(s); take means."
    ),
    "gradient_penalty": Exercise(
        _gradient_penalty, "each image has its own norm: flatten all but the first dimension."
    ),
    "mode_kl": Exercise(
        _mode_kl, "count with minlength=10, and let a class that is missing add 0, not NaN."
    ),
}
