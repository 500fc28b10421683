"""Exercises of the chapter on vision transformers."""

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from dl4cv.exercises import Case, Exercise, normal


def _patchify() -> list[Case]:
    cases = []
    for name, shape, size in (
        ("two patches side by side", (1, 1, 2, 4), 2),
        ("a square of nine", (2, 1, 6, 6), 2),
        ("three channels, higher than wide", (2, 3, 8, 4), 4),
        ("patches of one pixel", (1, 2, 3, 3), 1),
    ):
        images = normal(*shape, seed=1)
        cases.append(Case(name, (images, size), F.unfold(images, size, stride=size).mT))
    return cases


def _parameters() -> list[Case]:
    cases = []
    for name, given in (
        ("Fashion-MNIST, two blocks", (28, 7, 1, 8, 2, 16, 10)),
        ("patches of 4", (28, 4, 1, 64, 4, 128, 10)),
        ("ViT-B/16 on ImageNet", (224, 16, 3, 768, 12, 3072, 1000)),
    ):
        image_size, patch_size, channels, dim, layers, hidden, classes = given
        with torch.device("meta"):
            net = VisionTransformer(
                image_size, patch_size, layers, 1, dim, hidden, num_classes=classes
            )
            net.conv_proj = nn.Conv2d(channels, dim, patch_size, patch_size)
        cases.append(Case(name, given, sum(p.numel() for p in net.parameters())))
    return cases


def _resize() -> list[Case]:
    cases = []
    for name, old, new, dim in (
        ("the same size", 2, 2, 3),
        ("twice as many patches a side", 2, 4, 1),
        ("seven to ten", 7, 10, 4),
    ):
        positions = normal(1 + old**2, dim, seed=old)
        grid = positions[1:].T.view(1, dim, old, old)
        resized = F.interpolate(grid, size=(new, new), mode="bilinear").flatten(2)[0].T
        expected = torch.cat([positions[:1], resized]).round(decimals=8)
        cases.append(Case(name, (positions, old, new), expected))
    return cases


EXERCISES = {
    "patchify": Exercise(
        _patchify,
        "view the images as (N, C, rows, P, columns, P), then bring rows and columns to the front.",
    ),
    "parameters": Exercise(
        _parameters,
        "a block has two normalizations of 2 D, attention of 4 D² + 4 D, and two linear layers.",
    ),
    "resize_positions": Exercise(
        _resize,
        "set the class token's row aside; the others are an image (1, D, old, old).",
    ),
}
