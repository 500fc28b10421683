"""Checks of what the operators are given, with errors that name the argument."""

import torch
from torch import Tensor


def floats(name: str, values: Tensor, *, last: int | None = None) -> Tensor:
    """Return finite values as float32 or float64.

    Integers and half precision become float32: the area of a box overflows or rounds too much in
    16 bits, and has no gradient in integers.

    Args:
        name: of the argument.
        values: real numbers.
        last: how long the last dimension must be; None for any shape.

    Raises:
        ValueError: if the shape is another, a value is not finite, or is bool or complex.
    """
    if last is not None and (values.ndim == 0 or values.shape[-1] != last):
        raise ValueError(f"{name} has shape {tuple(values.shape)}; expected (…, {last})")
    if values.dtype == torch.bool or values.is_complex():
        raise ValueError(f"{name} is {values.dtype}; expected real numbers")
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    if not (finite := values.isfinite()).all():
        raise ValueError(f"{name} holds {values[~finite][0].item()}; expected finite values")
    return values


def boxes(name: str, values: Tensor, *, ndim: int | None = None) -> Tensor:
    """Return boxes as float32 or float64.

    Args:
        name: of the argument.
        values: (…, 4), (x0, y0, x1, y1).
        ndim: how many dimensions there must be; None for any.

    Raises:
        ValueError: if the shape is another, a coordinate is not finite, or x1 < x0 or y1 < y0.
    """
    values = floats(name, values, last=4)
    if ndim not in (None, values.ndim):
        raise ValueError(f"{name} has shape {tuple(values.shape)}; expected (N, 4)")
    inverted = (values[..., 2:] < values[..., :2]).any(-1)
    if inverted.any():
        raise ValueError(
            f"{name} holds {values[inverted][0].tolist()}; expected (x0, y0, x1, y1) with "
            "x0 ≤ x1 and y0 ≤ y1"
        )
    return values


def scores(values: Tensor, count: int) -> Tensor:
    """Return a finite score for each of ``count`` boxes.

    Raises:
        ValueError: if there are more or fewer, or one is not finite.
    """
    if values.shape != (count,):
        raise ValueError(
            f"scores has shape {tuple(values.shape)}; expected ({count},), one for each box"
        )
    return floats("scores", values)


def labels(values: Tensor, count: int) -> Tensor:
    """Return the class of each of ``count`` boxes as int64.

    Raises:
        ValueError: if there are more or fewer, one is negative, or they are not integers.
    """
    if values.shape != (count,):
        raise ValueError(
            f"labels has shape {tuple(values.shape)}; expected ({count},), one for each box"
        )
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"labels is {values.dtype}; expected integers")
    values = values.long()
    if (values < 0).any():
        raise ValueError(f"labels holds {int(values.min())}; expected classes, from 0")
    return values


def fraction(name: str, value: float) -> None:
    """Refuse a value outside [0, 1].

    Raises:
        ValueError: if it is outside, or not a number.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected a value in [0, 1]")


def positive(name: str, value: float) -> None:
    """Refuse a value of 0 or below.

    Raises:
        ValueError: if it is, or is not a number.
    """
    if not value > 0:
        raise ValueError(f"{name} is {value}; expected a value above 0")
