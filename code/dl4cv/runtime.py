"""Where and how a chapter runs: seed, device, precision, time budget and cache folder."""

import os
import random
import sys
from typing import TypeVar

import numpy as np
import torch

from dl4cv.budgets import Budget, budget, current_budget
from dl4cv.storage import cache_dir

__all__ = [
    "Budget",
    "autocast",
    "budget",
    "cache_dir",
    "current_budget",
    "device",
    "generator",
    "has_fast_bf16",
    "image_layout",
    "peak_mib",
    "seed_everything",
    "to_fast_layout",
]

M = TypeVar("M", bound=torch.nn.Module)

# Sums depend on how many threads share them. With one, a result does not depend on how many cores
# a machine has, and chapters that run side by side do not compete.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def generator(seed: int) -> torch.Generator:
    """Return a new random generator on the CPU, seeded with ``seed``; nothing else changes."""
    return torch.Generator().manual_seed(seed)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch.

    The same seed gives the same numbers on one machine with one thread count; PyTorch does not
    promise that across processors.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that draw from NumPy's global state
    torch.manual_seed(seed)


def device() -> torch.device:
    """Return the best device at hand: CUDA, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_fast_bf16(on: torch.device) -> bool:
    """Return whether ``on`` multiplies bfloat16 matrices faster than float32 ones.

    True on GPUs from Ampere on and on CPUs with AMX tiles or AVX-512's dot product of bfloat16
    (convolutions train about twice as fast); elsewhere bfloat16 is emulated and slow.
    """
    if on.type == "cuda":
        return torch.cuda.get_device_capability(on)[0] >= 8
    if on.type != "cpu":
        return False
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def autocast(on: torch.device) -> torch.autocast:
    """Return the mixed-precision context for ``on``: bfloat16 where it pays, else a no-op."""
    return torch.autocast(on.type, dtype=torch.bfloat16, enabled=has_fast_bf16(on))


def image_layout(on: torch.device) -> torch.memory_format:
    """Return how images should lie in memory on ``on`` for convolutions to be fast.

    ``channels_last`` on CPUs, where it saves the library from reordering every map, and on GPUs
    that are fast at bfloat16; as they are elsewhere.
    """
    last = on.type == "cpu" or has_fast_bf16(on)
    return torch.channels_last if last else torch.preserve_format


def to_fast_layout(model: M, on: torch.device) -> M:
    """Move ``model`` to ``on``, the weights of its convolutions laid out as the images will be."""
    model = model.to(on)
    if (layout := image_layout(on)) is torch.channels_last:
        for parameter in model.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=layout)
    return model


def peak_mib(on: torch.device) -> float:
    """Return the most memory that was in use at once, in MiB: the GPU's, else this process's."""
    if on.type == "cuda":
        return torch.cuda.max_memory_allocated(on) / 2**20
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
