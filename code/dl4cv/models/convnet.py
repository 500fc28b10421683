"""Convolutional networks from the layers of this book."""

from collections.abc import Sequence

import torch

from dl4cv import layers
from dl4cv.models.blocks import check_sizes


def three_layers(
    filters: int = 16,
    hidden: int = 100,
    *,
    in_channels: int = 1,
    num_classes: int = 10,
    generator: torch.Generator | None = None,
) -> layers.Sequential:
    """Return a convolution, a pooling and two linear layers, for images of 28 × 28 pixels.

    Args:
        filters: F, channels of the convolution.
        hidden: units of the first linear layer.
        in_channels: C, channels of the images.
        num_classes: K.
        generator: samples the initial weights; the global one if None.

    Shape: (N, C, 28, 28) → logits (N, K).
    """
    check_sizes(filters=filters, hidden=hidden, in_channels=in_channels, num_classes=num_classes)
    return layers.Sequential(
        layers.Conv2d(in_channels, filters, 5, padding=2, generator=generator),  # (N, F, 28, 28)
        layers.ReLU(),
        layers.MaxPool2d(2),  # (N, F, 14, 14)
        layers.Flatten(),
        layers.Linear(filters * 14 * 14, hidden, generator=generator),
        layers.ReLU(),
        layers.Linear(hidden, num_classes, generator=generator),
    )


def deep(
    widths: Sequence[int] = (16, 32, 48),
    *,
    normalize: bool = True,
    in_channels: int = 1,
    num_classes: int = 10,
    generator: torch.Generator | None = None,
) -> layers.Sequential:
    """Return a stack of convolutions for images of 28 × 28 pixels.

    The first convolution has stride 2, and a pooling follows the second: the feature maps have
    14 × 14 positions, then 7 × 7.

    Args:
        widths: channels of each convolution, at least two.
        normalize: whether batch normalization follows each convolution.
        in_channels: C, channels of the images.
        num_classes: K.
        generator: samples the initial weights; the global one if None.

    Shape: (N, C, 28, 28) → logits (N, K).

    Raises:
        ValueError: if there are fewer than two widths, or a size is below 1.
    """
    check_sizes(widths=widths, in_channels=in_channels, num_classes=num_classes)
    if len(widths) < 2:
        raise ValueError(f"widths is {widths}; expected at least two")
    net, channels = layers.Sequential(), in_channels
    for i, width in enumerate(widths):
        kernel_size, stride = (5, 2) if i == 0 else (3, 1)
        padding, bias = kernel_size // 2, not normalize  # a normalization would remove the bias
        net.append(
            layers.Conv2d(channels, width, kernel_size, stride, padding, bias, generator=generator)
        )
        if normalize:
            net.append(layers.BatchNorm2d(width))
        net.append(layers.ReLU())
        if i == 1:
            net.append(layers.MaxPool2d(2))
        channels = width
    net.append(layers.Flatten())
    net.append(layers.Linear(channels * 7 * 7, num_classes, generator=generator))
    return net
