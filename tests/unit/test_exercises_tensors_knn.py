"""Exercises of the first two chapters: right and plausibly wrong answers are told apart."""

import pytest
import torch
from dl4cv import exercises


def standardise(images, axes=(0, 2, 3)):
    mean = images.mean(axes, keepdim=True)
    return (images - mean) / images.std(axes, correction=0, keepdim=True)


def patches(images, size, order=(0, 2, 4, 1, 3, 5)):
    n, c, h, w = images.shape
    split = images.reshape(n, c, h // size, size, w // size, size)
    return split.permute(order).reshape(n, -1, c * size * size)


ANSWERS = [
    ("tensors/standardise", standardise, lambda images: standardise(images, (2, 3))),
    (
        "tensors/one_hot",
        lambda labels, num_classes: (labels[:, None] == torch.arange(num_classes)).float(),
        lambda labels, num_classes: (labels[:, None] == torch.arange(1, num_classes + 1)).float(),
    ),
    ("tensors/patches", patches, lambda images, size: patches(images, size, (0, 2, 4, 3, 5, 1))),
    (
        "tensors/filters",
        lambda x, w: torch.nn.functional.conv2d(x[None], w)[0],
        lambda x, w: torch.nn.functional.conv2d(x[None], w.flip(2, 3))[0],
    ),
    (
        "knn/manhattan",
        lambda a, b: (a[:, None] - b).abs().sum(2),
        lambda a, b: (a[:, None] - b).square().sum(2).sqrt(),
    ),
    (
        "knn/cosine",
        lambda a, b: 1 - (a / a.norm(dim=1, keepdim=True)) @ (b / b.norm(dim=1, keepdim=True)).T,
        lambda a, b: 1 - a @ b.T,
    ),
    (
        "knn/weighted_vote",
        lambda labels, distances, num_classes: (
            torch.zeros(len(labels), num_classes)
            .scatter_add_(1, labels, 1 / (distances + 0.001))
            .argmax(1)
        ),
        lambda labels, distances, num_classes: labels.mode(dim=1).values,
    ),
]


@pytest.mark.parametrize(("name", "right", "wrong"), ANSWERS, ids=[answer[0] for answer in ANSWERS])
def test_right_passes_and_wrong_does_not(name, right, wrong):
    assert exercises.check(name, right).passed
    assert not exercises.check(name, wrong).passed
