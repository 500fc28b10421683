"""The exercises of the chapter on nearest neighbours."""

import torch
from torch.nn import functional as F

from dl4cv.exercises import Case, Exercise


def _uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _manhattan() -> list[Case]:
    corners = torch.tensor([[0.0, 0.0], [3.0, -4.0]])
    cases = [Case("two points in the plane", (corners, corners[1:]), torch.tensor([[7.0], [0.0]]))]
    for name, n, m, d in (("more rows in b", 3, 5, 4), ("more rows in a", 6, 2, 10)):
        a, b = _uniform(n, d), _uniform(m, d, seed=1)
        cases.append(Case(name, (a, b), torch.cdist(a, b, p=1), tolerance=1e-5))
    return cases


def _cosine() -> list[Case]:
    a = torch.tensor([[1.0, 0.0], [2.0, 2.0]])
    b = torch.tensor([[5.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    cases = []
    for name, first, second in (
        ("arrows in the plane", a, b),
        ("vectors of many lengths", 3 * _uniform(4, 6), _uniform(3, 6, seed=1) - 0.5),
    ):
        expected = 1 - F.cosine_similarity(first[:, None], second[None], dim=2)
        cases.append(Case(name, (first, second), expected, tolerance=1e-5))
    return cases


def _weighted_vote() -> list[Case]:
    cases = []
    for name, labels, distances, num_classes in (
        ("one near against two far", [[2, 0, 0]], [[0.1, 1.0, 1.0]], 3),
        ("two near against one nearer", [[2, 0, 0]], [[0.9, 1.0, 1.0]], 3),
        ("a neighbour at distance 0", [[1, 3], [3, 1]], [[0.0, 0.5], [0.0, 0.5]], 4),
    ):
        label, distance = torch.tensor(labels), torch.tensor(distances)
        votes = F.one_hot(label, num_classes) / (distance + 0.001)[:, :, None]
        cases.append(Case(name, (label, distance, num_classes), votes.sum(1).argmax(1)))
    return cases


EXERCISES = {
    "manhattan": Exercise(_manhattan, "one row of a minus all of b; abs, then sum over pixels."),
    "cosine": Exercise(_cosine, "divide each row by its norm (keepdim=True), then multiply."),
    "weighted_vote": Exercise(
        _weighted_vote, "make an (N, K) table and add each weight in its label's column."
    ),
}
