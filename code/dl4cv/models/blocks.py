"""What several families share: a convolution unit, and the checks of their arguments."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv_bn_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: int = 1,
    *,
    momentum: float = 0.1,
) -> nn.Sequential:
    """Return a convolution with "same" padding, batch normalization and ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernels, odd.
        stride: of the convolution.
        momentum: weight of a batch in the running statistics.

    Shape: (N, in_channels, H, W) → (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), arXiv:1502.03167, section 3.2.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels, momentum=momentum),
        nn.ReLU(),
    )


def check_sizes(**sizes: int | Sequence[int]) -> None:
    """Check that every argument is a size, or at least one of them.

    Raises:
        ValueError: if one is below 1, or a sequence is empty.
    """
    for name, value in sizes.items():
        if min([value] if isinstance(value, int) else value, default=0) < 1:
            expected = "1 or more" if isinstance(value, int) else "one or more, each at least 1"
            raise ValueError(f"{name} is {value}; expected {expected}")


def check_images(
    images: Tensor, in_channels: int, *, at_least: int = 1, at_most: float = float("inf")
) -> None:
    """Check what a network is about to classify.

    Raises:
        ValueError: unless ``images`` are floats of shape (N, in_channels, H, W), with H and W
            from ``at_least`` to ``at_most``.
    """
    shape = tuple(images.shape)
    if (
        len(shape) != 4
        or shape[1] != in_channels
        or not at_least <= min(shape[2:]) <= max(shape[2:]) <= at_most
    ):
        raise ValueError(
            f"images has shape {shape}; expected (N, {in_channels}, H, W) with H and W "
            f"from {at_least} to {at_most}"
        )
    if not images.is_floating_point():
        raise ValueError(f"images has dtype {images.dtype}; expected floats in [0, 1]")


def class_indices(labels: Tensor, count: int, num_classes: int) -> Tensor:
    """Return ``labels`` of any integer type as int64, which embeddings ask for.

    Raises:
        ValueError: unless they are ``count`` integers from 0 to ``num_classes`` − 1.
    """
    if labels.shape != (count,) or labels.is_floating_point() or labels.is_complex():
        raise ValueError(
            f"labels has shape {tuple(labels.shape)} and dtype {labels.dtype}; "
            f"expected ({count},) integers"
        )
    labels = labels.long()
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise ValueError(f"labels holds {wrong[0]}; expected classes from 0 to {num_classes - 1}")
    return labels


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return ``dtype``, or float32 if that is more precise."""
    return torch.promote_types(dtype, torch.float32)
