"""Windows that slide over an image, laid out as the columns of a matrix, and back.

Convolution and pooling do the same to every window. With all windows of a batch in one matrix that
is one product, or one maximum, instead of a loop.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[int, int]


def pair(name: str, value: int | Pair, *, least: int = 1) -> Pair:
    """Return ``value`` for height and width.

    Raises:
        ValueError: if it is below ``least`` or not one or two integers; ``name`` says what it is.
    """
    both = value if isinstance(value, tuple) else (value, value)
    if len(both) != 2 or not all(isinstance(v, int) and v >= least for v in both):
        raise ValueError(
            f"{name} is {value}; expected one integer of at least {least}, or two: height and width"
        )
    return both


def output_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Return in how many positions, down and across, a window fits.

    Raises:
        ValueError: if it fits in none.
    """
    padded = (size[0] + 2 * padding[0], size[1] + 2 * padding[1])
    if kernel[0] > padded[0] or kernel[1] > padded[1]:
        raise ValueError(
            f"kernel_size is {kernel[0]} × {kernel[1]}, larger than the image, which is "
            f"{padded[0]} × {padded[1]} with its padding; expected a kernel that fits"
        )
    return ((padded[0] - kernel[0]) // stride[0] + 1, (padded[1] - kernel[1]) // stride[1] + 1)


def pad(x: Tensor, padding: Pair, fill: float = 0.0) -> Tensor:
    """Return images with a margin. Shape: (N, C, H, W) → (N, C, H + 2 p, W + 2 q)."""
    down, across = padding
    return F.pad(x, (across, across, down, down), value=fill) if down or across else x


def im2col(x: Tensor, kernel: Pair, stride: Pair, padding: Pair, fill: float = 0) -> Tensor:
    """Copy every window of every image into a column.

    Shape: (N, C, H, W) → (C, h · w, N · H′ · W′), for H′ × W′ positions of an h × w kernel. The
    channels stay apart; ``flatten(0, 1)`` joins them.
    """
    (h, w), (down, across) = kernel, stride
    x = pad(x, padding, fill)
    x = x.unfold(2, h, down)  # (N, C, H′, W, h)
    x = x.unfold(3, w, across)  # (N, C, H′, W′, h, w)
    x = x.permute(1, 4, 5, 0, 2, 3)  # (C, h, w, N, H′, W′)
    return x.flatten(3).flatten(1, 2)


def col2im(columns: Tensor, shape: torch.Size, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Add every column back to the pixels that its window was copied from.

    The transpose of ``im2col``: a pixel that was copied into several windows gets their sum.

    Shape: columns (C, h · w, N · H′ · W′), or with the first two joined → ``shape``, (N, C, H, W).
    """
    N, C, H, W = shape
    (h, w), (down, across), (p, q) = kernel, stride, padding
    high, wide = output_size((H, W), kernel, stride, padding)  # H′, W′
    parts = columns.view(C, h, w, N, high, wide)
    x = columns.new_zeros(C, N, H + 2 * p, W + 2 * q)
    for i in range(h):
        for j in range(w):  # this position in all windows at once
            bottom, right = i + down * high, j + across * wide
            x[:, :, i:bottom:down, j:right:across] += parts[:, i, j]
    return x[:, :, p : p + H, q : q + W].transpose(0, 1)  # no margin
