"""Max pooling: of each window, the largest number. As loops, and by ``im2col``."""

import torch
from torch import Tensor

from dl4cv.layers.layer import Layer
from dl4cv.layers.windows import Pair, col2im, im2col, output_size, pair


def max_pool2d_naive(x: Tensor, kernel_size: int, stride: int) -> Tensor:
    """Pool by loops over images, channels and places. Shape: (N, C, H, W) → (N, C, H′, W′)."""
    N, C, H, W = x.shape
    high, wide = output_size((H, W), (kernel_size, kernel_size), (stride, stride), (0, 0))
    y = x.new_zeros(N, C, high, wide)
    for n in range(N):
        for c in range(C):
            for i in range(high):
                for j in range(wide):
                    rows = slice(i * stride, i * stride + kernel_size)
                    columns = slice(j * stride, j * stride + kernel_size)
                    y[n, c, i, j] = x[n, c, rows, columns].max()
    return y


def max_pool2d_naive_backward(dy: Tensor, x: Tensor, kernel_size: int, stride: int) -> Tensor:
    """Return the gradient by the input: each window's goes to its first largest number.

    Shape: dy (N, C, H′, W′), x (N, C, H, W) → (N, C, H, W).
    """
    N, C, high, wide = dy.shape
    dx = torch.zeros_like(x)
    for n in range(N):
        for c in range(C):
            for i in range(high):
                for j in range(wide):
                    top, left = i * stride, j * stride
                    window = x[n, c, top : top + kernel_size, left : left + kernel_size]
                    row, column = divmod(int(window.argmax()), kernel_size)
                    dx[n, c, top + row, left + column] += dy[n, c, i, j]
    return dx


class MaxPool2d(Layer):
    """Keep the largest number of each window.

    Args:
        kernel_size: height and width of the window, or one number for both.
        stride: how far it moves; the kernel size if None.
        padding: margin on each side, which never wins; at most half the kernel.

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
                "or a window could lie in the margin alone"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest numbers. Shape: (N, C, H, W) → (N, C, H′, W′)."""
        places = self._places(x)  # H′, W′
        columns = im2col(x, self.kernel_size, self.stride, self.padding, -torch.inf)
        y, winners = columns.max(1)  # (C, N · H′ · W′); of equals the first
        self._kept = winners, x.shape
        y = y.view(len(y), len(x), *places)  # (C, N, H′, W′)
        return y.transpose(0, 1)

    def backward(self, dy: Tensor) -> Tensor:
        """Send each window's gradient to its winner. Shape: as y → as x."""
        winners, shape = self._recall()
        dy = dy.transpose(0, 1).flatten(1)  # (C, N · H′ · W′)
        h, w = self.kernel_size
        columns = dy.new_zeros(len(dy), h * w, dy.shape[1])
        columns.scatter_(1, winners[:, None], dy[:, None])
        return col2im(columns, shape, self.kernel_size, self.stride, self.padding)

    def _places(self, x: Tensor) -> Pair:
        """Return H′ and W′, after a look at the shape of ``x``."""
        if x.ndim != 4:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (N, C, H, W)")
        size = (x.shape[2], x.shape[3])
        return output_size(size, self.kernel_size, self.stride, self.padding)
