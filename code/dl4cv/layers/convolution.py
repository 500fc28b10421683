"""Convolution: one small set of weights, applied at every position of an image.

Twice: as loops that say what it is, and by ``im2col`` as one matrix product.
"""

import torch
from torch import Tensor

from dl4cv.layers import init
from dl4cv.layers.layer import Layer, add_gradient, check_dtype, parameter
from dl4cv.layers.windows import Pair, col2im, im2col, output_size, pad, pair


def conv2d_naive(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve by loops over images, filters and positions.

    Shape: x (N, C, H, W), weight (F, C, h, w), bias (F,) → (N, F, H′, W′).

    Raises:
        ValueError: if the kernel is larger than the padded image.
    """
    (N, _, H, W), (F, _, h, w) = x.shape, weight.shape
    high, wide = output_size((H, W), (h, w), (stride, stride), (padding, padding))
    padded = pad(x, (padding, padding))
    y = x.new_zeros(N, F, high, wide)
    for n in range(N):
        for f in range(F):
            for i in range(high):
                for j in range(wide):
                    rows = slice(i * stride, i * stride + h)
                    columns = slice(j * stride, j * stride + w)
                    window = padded[n, :, rows, columns]  # (C, h, w)
                    y[n, f, i, j] = (window * weight[f]).sum() + bias[f]
    return y


def conv2d_naive_backward(
    dy: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients with respect to input, weight and bias, by the same loops.

    Shape: dy (N, F, H′, W′) → (N, C, H, W), (F, C, h, w), (F,).
    """
    (N, F, high, wide), (h, w) = dy.shape, weight.shape[2:]
    padded = pad(x, (padding, padding))
    dx, dweight = torch.zeros_like(padded), torch.zeros_like(weight)
    dbias = weight.new_zeros(F)
    for n in range(N):
        for f in range(F):
            for i in range(high):
                for j in range(wide):
                    g = dy[n, f, i, j]
                    rows = slice(i * stride, i * stride + h)
                    columns = slice(j * stride, j * stride + w)
                    dx[n, :, rows, columns] += g * weight[f]
                    dweight[f] += g * padded[n, :, rows, columns]
                    dbias[f] += g
    H, W = x.shape[2:]  # the padding's gradient is discarded
    return dx[:, :, padding : padding + H, padding : padding + W], dweight, dbias


class Conv2d(Layer):
    """Convolve, fast: copy all windows into a matrix and multiply it by the filters.

    Strictly a cross-correlation: the kernel is not flipped, as in ``torch.nn.Conv2d``.

    Args:
        in_channels: C.
        out_channels: F, filters.
        kernel_size: h and w, or one number for both; the same for the next two.
        stride: how far the window moves.
        padding: zeros on each side.
        bias: whether each filter adds a constant.
        generator: draws the first weights, He et al.'s for ReLU; the global one if None.
        dtype: of the parameters.

    Shape: x (N, C, H, W) → (N, F, H′, W′); ``weight`` (F, C, h, w), ``bias`` (F,), as PyTorch's.

    Raises:
        ValueError: if a setting is out of its range, ``x`` does not have C channels or another type
            than the parameters, or the kernel is larger than the padded image.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise ValueError(
                f"in_channels is {in_channels} and out_channels {out_channels}; "
                "expected at least 1 each"
            )
        self.kernel_size = pair("kernel_size", kernel_size)
        self.stride = pair("stride", stride)
        self.padding = pair("padding", padding, least=0)
        self.weight = parameter((out_channels, in_channels, *self.kernel_size), dtype)
        self.bias = parameter((out_channels,), dtype) if bias else None
        init.kaiming_normal_(self.weight, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature maps. Shape: (N, C, H, W) → (N, F, H′, W′)."""
        places = self._places(x)  # H′, W′
        columns = im2col(x, self.kernel_size, self.stride, self.padding)
        columns = columns.flatten(0, 1)  # (C · h · w, N · H′ · W′)
        self._saved = columns, x.shape
        y = self.weight.flatten(1) @ columns  # (F, N · H′ · W′)
        if self.bias is not None:
            y = y + self.bias[:, None]
        y = y.view(len(y), len(x), *places)  # (F, N, H′, W′)
        return y.transpose(0, 1)

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient with respect to the input. Shape: as y → as x."""
        columns, shape = self._pop_saved()
        dy = dy.transpose(0, 1).flatten(1)  # (F, N · H′ · W′)
        dweight = dy @ columns.T  # (F, C · h · w)
        add_gradient(self.weight, dweight.view(self.weight.shape))
        if self.bias is not None:
            add_gradient(self.bias, dy.sum(1))
        dcolumns = self.weight.flatten(1).T @ dy
        return col2im(dcolumns, shape, self.kernel_size, self.stride, self.padding)

    def _places(self, x: Tensor) -> Pair:
        """Return H′ and W′, after a check of ``x``."""
        channels = self.weight.shape[1]
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (N, {channels}, H, W)")
        check_dtype(x, self.weight)
        size = (x.shape[2], x.shape[3])
        return output_size(size, self.kernel_size, self.stride, self.padding)
