"""The exercises of the chapter on style transfer."""

import torch
from torch import Tensor

from dl4cv.exercises import Case, Exercise, normal


def _gram() -> list[Case]:
    cases = []
    for about, shape, mean, seed in (
        ("one map", (1, 2, 3), torch.zeros(1), 0),
        ("three maps, nothing subtracted", (3, 4, 4), torch.zeros(3), 1),
        ("two maps, wider than high, less a mean", (2, 3, 5), torch.tensor([1.0, -2.0]), 2),
    ):
        maps, mean = normal(*shape, seed=seed), mean.double()
        expected = torch.zeros(shape[0], shape[0]).double()
        for y in range(shape[1]):
            for x in range(shape[2]):
                place = maps[:, y, x] - mean
                expected += torch.outer(place, place) / (shape[1] * shape[2])
        cases.append(Case(about, (maps, mean), expected))
    return cases


def _gradient() -> list[Case]:
    cases = []
    for about, shape, seed in (
        ("one map", (1, 4), 10),
        ("more places than maps", (3, 8), 11),
        ("more maps than places", (5, 2), 12),
    ):
        features, other = normal(*shape, seed=seed), normal(*shape, seed=seed + 10)
        wanted = other @ other.T / shape[1]

        def loss(features: Tensor, wanted: Tensor = wanted) -> Tensor:
            return (features @ features.T / features.shape[1] - wanted).square().sum()

        slope = torch.func.grad(loss)(features)
        cases.append(Case(about, (features, wanted), slope))
    return cases


def _match_color_statistics() -> list[Case]:
    pixels = normal(50, 3, seed=20) @ torch.tensor(
        [[1.0, 0.5, 0.2], [0.0, 0.6, 0.1], [0.0, 0.0, 0.3]]
    ).to(torch.float64)
    own, mean = torch.cov(pixels.T, correction=0), pixels.mean(0)
    # Values that are already independent, so that the roots can be written down.
    values, vectors = torch.linalg.eigh(own)
    white = (pixels - mean) @ vectors / values.sqrt()
    grey = torch.tensor([0.5, 0.5, 0.5]).double()
    scale = torch.tensor([0.04, 0.01, 0.09]).double()
    return [
        Case("its own statistics", (pixels, mean, own), pixels),
        Case("another mean", (pixels, mean + 1, own), pixels + 1),
        Case(
            "white noise, scaled",
            (white, grey, torch.diag(scale)),
            white * scale.sqrt() + grey,
        ),
        Case(
            "white noise of unit covariance",
            (pixels, grey, torch.eye(3).double()),
            white @ vectors.T + grey,
        ),
    ]


EXERCISES = {
    "gram": Exercise(
        _gram, "Flatten the places, subtract the mean, and divide by the number of places."
    ),
    "gradient": Exercise(
        _gradient, "The loss has F twice in each product: (4 / P) times the difference, times F."
    ),
    "match_color_statistics": Exercise(
        _match_color_statistics,
        "Centre, multiply by the two symmetric roots in the right order, add the mean.",
    ),
}
