"""Convolutional networks from the layers of this book."""

from collections.abc import Sequence

import torch

from dl4cv import layers


def three_layers(
    filters: int = 16, hidden: int = 100, *, generator: torch.Generator | None = None
) -> layers.Sequential:
    """Return a convolution, a pooling and two linear layers, for grey images of 28 × 28 pixels.

    Shape: (N, 1, 28, 28) → logits (N, 10).
    """
    return layers.Sequential(
        layers.Conv2d(1, filters, 5, padding=2, generator=generator),  # (N, F, 28, 28)
        layers.ReLU(),
        layers.MaxPool2d(2),  # (N, F, 14, 14)
        layers.Flatten(),
        layers.Linear(filters * 14 * 14, hidden, generator=generator),
        layers.ReLU(),
        layers.Linear(hidden, 10, generator=generator),
    )


def deep(
    widths: Sequence[int] = (16, 32, 48),
    *,
    normalize: bool = True,
    generator: torch.Generator | None = None,
) -> layers.Sequential:
    """Return a stack of convolutions for grey images of 28 × 28 pixels.

    The first convolution moves by two pixels, and a pooling follows the second: the maps have
    14 × 14 places, then 7 × 7.

    Args:
        widths: the channels of each convolution, at least two.
        normalize: whether batch normalisation follows each convolution.
        generator: draws the first weights; the global one if None.

    Shape: (N, 1, 28, 28) → logits (N, 10).
    """
    net, channels = layers.Sequential(), 1
    for i, width in enumerate(widths):
        kernel, stride = (5, 2) if i == 0 else (3, 1)
        bias = not normalize  # a normalisation would take it out again
        net.append(
            layers.Conv2d(channels, width, kernel, stride, kernel // 2, bias, generator=generator)
        )
        if normalize:
            net.append(layers.BatchNorm2d(width))
        net.append(layers.ReLU())
        if i == 1:
            net.append(layers.MaxPool2d(2))
        channels = width
    net.append(layers.Flatten())
    net.append(layers.Linear(channels * 7 * 7, 10, generator=generator))
    return net
