"""Random boxes from a seed: on a coarse grid, where ties are frequent, or anywhere."""

import torch
from hypothesis import strategies as st
from torch import Tensor

#: (how many, how many others, whether on a coarse grid, seed)
SETS = st.tuples(st.integers(0, 12), st.integers(0, 6), st.booleans(), st.integers(0, 9999))


def boxes(count: int, *, coarse: bool, seed: int, size: float = 32, empty: bool = True) -> Tensor:
    """Return boxes within a square image as float64; on a coarse grid, some are empty."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, 2, generator=generator, dtype=torch.float64)
    if coarse:
        corners = (corners * 8).round() / 8
    first, second = (corners * size).sort(1).values.unbind(1)
    if not empty:
        second = torch.where(second > first, second, first + size / 8)
    return torch.cat([first, second], 1)


def scores(count: int, *, coarse: bool, seed: int) -> Tensor:
    """Return scores in [0, 1] as float64; on a coarse grid, many are equal."""
    values = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (values * 4).round() / 4 if coarse else values


def labels(count: int, classes: int, *, seed: int) -> Tensor:
    """Return classes from 0."""
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))
