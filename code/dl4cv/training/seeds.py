"""Seeds for each step, derived from the run's; the caller's random state is restored."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(*numbers: int) -> int:
    """Return a seed in [0, 2³²) that depends on each of ``numbers``, at least 0, and their order.

    Near numbers give far seeds.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_all(value: int, device: torch.device) -> None:
    """Seed Python, NumPy, and PyTorch on the CPU and on ``device``.

    Cheap enough for every step: ``torch.manual_seed`` records a stack trace where CUDA was not
    started, which costs more than the step of a small model.
    """
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 - libraries that draw from NumPy's global state
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore the random states of Python, NumPy and PyTorch after the block."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002
