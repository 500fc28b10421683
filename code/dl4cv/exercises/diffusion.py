"""Exercises of the chapter on diffusion and flow matching."""

import math

import torch
from torch import Tensor

from dl4cv.exercises import Case, Exercise, normal


def _q_sample() -> list[Case]:
    cases = []
    for name, levels, seed in (
        ("one image, half its variance left", [0.5], 0),
        ("an image without noise and one that is all noise", [1.0, 0.0], 1),
        ("three images at different times", [0.9, 0.2, 0.64], 2),
    ):
        shape = (len(levels), 1, 3, 4)
        x0, eps = normal(*shape, seed=seed), normal(*shape, seed=seed + 10)
        triples = zip(x0, eps, levels, strict=True)
        expected = torch.stack([math.sqrt(a) * x + math.sqrt(1 - a) * e for x, e, a in triples])
        cases.append(Case(name, (x0, eps, torch.tensor(levels).double()), expected))
    return cases


def _predict_x0() -> list[Case]:
    cases = []
    for name, alpha_bar, seed in (
        ("little noise", 0.95, 20),
        ("half and half", 0.5, 21),
        ("almost all noise, so that clipping matters", 1e-4, 22),
    ):
        x_t, eps = normal(2, 1, 3, 3, seed=seed), normal(2, 1, 3, 3, seed=seed + 10)
        x0 = (x_t - math.sqrt(1 - alpha_bar) * eps) / math.sqrt(alpha_bar)
        cases.append(Case(name, (x_t, eps, alpha_bar), x0.clamp(-1, 1)))
    return cases


def _ddim_step() -> list[Case]:
    cases = []
    for name, a_t, a_s, seed in (
        ("a short step", 0.4, 0.5, 40),
        ("a long step", 0.05, 0.9, 41),
        ("the last step, to no noise at all", 0.8, 1.0, 42),
    ):
        x0, eps = normal(2, 1, 3, 3, seed=seed), normal(2, 1, 3, 3, seed=seed + 10)
        x_t = math.sqrt(a_t) * x0 + math.sqrt(1 - a_t) * eps
        expected = math.sqrt(a_s) * x0 + math.sqrt(1 - a_s) * eps
        cases.append(Case(name, (x_t, eps, a_t, a_s), expected))
    return cases


def _guidance() -> list[Case]:
    cond, uncond = normal(2, 3, seed=60), normal(2, 3, seed=61)
    return [
        Case("scale 0 ignores the label", (cond, uncond, 0.0), uncond),
        Case("scale 1 is the conditional prediction", (cond, uncond, 1.0), cond),
        Case("scale 3 extrapolates", (cond, uncond, 3.0), 3 * cond - 2 * uncond),
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
    "predict_x0": Exercise(
        _predict_x0, "solve x_t = √ᾱ x₀ + √(1 − ᾱ) ε for x₀, then clip to −1 and 1."
    ),
    "ddim_step": Exercise(
        _ddim_step, "first x₀ from x_t and ᾱ_t, then mix it with the same noise by ᾱ_s."
    ),
    "guidance": Exercise(
        _guidance, "start at the unconditional prediction; add scale times the difference."
    ),
    "euler": Exercise(
        _euler, "the i-th step starts at time 1 − i / steps and subtracts velocity / steps."
    ),
}
