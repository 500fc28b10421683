"""The exercises of the chapter on diffusion and flow matching."""

import math

import torch
from torch import Tensor

from dl4cv.exercises import Case, Exercise, normal


def _q_sample() -> list[Case]:
    cases = []
    for about, levels, seed in (
        ("one image, half its variance left", [0.5], 0),
        ("an image without noise and one that is all noise", [1.0, 0.0], 1),
        ("three images at times of their own", [0.9, 0.2, 0.64], 2),
    ):
        shape = (len(levels), 1, 3, 4)
        clean, noise = normal(*shape, seed=seed), normal(*shape, seed=seed + 10)
        pairs = zip(clean, noise, levels, strict=True)
        expected = torch.stack([math.sqrt(a) * c + math.sqrt(1 - a) * n for c, n, a in pairs])
        cases.append(Case(about, (clean, noise, torch.tensor(levels).double()), expected))
    return cases


def _clean() -> list[Case]:
    cases = []
    for about, level, seed in (
        ("little noise", 0.95, 20),
        ("half and half", 0.5, 21),
        ("almost all noise, so that the cut matters", 1e-4, 22),
    ):
        x, noise = normal(2, 1, 3, 3, seed=seed), normal(2, 1, 3, 3, seed=seed + 10)
        guess = (x - math.sqrt(1 - level) * noise) / math.sqrt(level)
        cases.append(Case(about, (x, noise, level), guess.clamp(-1, 1)))
    return cases


def _ddim() -> list[Case]:
    cases = []
    for about, now, then, seed in (
        ("a short stride", 0.4, 0.5, 40),
        ("a long stride", 0.05, 0.9, 41),
        ("the last step, to no noise at all", 0.8, 1.0, 42),
    ):
        clean, noise = normal(2, 1, 3, 3, seed=seed), normal(2, 1, 3, 3, seed=seed + 10)
        x = math.sqrt(now) * clean + math.sqrt(1 - now) * noise
        expected = math.sqrt(then) * clean + math.sqrt(1 - then) * noise
        cases.append(Case(about, (x, noise, now, then), expected))
    return cases


def _guide() -> list[Case]:
    told, untold = normal(2, 3, seed=60), normal(2, 3, seed=61)
    return [
        Case("weight 0 ignores the label", (told, untold, 0.0), untold),
        Case("weight 1 is the conditional guess", (told, untold, 1.0), told),
        Case("weight 3 goes on beyond it", (told, untold, 3.0), 3 * told - 2 * untold),
    ]


def _euler() -> list[Case]:
    start = normal(4, seed=80)

    def still(x: Tensor, time: float) -> Tensor:
        return torch.ones_like(x)

    def grows(x: Tensor, time: float) -> Tensor:
        return x

    def clock(x: Tensor, time: float) -> Tensor:
        return torch.full_like(x, time)

    return [
        Case("a constant velocity of 1, in three steps", (still, start, 3), start - 1),
        Case("a velocity of x, in four steps", (grows, start, 4), start * 0.75**4),
        Case("a velocity of t, in two steps", (clock, start, 2), start - 0.5 * (1 + 0.5)),
    ]


EXERCISES = {
    "q_sample": Exercise(
        _q_sample, "give ᾱ the shape (N, 1, 1, 1), and take roots: variances add up, not lengths."
    ),
    "clean": Exercise(_clean, "solve x = √ᾱ x₀ + √(1 − ᾱ) ε for x₀, then cut off at −1 and 1."),
    "ddim": Exercise(_ddim, "first x₀ at the level now, then mix it with the same noise anew."),
    "guide": Exercise(_guide, "start at untold and go weight times the way to told."),
    "euler": Exercise(
        _euler, "the i-th step starts at time 1 − i / steps and subtracts velocity / steps."
    ),
}
