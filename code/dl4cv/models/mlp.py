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
        features: sizes of the input, the hidden layers and the output, such as [784, 512, 10].
        activation: makes the elementwise nonlinear layer.
        dropout: probability that a hidden unit is dropped in training.
        generator: samples the initial weights; the global one if None.
        dtype: of the parameters.

    Shape: (N, …) with ``features[0]`` numbers per example → logits (N, ``features[-1]``).

    Raises:
        ValueError: if there are fewer than two sizes, or one is below 1.
    """
    if len(features) < 2 or min(features) < 1:
        raise ValueError(
            f"features is {list(features)}; expected at least two sizes, each at least 1"
        )
    net = layers.Sequential(layers.Flatten())
    last = len(features) - 2
    for i, (in_features, out_features) in enumerate(pairwise(features)):
        net.append(layers.Linear(in_features, out_features, generator=generator, dtype=dtype))
        if i < last:
            net.append(activation())
            if dropout:
                net.append(layers.Dropout(dropout))
    return net
