"""What a run's key is made of: everything that determines its result, and nothing else."""

import platform
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dl4cv import provenance, runtime


def parts_of(
    *, model: nn.Module, optimizer: Any, settings: Mapping[str, Any], processes: int, **given: Any
) -> dict[str, str]:
    """Return the digest of each thing that determines the result of a run, by its name.

    Args:
        model: with its initial weights.
        optimizer: with its hyperparameters and its state.
        settings: plain values.
        processes: how many processes train together.
        **given: the functions and objects that ``fit`` was given.

    Raises:
        TypeError: if one uses something whose content cannot be told.
    """
    walk = provenance.Walk()
    parts = {"model": walk.digest(model, "model"), "optimizer": walk.digest(optimizer, "optimizer")}
    parts |= {name: walk.digest(value, name) for name, value in given.items()}
    parts |= {name: repr(value) for name, value in settings.items()}
    on = runtime.device()
    return parts | {
        "code": walk.digest(provenance.running(["dl4cv.training.fit"])),
        "torch": torch.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "device": torch.cuda.get_device_name(on) if on.type == "cuda" else on.type,
        "threads": str(torch.get_num_threads()),
        "bf16": str(runtime.has_fast_bf16(on)),
        "processes": str(processes),
    }
