"""The exercises of the chapter on class visualization."""

import torch
from torch import Tensor

from dl4cv.exercises import Case, Exercise, uniform


def _ascend() -> list[Case]:
    x, weights = uniform(3, 4, 5, seed=0), uniform(3, 4, 5, seed=1) - 0.5

    def linear(x: Tensor) -> Tensor:
        return (weights * x).sum()

    def bowl(x: Tensor) -> Tensor:
        return -(x - 0.25).square().sum()

    return [
        Case("a linear score", (linear, 0.5 * x + 0.25, 0.1), 0.5 * x + 0.25 + 0.1 * weights),
        Case("a score with a summit", (bowl, x, 0.05), (x - 0.1 * (x - 0.25)).clamp(0, 1)),
        Case("a step that leaves the range", (linear, x, 9.0), (x + 9 * weights).clamp(0, 1)),
    ]


def _total_variation() -> list[Case]:
    ramp = torch.arange(5.0).double().expand(2, 4, 5) / 10
    noise = uniform(3, 6, 7, seed=10)
    pairs = [
        [
            abs(noise[c, y, x] - noise[c, y + 1, x])
            for c in range(3)
            for y in range(5)
            for x in range(7)
        ],
        [
            abs(noise[c, y, x] - noise[c, y, x + 1])
            for c in range(3)
            for y in range(6)
            for x in range(6)
        ],
    ]
    expected = sum(torch.stack(group).mean() for group in pairs)
    return [
        Case("a grey image", (torch.full((1, 3, 3), 0.5).double(),), 0.0),
        Case("a ramp from left to right", (ramp,), 0.1),
        Case("noise, wider than high", (noise,), expected),
    ]


def _decorrelated() -> list[Case]:
    one = torch.eye(3).double()
    mixing = torch.tensor([[1.0, 0.9, 0.8], [0.0, 0.3, 0.1], [0.0, 0.0, 0.1]]).double()
    plain = uniform(400, 3, seed=20)
    return [
        Case("independent colours of another variance", (plain,), one),
        Case("colours that vary together", (plain @ mixing + 0.1,), one),
    ]


def _step() -> list[Case]:
    matrix, slope = uniform(4, 4, seed=30) - 0.5, uniform(4, seed=31)
    rotation = torch.linalg.qr(matrix).Q
    scale = torch.tensor([4.0, 2.0, 1.0, 0.5]).double()
    return [
        Case("a scale", (torch.diag(scale), slope, 0.5), 0.5 * scale**2 * slope),
        Case("a rotation changes nothing", (rotation, slope, 0.3), 0.3 * slope),
        Case(
            "any matrix", (matrix, slope, 0.1), 0.1 * torch.einsum("ij,kj,k", matrix, matrix, slope)
        ),
    ]


EXERCISES = {
    "ascend": Exercise(
        _ascend, "Take the gradient of score(x) with torch.autograd.grad; go along it, not against."
    ),
    "total_variation": Exercise(
        _total_variation, "Two means: of the differences down, and of the differences across."
    ),
    "decorrelated": Exercise(
        _decorrelated,
        "Project the centred colours on the eigenvectors; divide by the standard deviations.",
    ),
    "step": Exercise(_step, "The gradient with respect to w is the transpose of A, times g."),
}
