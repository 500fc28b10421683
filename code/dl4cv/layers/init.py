"""Initial weights: how large they must be for signals to pass through many layers."""

import math

import torch
from torch import Tensor


def fan_in(weight: Tensor) -> int:
    """Return how many inputs one output sums: D of (K, D), C · h · w of (F, C, h, w)."""
    return weight[0].numel()


def kaiming_normal_(weight: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw ``weight`` in place with variance 2 / fan-in, for ReLU.

    Shape: (K, D) or (F, C, h, w).
    Source: He, Zhang, Ren and Sun (2015), arXiv 1502.01852, equation 10.
    """
    return weight.normal_(0, math.sqrt(2 / fan_in(weight)), generator=generator)
