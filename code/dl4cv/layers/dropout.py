"""Dropout: train with random units missing, so that none can rely on another."""

import torch
from torch import Tensor

from dl4cv.layers.layer import Layer


class Dropout(Layer):
    """In training, zero each unit with probability ``p`` and divide the others by ``1 − p``.

    So the expectation of every unit stays as it is, and in ``eval`` the layer does nothing. The
    random numbers come from PyTorch's global generator.

    Raises:
        ValueError: if ``p`` is not in [0, 1).

    Source: Srivastava et al. (2014), JMLR 15:1929–1958, with the division in training ("inverted
    dropout").
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}; expected a probability from 0 to below 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, of any shape, with units dropped."""
        self._saved = 1.0
        if self.training:
            self._saved = (torch.rand_like(x) >= self.p).to(x.dtype) / (1 - self.p)
        return x * self._saved

    def backward(self, dy: Tensor) -> Tensor:
        """Multiply by the mask of the forward pass."""
        return dy * self._pop_saved()
