"""Check a gradient derived by hand against one measured by moving each number a little."""

import math
from collections.abc import Callable

import torch


def numerical_gradient(
    f: Callable[[torch.Tensor], torch.Tensor | float], x: torch.Tensor, *, step: float = 1e-5
) -> torch.Tensor:
    """Return the gradient of ``f`` at ``x`` by central differences, one entry at a time.

    The error is about step² times the third derivative, plus what rounding leaves: 1e-16 / step
    times the value of ``f``. So take float64, and stay away from kinks by more than ``step``.

    Shape: x of any shape → the same shape; ``f`` returns one number.
    Source: (f(x + h) − f(x − h)) / 2h.

    Raises:
        ValueError: if ``x`` is not float64, ``step`` is not a finite number above 0, or ``f``
            returns no number.
    """
    if x.dtype != torch.float64:
        raise ValueError(f"x is {x.dtype}; expected torch.float64, since float32 rounds too much")
    if not 0 < step < math.inf:
        raise ValueError(f"step is {step}; expected a finite number above 0")
    moved = x.detach().clone(memory_format=torch.contiguous_format)
    entries = moved.view(-1)  # the same memory, as one row
    gradient = torch.zeros_like(entries)
    for i in range(len(entries)):
        here = float(entries[i])
        entries[i] = here + step
        above = _number(f(moved))
        entries[i] = here - step
        below = _number(f(moved))
        entries[i] = here
        gradient[i] = (above - below) / (2 * step)
    return gradient.view(x.shape)


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest difference of ``a`` and ``b``, as a fraction of the largest entry of both.

    0 if both are zero throughout. NaN if either holds a NaN, which is below no bound. Computed in
    float64, whatever the types of ``a`` and ``b``.

    Shape: a and b of one shape.

    Raises:
        ValueError: if the shapes differ or there are no entries.
    """
    if a.shape != b.shape or a.numel() == 0:
        raise ValueError(
            f"a has shape {tuple(a.shape)} and b {tuple(b.shape)}; "
            "expected one shape with at least one entry"
        )
    a, b = a.double(), b.double()
    largest = float(torch.maximum(a.abs().max(), b.abs().max()))
    difference = float((a - b).abs().max())
    return difference if largest == 0 else difference / largest


def _number(value: torch.Tensor | float) -> float:
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise ValueError(
            f"f returned a tensor of shape {tuple(value.shape)}; expected a single number"
        )
    return float(value)
