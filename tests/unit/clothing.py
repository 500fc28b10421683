"""Rectangles of different sizes in the place of clothing, fast to come by."""

import torch
from dl4cv.data import labelled


def some_items(first_label: int, count: int = 40, labels: int = 5) -> labelled.LabelledImages:
    """Return items of Fashion-MNIST's classes from ``first_label`` on."""
    generator = torch.Generator().manual_seed(first_label)
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    for i in range(count):
        top, left = torch.randint(0, 10, (2,), generator=generator).tolist()
        images[i, 0, top : 28 - left, left : 28 - top] = 60 + 4 * i
    labels = first_label + torch.arange(count) % labels
    return labelled.LabelledImages(images, labels, tuple("abcdefghij"), "0" * 64)
