"""The exercises of the chapter on convolutional networks."""

from torch.nn import functional as F

from dl4cv.exercises import Case, Exercise, normal, pullback


def _map_size() -> list[Case]:
    return [
        Case("one kernel of 5, no padding", (28, [(5, 1, 0)]), 24),
        Case("padding that keeps the size", (28, [(3, 1, 1), (5, 1, 2)]), 28),
        Case("strides that leave a rest", (28, [(3, 2, 0), (3, 2, 0)]), 6),
        Case("convolutions and poolings", (32, [(7, 2, 3), (3, 2, 1), (2, 2, 0), (4, 1, 0)]), 1),
    ]


def _average_pool() -> list[Case]:
    cases = []
    for name, shape, k in (
        ("windows of 2", (2, 3, 4, 6), 2),
        ("windows of 3", (1, 2, 6, 3), 3),
        ("windows of 1", (2, 1, 3, 3), 1),
    ):
        x = normal(*shape, seed=k)
        dy = normal(*shape[:2], shape[2] // k, shape[3] // k, seed=10 + k)
        expected = pullback(lambda x, k=k: F.avg_pool2d(x, k), x, dy=dy)
        cases.append(Case(name, (x, k, dy), expected))
    return cases


def _layer_norm() -> list[Case]:
    cases = []
    for name, count, features in (("one example", 1, 6), ("five examples", 5, 4)):
        x = 2 + 3 * normal(count, features, seed=count)
        gamma, beta = normal(features, seed=10), normal(features, seed=11)
        dy = normal(count, features, seed=12)
        expected = pullback(
            lambda x, w, b: F.layer_norm(x, x.shape[1:], w, b), x, gamma, beta, dy=dy
        )
        cases.append(Case(name, (x, gamma, beta, dy), expected))
    return cases


def _group_norm() -> list[Case]:
    cases = []
    for name, groups in (("two groups", 2), ("one group", 1), ("a group for each channel", 4)):
        x, g = 1 + 2 * normal(3, 4, 3, 2, seed=groups), normal(3, 4, 3, 2, seed=10)
        expected = pullback(lambda x, k=groups: F.group_norm(x, k), x, dy=g)
        cases.append(Case(name, (x, groups, g), expected))
    return cases


EXERCISES = {
    "map_size": Exercise(_map_size, "(size + 2 p − k) // s + 1, layer after layer."),
    "average_pool": Exercise(
        _average_pool, "each pixel of a window has slope 1 / k²: repeat dy and divide."
    ),
    "layer_norm": Exercise(
        _layer_norm,
        "the gradient with respect to x̂ is dy · γ; subtract its mean and its component along x̂, "
        "and divide by σ.",
    ),
    "group_norm": Exercise(
        _group_norm, "reshape to (N, groups, −1); then it is layer normalisation of the rows."
    ),
}
