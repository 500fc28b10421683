"""Anchors: boxes of a few sizes and shapes around each cell of a feature map.

Source: Ren, He, Girshick and Sun (2015), arXiv 1506.01497, section 3.1.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dl4cv.detection import boxes, grid, inputs


def shapes(sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Return the width and height of each anchor of a cell: for each ratio in turn, all sizes.

    Args:
        sizes: the square roots of the areas, in pixels.
        ratios: height / width.

    Shape: (len(ratios) · len(sizes), 2) float32, (width, height) in pixels.

    Raises:
        ValueError: if there is no size or no ratio, or one is not above 0.
    """
    for name, values in (("sizes", sizes), ("ratios", ratios)):
        if not values or not min(values) > 0:
            raise ValueError(f"{name} is {values}; expected at least one, all above 0")
    size, root = torch.tensor(sizes), torch.tensor(ratios).sqrt()[:, None]
    return torch.stack([size / root, size * root], -1).flatten(0, 1).float()


def on_grid(height: int, width: int, stride: int, shapes: Tensor) -> Tensor:
    """Return an anchor of each shape around the centre of each cell of a feature map.

    Args:
        height: of the feature map, in cells.
        width: of the feature map, in cells.
        stride: pixels from one cell to the next.
        shapes: (A, 2), widths and heights in pixels.

    Shape: (height · width · A, 4), row by row, with the A anchors of a cell in succession.

    Raises:
        ValueError: if the map or the stride is below 1, or ``shapes`` is not (A, 2) or not above 0.
    """
    shapes = inputs.floats("shapes", shapes, last=2)
    if shapes.ndim != 2 or not (shapes > 0).all():
        raise ValueError(f"shapes is {shapes.tolist()}; expected (A, 2) values above 0")
    centers = grid.centers(height, width, stride).to(shapes)[:, None]  # (H · W, 1, 2)
    return boxes.from_centers(centers, shapes).flatten(0, 1)
