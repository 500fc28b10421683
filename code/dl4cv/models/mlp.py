"""A fully connected network of any depth, from the layers of this book."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from dl4cv import layers


def mlp(
    features: Sequence[int],
    *,
    activation: Callable[[], layers.Layer] = layers.ReLU,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> layers.Sequential:
    """Return linear layers with an activation after each but the last.

    Args:
        features: the numbers that an example has on its way, such as ``[784, 512, 10]``.
        activation: makes the layer that bends; without one, the depth would be for nothing.
        dropout: probability that a hidden number is dropped in training.
        generator: draws the first weights; the global one if None.
        dtype: of the parameters.

    Shape: (N, …) with ``features[0]`` numbers an example → logits (N, ``features[-1]``).

    Raises:
        ValueError: if there are fewer than two numbers, or one is below 1.
    """
    if len(features) < 2 or min(features) < 1:
        raise ValueError(
            f"features is {list(features)}; expected at least two numbers, each at least 1"
        )
    net = layers.Sequential(layers.Flatten())
    last = len(features) - 2
    for i, (d, k) in enumerate(pairwise(features)):
        net.append(layers.Linear(d, k, generator=generator, dtype=dtype))
        if i < last:
            net.append(activation())
            if dropout:
                net.append(layers.Dropout(dropout))
    return net
