"""The machine that builds: what a reader needs to place a timing, and how much it runs at once."""

import os
import platform
import re
from functools import cache
from pathlib import Path

MEMINFO = Path("/proc/meminfo")

#: What a chapter may take, with a margin: chapters stay below 1,500 MiB.
MIB_PER_JOB = 2048


def machine() -> dict[str, str | int]:
    """Return the processor's name, the cores that we may use, the system and Python's version."""
    return {
        "processor": processor(),
        "cores": cores(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


@cache
def processor() -> str:
    """Return the processor's name as the system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def device() -> str:
    """Return the accelerator that the system shows, without importing PyTorch, which is slow."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return "cpu"
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    models = [re.search(r"^Model:\s*(.+)$", card.read_text(), re.MULTILINE) for card in cards]
    if models:
        return ", ".join(model[1] for model in models if model)
    if Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists():
        return "cuda"
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return "mps" if apple else "cpu"


def jobs() -> int:
    """Return how many chapters to run side by side, and say so where memory is what limits it.

    ``JOBS`` decides; else one for each core as far as the free memory goes, and one on a GPU.

    Raises:
        ValueError: if ``JOBS`` is no whole number of at least 1.
    """
    wanted = os.environ.get("JOBS")
    if wanted:
        if not wanted.isdecimal() or int(wanted) < 1:
            raise ValueError(f"JOBS is {wanted!r}; expected a whole number, 1 or more")
        return int(wanted)
    if device() != "cpu":
        return 1
    free = _available_mib()
    if free is None or (fit := max(1, free // MIB_PER_JOB)) >= cores():
        return cores()
    print(f"{free:,} MiB of memory are free: {fit} of {cores()} chapters at a time", flush=True)
    return fit


def _available_mib() -> int | None:
    """Return the memory that programs can still get, or None where the system does not show it."""
    text = MEMINFO.read_text() if MEMINFO.exists() else ""
    available = re.search(r"^MemAvailable:\s*(\d+) kB$", text, re.MULTILINE)
    return int(available[1]) // 1024 if available else None
