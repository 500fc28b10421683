"""Exercises of the chapter on architectures."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.flop_counter import FlopCounterMode

from dl4cv.exercises import Case, Exercise, normal, pullback, uniform


def _multiply_adds() -> list[Case]:
    cases = []
    for name, size, in_channels, out_channels, kernel_size, stride, groups in (
        ("an image and 3 × 3 kernels", 8, 3, 4, 3, 1, 1),
        ("stride 2", 9, 4, 6, 3, 2, 1),
        ("1 × 1 kernels", 7, 8, 2, 1, 1, 1),
        ("two groups", 6, 4, 8, 5, 1, 2),
        ("depthwise", 10, 6, 6, 3, 1, 6),
    ):
        image = torch.empty(1, in_channels, size, size, device="meta")
        shape = (out_channels, in_channels // groups, kernel_size, kernel_size)
        weight = torch.empty(shape, device="meta")
        with FlopCounterMode(display=False) as counter:
            F.conv2d(image, weight, stride=stride, padding=kernel_size // 2, groups=groups)
        given = (size, in_channels, out_channels, kernel_size, stride, groups)
        cases.append(Case(name, given, counter.get_total_flops() // 2))
    return cases


def _residual() -> list[Case]:
    cases = []
    for name, count, features, hidden in (
        ("one vector", 1, 3, 4),
        ("five vectors", 5, 4, 2),
    ):
        x, dy = normal(count, features, seed=count), normal(count, features, seed=20)
        first, second = normal(hidden, features, seed=21), normal(features, hidden, seed=22)

        def block(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
            return F.relu(x + F.linear(F.relu(F.linear(x, first)), second))

        expected = pullback(block, x, first, second, dy=dy)
        cases.append(Case(name, (x, first, second, dy), expected))
    return cases


def _separable() -> list[Case]:
    cases = []
    for name, shape, filters in (
        ("one channel", (1, 1, 4, 4), 1),
        ("three channels", (2, 3, 5, 4), 2),
        ("more output than input channels", (1, 2, 3, 6), 5),
    ):
        x, depthwise = normal(*shape, seed=1), normal(shape[1], 3, 3, seed=2)
        pointwise = normal(filters, shape[1], seed=3)
        each = F.conv2d(x, depthwise[:, None], padding=1, groups=shape[1])
        expected = F.conv2d(each, pointwise[:, :, None, None])
        cases.append(Case(name, (x, depthwise, pointwise), expected.round(decimals=8)))
    return cases


def _fold_batchnorm() -> list[Case]:
    cases = []
    for name, filters, channels in (("one output channel", 1, 2), ("four output channels", 4, 3)):
        weight = normal(filters, channels, 3, 3, seed=1)
        gamma, beta, mean = (normal(filters, seed=seed) for seed in (2, 3, 4))
        variance = 0.1 + uniform(filters, seed=5)
        fused = fuse_conv_bn_weights(weight, None, mean, variance, 1e-5, gamma, beta)
        expected = tuple(tensor.detach().round(decimals=8) for tensor in fused)
        cases.append(Case(name, (weight, gamma, beta, mean, variance, 1e-5), expected))
    return cases


EXERCISES = {
    "multiply_adds": Exercise(
        _multiply_adds,
        "each result sums (in_channels / groups) · kernel_size² products; count the results.",
    ),
    "residual": Exercise(
        _residual,
        "after the last ReLU the gradient splits in two: one goes to x as it is, one through f.",
    ),
    "separable": Exercise(
        _separable,
        "F.conv2d with groups=C convolves each channel by itself; then mix with torch.einsum.",
    ),
    "fold_batchnorm": Exercise(
        _fold_batchnorm,
        "γ (w ∗ x − m) / σ + β is a convolution too: scale the kernels; the rest is a bias.",
    ),
}
