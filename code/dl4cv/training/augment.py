"""Augmentation on tensors: a whole batch at once, with randomness of the batch's own.

Each function returns a transform for ``training.Batches``: from images (N, C, H, W), floats, and a
generator to changed images of the same shape. Each image draws its own change.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.training.batches import Transform


def shift(most: int) -> Transform:
    """Return the transform that moves an image by up to ``most`` pixels each way, zeros moving in.

    Raises:
        ValueError: if ``most`` is below 0.
    """
    if most < 0:
        raise ValueError(f"most is {most}; expected at least 0 pixels")

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        padded = F.pad(images, (most,) * 4)
        corners = torch.randint(2 * most + 1, (2, count, 1), generator=generator)
        rows = corners[0] + torch.arange(height)  # (N, H)
        columns = corners[1] + torch.arange(width)  # (N, W)
        which = torch.arange(count)[:, None, None]
        moved = padded.movedim(1, -1)[which, rows[:, :, None], columns[:, None, :]]
        return moved.movedim(-1, 1).contiguous()

    return transform


def flip() -> Transform:
    """Return the transform that mirrors every other image, left to right, by chance."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        return torch.where(mirrored, images.flip(3), images)

    return transform


def erase(side: int) -> Transform:
    """Return the transform that blackens a square of ``side`` pixels, centred anywhere.

    Raises:
        ValueError: if ``side`` is below 1.

    Source: DeVries and Taylor, "Cutout" (2017).
    """
    if side < 1:
        raise ValueError(f"side is {side}; expected at least 1 pixel")

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        top = torch.randint(height, (count, 1), generator=generator) - side // 2
        left = torch.randint(width, (count, 1), generator=generator) - side // 2
        rows, columns = torch.arange(height), torch.arange(width)
        down = (rows >= top) & (rows < top + side)  # (N, H)
        across = (columns >= left) & (columns < left + side)  # (N, W)
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
