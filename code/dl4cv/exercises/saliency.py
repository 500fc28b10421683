"""The exercises of the chapter on what a network looks at."""

import torch
from torch import Tensor

from dl4cv.exercises import Case, Exercise, uniform


def _saliency_map() -> list[Case]:
    x, weights = uniform(3, 4, 5, seed=0), uniform(3, 4, 5, seed=1) - 0.5

    def linear(x: Tensor) -> Tensor:
        return (weights * x).sum()

    def squares(x: Tensor) -> Tensor:
        return (weights * x**2).sum()

    return [
        Case("a linear score", (linear, x), weights.abs().max(0).values),
        Case("a score of squares", (squares, x), (2 * weights * x).abs().max(0).values),
        Case("a score that falls", (lambda x: -linear(x), x), weights.abs().max(0).values),
    ]


def _contributions() -> list[Case]:
    x, baseline = uniform(3, 2, 2, seed=10), uniform(3, 2, 2, seed=11)
    weights = uniform(3, 2, 2, seed=12) - 0.5

    def linear(x: Tensor) -> Tensor:
        return (weights * x).sum()

    def squares(x: Tensor) -> Tensor:
        return (weights * x**2).sum()

    def cubes(x: Tensor) -> Tensor:
        return (weights * x**3).sum()

    # The middles of two steps are at one quarter and three quarters.
    quarter, rest = baseline + (x - baseline) / 4, baseline + 3 * (x - baseline) / 4
    two = (x - baseline) * weights * 3 * (quarter**2 + rest**2) / 2
    return [
        Case("a linear score, from black", (linear, x, 0 * x, 3), weights * x),
        Case("squares, from a baseline", (squares, x, baseline, 1), weights * (x**2 - baseline**2)),
        Case("cubes, in two steps", (cubes, x, baseline, 2), two),
    ]


def _cam() -> list[Case]:
    maps, slopes = uniform(4, 3, 5, seed=20), uniform(4, 3, 5, seed=21) - 0.5
    weights = [slopes[m].sum() / 15 for m in range(4)]
    expected = sum(w * maps[m] for m, w in enumerate(weights))
    return [
        Case(
            "one map that speaks for the class",
            (maps[:1], slopes[:1].abs()),
            maps[0] * slopes[0].abs().mean(),
        ),
        Case(
            "one that speaks against it", (maps[:1], -slopes[:1].abs()), torch.zeros(3, 5).double()
        ),
        Case("four maps", (maps, slopes), torch.relu(torch.as_tensor(expected))),
    ]


def _step() -> list[Case]:
    original, slope = uniform(3, 2, 4, seed=30), uniform(3, 2, 4, seed=31) - 0.5
    sign = torch.where(slope > 0, 1.0, -1.0).double()
    calm = 0.25 + 0.5 * original
    moved = calm + 0.02 * (2 * uniform(3, 2, 4, seed=32) - 1)
    box = torch.minimum(torch.maximum(moved + 0.05 * sign, calm - 0.03), calm + 0.03)
    wide = torch.minimum(torch.maximum(original + 0.5 * sign, torch.zeros(())), torch.ones(()))
    return [
        Case("a step that stays inside", (calm, calm, slope, 0.01, 0.1), calm + 0.01 * sign),
        Case("a step that leaves the box", (moved, calm, slope, 0.05, 0.03), box),
        Case("a step that leaves the range", (original, original, slope, 0.5, 0.5), wide),
    ]


EXERCISES = {
    "saliency_map": Exercise(
        _saliency_map, "Take the gradient, its absolute values, and the largest colour."
    ),
    "contributions": Exercise(
        _contributions,
        "Average the gradients at the middles of the steps; multiply by the difference.",
    ),
    "cam": Exercise(
        _cam, "One weight for each map: the mean of its gradient. Sum first, then cut off."
    ),
    "step": Exercise(
        _step, "Only the sign of the gradient counts; clamp the difference, then the image."
    ),
}
