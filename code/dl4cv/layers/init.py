"""First weights: how large they must be for signals to live through many layers."""

import math

import torch
from torch import Tensor


def fan_in(weight: Tensor) -> int:
    """Return how many numbers meet in one output: D of (K, D), C · h · w of (F, C, h, w)."""
    return weight[0].numel()


def xavier_normal_(weight: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw ``weight`` in place with variance 2 / (inputs + outputs), for tanh and its like.

    Shape: (K, D), or (F, C, h, w), whose fans both count the h · w places of the kernel.
    Source: Glorot and Bengio (2010), equation 12, as a normal distribution.
    """
    fan_out = weight.shape[0] * weight[0, 0].numel()
    return weight.normal_(0, math.sqrt(2 / (fan_in(weight) + fan_out)), generator=generator)


def kaiming_normal_(weight: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw ``weight`` in place with variance 2 / inputs, for ReLU.

    Shape: (K, D) or (F, C, h, w).
    Source: He, Zhang, Ren and Sun (2015), equation 10.
    """
    return weight.normal_(0, math.sqrt(2 / fan_in(weight)), generator=generator)
