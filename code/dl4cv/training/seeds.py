"""Randomness that remembers nothing: a seed for each step, and none of it left behind."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_MASK = 2**64 - 1


def mix(*numbers: int) -> int:
    """Return a seed in [0, 2³²) that depends on every one of ``numbers`` and on their order.

    Near numbers give far seeds. Source: splitmix64, Steele, Lea and Flood (2014).
    """
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 32


def plant(value: int, on: torch.device) -> None:
    """Seed Python, NumPy, and PyTorch on the CPU and on the device ``on``.

    Cheap enough for every step: ``torch.manual_seed`` records a stack trace where CUDA was not
    started, which costs more than the step of a small model.
    """
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 - libraries that draw from NumPy's global state
    torch.default_generator.manual_seed(value)
    if on.type == "cuda":
        torch.cuda.manual_seed(value)
    elif on.type == "mps":
        torch.mps.manual_seed(value)


@contextmanager
def kept() -> Iterator[None]:
    """Leave the random states of Python, NumPy and PyTorch as they were before the block."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002
