"""Elementwise nonlinear functions: the gradient is dy · f′(x)."""

import math

import torch
from torch import Tensor

from dl4cv.layers.layer import Layer


class ReLU(Layer):
    """``max(0, x)``. At 0, where it has a kink, its slope is taken to be 0.

    Source: Nair and Hinton (2010).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` where it is above 0, else 0."""
        self._saved = x > 0
        return x.clamp(min=0)

    def backward(self, dy: Tensor) -> Tensor:
        """Let the gradient through where ``x`` was above 0."""
        return dy * self._pop_saved()


class LeakyReLU(Layer):
    """``x`` above 0, and ``negative_slope · x`` below.

    Raises:
        ValueError: if ``x`` is not of floats.

    Source: Maas, Hannun and Ng (2013).
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, bent at 0."""
        if not x.is_floating_point():
            raise ValueError(f"x is {x.dtype}; expected floats, since a slope is a fraction")
        self._saved = torch.ones_like(x).masked_fill(x <= 0, self.negative_slope)
        return x * self._saved

    def backward(self, dy: Tensor) -> Tensor:
        """Multiply by the slope on the side where ``x`` was."""
        return dy * self._pop_saved()


class Sigmoid(Layer):
    """``1 / (1 + e⁻ˣ)``, from 0 to 1; its slope is y (1 − y), at most ¼."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the logistic function of ``x``."""
        self._saved = torch.sigmoid(x)
        return self._saved

    def backward(self, dy: Tensor) -> Tensor:
        """Multiply by y (1 − y)."""
        y = self._pop_saved()
        return dy * y * (1 - y)


class Tanh(Layer):
    """The hyperbolic tangent, from −1 to 1; its slope is 1 − y²."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the hyperbolic tangent of ``x``."""
        self._saved = torch.tanh(x)
        return self._saved

    def backward(self, dy: Tensor) -> Tensor:
        """Multiply by 1 − y²."""
        y = self._pop_saved()
        return dy * (1 - y * y)


class GELU(Layer):
    """``x Φ(x)``, with Φ the distribution function of the standard normal.

    Source: Hendrycks and Gimpel (2016), arXiv 1606.08415, without their approximation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` times the probability that a standard normal number is below ``x``."""
        below = (1 + torch.erf(x / math.sqrt(2))) / 2  # Φ(x)
        self._saved = x, below
        return x * below

    def backward(self, dy: Tensor) -> Tensor:
        """Multiply by Φ(x) + x φ(x), with φ = Φ′ the normal density."""
        x, below = self._pop_saved()
        density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        return dy * (below + x * density)
