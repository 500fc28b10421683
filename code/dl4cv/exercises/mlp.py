"""The exercises of the chapter on fully connected networks."""

import torch
from torch.nn import functional as F

from dl4cv.exercises import Case, Exercise, normal, pullback, uniform


def _two_layers() -> list[Case]:
    cases = []
    for name, count, features, hidden, num_classes in (
        ("one image", 1, 3, 4, 2),
        ("six images", 6, 5, 4, 3),
        ("one hidden unit", 4, 3, 1, 3),
    ):
        x, labels = normal(count, features, seed=count), torch.arange(count) % num_classes
        shapes = ((hidden, features), (hidden,), (num_classes, hidden), (num_classes,))
        parameters = [normal(*shape, seed=10 + i) for i, shape in enumerate(shapes)]

        def loss(W1, b1, W2, b2, x=x, labels=labels):
            return F.cross_entropy(F.linear(F.linear(x, W1, b1).relu(), W2, b2), labels)

        expected = pullback(loss, *parameters, dy=torch.tensor(1.0, dtype=torch.float64))
        cases.append(Case(name, (x, labels, *parameters), expected))
    return cases


def _silu() -> list[Case]:
    return [
        Case(name, (x, dy), pullback(F.silu, x, dy=dy))
        for name, x, dy in (
            ("five numbers", 3 * normal(5, seed=1), normal(5, seed=2)),
            ("a batch", 3 * normal(4, 3, seed=3), normal(4, 3, seed=4)),
        )
    ]


def _maximum() -> list[Case]:
    a, b, g = normal(4, 3, seed=1), normal(4, 3, seed=2), normal(4, 3, seed=3)
    return [
        Case(name, (g, *inputs), pullback(torch.maximum, *inputs, dy=g)[1:])
        for name, inputs in (("no two equal", (a, b)), ("all equal", (a, a.clone())))
    ]


def _dropout() -> list[Case]:
    h, u, dy = normal(5, 4, seed=1), uniform(5, 4, seed=2), normal(5, 4, seed=3)
    cases = []
    for name, p in (("half dropped", 0.5), ("a tenth dropped", 0.1), ("none dropped", 0.0)):
        mask = (u >= p).double() / (1 - p)
        cases.append(Case(name, (h, u, p, dy), (h * mask, dy * mask)))
    return cases


EXERCISES = {
    "two_layers": Exercise(
        _two_layers,
        "multiply the gradient with respect to the scores by W2, set it to 0 where z ≤ 0, and "
        "then use Gᵀ X.",
    ),
    "silu": Exercise(_silu, "the product rule, and σ′ = σ (1 − σ)."),
    "maximum": Exercise(_maximum, "the gradient goes to the larger one; an equal pair shares it."),
    "dropout": Exercise(_dropout, "one mask, divided by 1 − p, for both directions."),
}
