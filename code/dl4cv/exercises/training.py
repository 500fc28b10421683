"""The exercises of the chapter on training in practice."""

import torch
from torch.nn import functional as F

from dl4cv.exercises import Case, Exercise, normal, uniform


def _early_stop() -> list[Case]:
    return [
        Case("it gets worse at once", ([0.5, 0.4, 0.3, 0.6], 2), (0, 2)),
        Case("it recovers in time", ([0.1, 0.3, 0.2, 0.4, 0.3, 0.2, 0.9], 2), (3, 5)),
        Case("it never stops", ([0.1, 0.2, 0.3], 2), (2, 2)),
        Case("a tie is no gain", ([0.2, 0.2, 0.2, 0.9], 2), (0, 2)),
    ]


def _mixup() -> list[Case]:
    cases = []
    for name, count, num_classes, share in (("two images", 2, 3, 0.25), ("five images", 5, 4, 0.9)):
        images, labels = uniform(count, 1, 2, 3, seed=count), torch.arange(count) % num_classes
        order = torch.arange(count).roll(1)
        hot = F.one_hot(labels, num_classes).double()
        expected = (
            (share * images + (1 - share) * images[order]).round(decimals=8),
            (share * hot + (1 - share) * hot[order]).round(decimals=8),
        )
        cases.append(Case(name, (images, labels, num_classes, share, order), expected))
    return cases


def _accumulate() -> list[Case]:
    cases = []
    for name, counts in (("equal parts", [4, 4]), ("a last part that is smaller", [4, 4, 1])):
        x, y, w = normal(sum(counts), 3, seed=1), normal(sum(counts), seed=2), normal(3, seed=3)

        def slope(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor = w) -> torch.Tensor:
            leaf = w.clone().requires_grad_()
            return torch.autograd.grad((x @ leaf - y).square().mean(), leaf)[0]

        parts = [slope(a, b) for a, b in zip(x.split(counts), y.split(counts), strict=True)]
        cases.append(Case(name, (counts, parts), slope(x, y).round(decimals=8)))
    return cases


def _log_uniform() -> list[Case]:
    return [
        Case("the lower end", (1e-4, 1e-1, 0.0), 1e-4),
        Case("the middle", (1e-4, 1.0, 0.5), 1e-2),
        Case("three quarters", (1.0, 16.0, 0.75), 8.0),
    ]


EXERCISES = {
    "early_stop": Exercise(
        _early_stop, "remember the best value and where it was; stop at `best + patience`."
    ),
    "mixup": Exercise(_mixup, "F.one_hot makes the labels numbers that can be mixed, too."),
    "accumulate": Exercise(
        _accumulate, "a mean over a part counts its examples once; weight it by how many it has."
    ),
    "log_uniform": Exercise(_log_uniform, "equal steps of u must multiply by equal factors."),
}
