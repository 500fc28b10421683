"""What a run's key is made of: everything that determines its result, and nothing else."""

import platform
from collections.abc import Mapping
from typing import Any

import torch

from dl4cv import provenance, runtime


def ingredients(given: Mapping[str, Any], *, processes: int) -> dict[str, str]:
    """Return the digest of each thing that determines the result of a run, by its name.

    Args:
        given: what ``fit`` was given, the model with its initial weights.
        processes: how many train together.

    Raises:
        TypeError: if one uses something that cannot be hashed.
    """
    hasher = provenance.Hasher()
    device = runtime.device()
    return {name: hasher.digest(value, name) for name, value in given.items()} | {
        "code": hasher.digest(provenance.running(["dl4cv.training.fit"])),
        "torch": torch.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": str(torch.get_num_threads()),
        "bf16": str(runtime.has_fast_bf16(device)),
        "processes": str(processes),
    }
