"""Augmentation on tensors: a whole batch at once, reproducible at each step.

Each function returns a transform for ``training.Batches``: from images (N, C, H, W), floats, and a
generator to changed images of the same shape. Each image draws its own change.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.training.batches import Transform


def random_shift(max_shift: int) -> Transform:
    """Return the transform that shifts by up to ``max_shift`` pixels each way, filling with zeros.

    Raises:
        ValueError: if ``max_shift`` is below 0.
    """
    if max_shift < 0:
        raise ValueError(f"max_shift is {max_shift}; expected at least 0 pixels")

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        padded = F.pad(images, (max_shift,) * 4)
        corners = torch.randint(2 * max_shift + 1, (2, count, 1), generator=generator)
        rows = corners[0] + torch.arange(height)  # (N, H)
        columns = corners[1] + torch.arange(width)  # (N, W)
        which = torch.arange(count)[:, None, None]
        moved = padded.movedim(1, -1)[which, rows[:, :, None], columns[:, None, :]]
        return moved.movedim(-1, 1).contiguous()

    return transform


def random_horizontal_flip() -> Transform:
    """Return the transform that mirrors an image left to right with probability ½."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        return torch.where(mirrored, images.flip(3), images)

    return transform


def cutout(size: int) -> Transform:
    """Return the transform that sets a square of ``size`` × ``size`` pixels to 0.

    Its center is anywhere in the image, so that a part of the square may lie outside.

    Raises:
        ValueError: if ``size`` is below 1.

    Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
        Cutout" (2017), arXiv:1708.04552.
    """
    if size < 1:
        raise ValueError(f"size is {size}; expected at least 1 pixel")

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        top = torch.randint(height, (count, 1), generator=generator) - size // 2
        left = torch.randint(width, (count, 1), generator=generator) - size // 2
        rows, columns = torch.arange(height), torch.arange(width)
        down = (rows >= top) & (rows < top + size)  # (N, H)
        across = (columns >= left) & (columns < left + size)  # (N, W)
        hole = down[:, :, None] & across[:, None, :]
        return images.masked_fill(hole[:, None], 0)

    return transform


def compose(*transforms: Transform) -> Transform:
    """Return the transform that applies ``transforms`` one after another."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        for each in transforms:
            images = each(images, generator)
        return images

    return transform
