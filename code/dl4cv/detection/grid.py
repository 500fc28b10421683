"""Where the cells of a feature map lie in the image."""

import torch
from torch import Tensor


def centers(height: int, width: int, stride: int) -> Tensor:
    """Return the centre of each cell of a feature map, in the image, row by row.

    Args:
        height: of the feature map, in cells.
        width: of the feature map, in cells.
        stride: pixels from one cell to the next.

    Shape: (height · width, 2) float32, (x, y) in pixels: ((j + ½) · stride, (i + ½) · stride).

    Raises:
        ValueError: if one of them is below 1.
    """
    if min(height, width, stride) < 1:
        raise ValueError(
            f"height is {height}, width {width} and stride {stride}; expected at least 1 of each"
        )
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y], -1).flatten(0, 1) + 0.5) * stride
