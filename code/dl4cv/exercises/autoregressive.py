"""Exercises of the chapter on autoregressive models."""

import math

import torch
from torch.distributions import Bernoulli

from dl4cv.exercises import Case, Exercise


def _mask() -> list[Case]:
    cases = []
    for kind, k in (("A", 3), ("B", 3), ("A", 5), ("B", 7), ("A", 1), ("B", 1)):
        order = torch.arange(k * k).reshape(k, k)  # raster order
        center = order[k // 2, k // 2]
        expected = (order < center if kind == "A" else order <= center).float()
        cases.append(Case(f"type {kind}, {k} × {k}", (kind, k), expected))
    return cases


def _bits() -> list[Case]:
    return [
        Case("one fair coin", (math.log(2), (1, 1, 1)), 1.0),
        Case("784 fair coins", (784 * math.log(2), (1, 28, 28)), 1.0),
        Case("a color image", (6000.0, (3, 32, 32)), 6000.0 / math.log(2) / 3072),
    ]


def _log_likelihood() -> list[Case]:
    cases = []
    for name, shape, scale, seed in (
        ("one image of one pixel", (1, 1, 1, 1), 1.0, 0),
        ("three images of 4 × 5 pixels", (3, 1, 4, 5), 2.0, 1),
        ("logits in the hundreds", (2, 1, 3, 3), 400.0, 2),
    ):
        generator = torch.Generator().manual_seed(seed)
        logits = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        images = torch.randint(2, shape, generator=generator).double()
        expected = Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3)).round(decimals=6)
        cases.append(Case(name, (logits, images), expected))
    return cases


def _temperature() -> list[Case]:
    cases = []
    for name, temperature, seed in (
        ("temperature 1", 1.0, 3),
        ("temperature 0.5", 0.5, 4),
        ("temperature 2", 2.0, 5),
    ):
        generator = torch.Generator().manual_seed(seed)
        logits = 2 * torch.randn(4, 6, generator=generator, dtype=torch.float64)
        noise = torch.rand(4, 6, generator=generator, dtype=torch.float64)
        expected = (noise < Bernoulli(logits=logits / temperature).probs).double()
        cases.append(Case(name, (logits, noise, temperature), expected))
    return cases


EXERCISES = {
    "mask": Exercise(
        _mask, "all rows above are 1; in the center's row, what is left of the center."
    ),
    "bits_per_dimension": Exercise(
        _bits, "a bit is ln 2 nats; divide by the number of values in an image."
    ),
    "log_likelihood": Exercise(
        _log_likelihood, "log σ(s) is −softplus(−s), and log(1 − σ(s)) is −softplus(s)."
    ),
    "temperature": Exercise(
        _temperature, "divide the logits before the sigmoid, then compare the noise with it."
    ),
}
