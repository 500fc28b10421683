"""Dropout: train with random units missing, so that none can rely on another."""

import torch
from torch import Tensor

from dl4cv.layers.layer import Layer


class Dropout(Layer):
    """In training, zero each number with probability ``p`` and divide the others by ``1 − p``.

    So the expectation of every number stays as it is, and ``eval`` has nothing to correct: there
    the layer does nothing. The draws come from PyTorch's global generator.

    Raises:
        ValueError: if ``p`` is not in [0, 1).

    Source: Srivastava et al. (2014), with the division in training ("inverted dropout").
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}; expected a probability from 0 to below 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return what is left of ``x``, of any shape."""
        self._kept = 1.0
        if self.training:
            self._kept = (torch.rand_like(x) >= self.p).to(x.dtype) / (1 - self.p)
        return x * self._kept

    def backward(self, dy: Tensor) -> Tensor:
        """Send the gradient the way that the numbers went."""
        return dy * self._recall()
