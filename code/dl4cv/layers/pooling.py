"""Max pooling: of each window, the largest value, found by ``im2col``."""

import torch
from torch import Tensor

from dl4cv.layers.layer import Layer
from dl4cv.layers.windows import Pair, col2im, im2col, output_size, pair


class MaxPool2d(Layer):
    """Keep the largest value of each window.

    Args:
        kernel_size: height and width of the window, or one number for both.
        stride: how far it moves; the kernel size if None.
        padding: margin on each side, which is never the largest; at most half the kernel.

    Shape: x (N, C, H, W) → (N, C, H′, W′).

    Raises:
        ValueError: if a setting is out of its range, ``x`` is not of that shape, or the kernel is
            larger than the padded image.
    """

    def __init__(
        self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
    ) -> None:
        super().__init__()
        self.kernel_size = pair("kernel_size", kernel_size)
        self.stride = pair("stride", kernel_size if stride is None else stride)
        self.padding = pair("padding", padding, least=0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(
                f"padding is {padding}; expected at most half of kernel_size, {kernel_size}, "
                "or a window could lie entirely in the margin"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest values. Shape: (N, C, H, W) → (N, C, H′, W′)."""
        places = self._places(x)  # H′, W′
        columns = im2col(x, self.kernel_size, self.stride, self.padding, -torch.inf)
        y, winners = columns.max(1)  # (C, N · H′ · W′); of equals the first
        self._saved = winners, x.shape
        y = y.view(len(y), len(x), *places)  # (C, N, H′, W′)
        return y.transpose(0, 1)

    def backward(self, dy: Tensor) -> Tensor:
        """Send each window's gradient to its winner. Shape: as y → as x."""
        winners, shape = self._pop_saved()
        dy = dy.transpose(0, 1).flatten(1)  # (C, N · H′ · W′)
        h, w = self.kernel_size
        columns = dy.new_zeros(len(dy), h * w, dy.shape[1])
        columns.scatter_(1, winners[:, None], dy[:, None])
        return col2im(columns, shape, self.kernel_size, self.stride, self.padding)

    def _places(self, x: Tensor) -> Pair:
        """Return H′ and W′, after a check of the shape of ``x``."""
        if x.ndim != 4:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (N, C, H, W)")
        size = (x.shape[2], x.shape[3])
        return output_size(size, self.kernel_size, self.stride, self.padding)
