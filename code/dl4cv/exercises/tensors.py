"""The exercises of the chapter on images as tensors."""

import torch
from torch.nn import functional as F

from dl4cv.exercises import Case, Exercise


def _uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _standardise() -> list[Case]:
    cases = []
    for name, shape in (
        ("two images of three channels", (2, 3, 4, 5)),
        ("one channel", (6, 1, 3, 3)),
        ("two channels, images as many as pixels", (4, 2, 2, 2)),
    ):
        images = 3 * _uniform(*shape) + 1
        expected = F.batch_norm(images, None, None, training=True, eps=1e-12)
        cases.append(Case(name, (images,), expected, tolerance=1e-4))
    return cases


def _one_hot() -> list[Case]:
    return [
        Case(name, (labels, num_classes), F.one_hot(labels, num_classes).float())
        for name, labels, num_classes in (
            ("three labels", torch.tensor([2, 0, 1]), 3),
            ("a class that no label names", torch.tensor([0, 3, 3]), 5),
            ("as many labels as classes, all alike", torch.tensor([1, 1, 1, 1]), 4),
        )
    ]


def _patches() -> list[Case]:
    cases = []
    for name, shape, size in (
        ("one grey image in four patches", (1, 1, 4, 4), 2),
        ("an image that is not square", (2, 1, 2, 6), 2),
        ("three channels and patches of size 3", (2, 3, 6, 9), 3),
    ):
        images = _uniform(*shape)
        expected = F.unfold(images, size, stride=size).transpose(1, 2)
        cases.append(Case(name, (images, size), expected))
    return cases


def _filters() -> list[Case]:
    cases = []
    for name, image, weights in (
        ("one channel, one filter", (1, 5, 5), (1, 1, 3, 3)),
        ("three channels, one filter", (3, 6, 4), (1, 3, 2, 2)),
        ("four filters of three channels", (3, 7, 8), (4, 3, 3, 3)),
    ):
        x, w = _uniform(*image), _uniform(*weights, seed=1) - 0.5
        cases.append(Case(name, (x, w), F.conv2d(x[None], w)[0], tolerance=1e-5))
    return cases


EXERCISES = {
    "standardise": Exercise(
        _standardise,
        "take mean and std over the axes (0, 2, 3), with keepdim and correction=0.",
    ),
    "one_hot": Exercise(_one_hot, "compare labels[:, None] with a row that counts the classes."),
    "patches": Exercise(
        _patches, "split H and W in two axes each, bring the patch axes together, then join."
    ),
    "filters": Exercise(_filters, "w[:, :, a, b] is (F, C); multiply it with the moved image."),
}
