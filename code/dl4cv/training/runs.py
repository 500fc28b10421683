"""The run store: what was trained once on this machine is not trained again.

A run is found by its key, the SHA-256 of everything that determines its result. An entry is a
folder ``runs/<name>/<key>`` with ``weights.safetensors`` (the model's state dict),
``optimizer.pt``, ``snapshots.pt`` and ``run.json`` (history, cost, what the key was made of,
checksums). Nothing in it is executed when it is loaded.
"""

import io
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from dl4cv import runtime, storage
from dl4cv.training.history import History

FORMAT = 3

_RECORD, _WEIGHTS = "run.json", "weights.safetensors"
_OPTIMIZER, _SNAPSHOTS = "optimizer.pt", "snapshots.pt"


class DamagedError(Exception):
    """A stored file is not what was written; the message names it and how that shows."""


@dataclass(frozen=True)
class Result:
    """What training leaves behind."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    history: History


def key_of(ingredients: Mapping[str, str]) -> str:
    """Return the key of a run, given the digest of each thing that determines its result."""
    return storage.sha256(_canonical({"format": FORMAT, **ingredients}))


def folder(name: str, key: str) -> Path:
    """Return where the run is stored, or would be."""
    return runtime.cache_dir() / "runs" / name / key


def find(name: str, key: str) -> Result | None:
    """Return the stored run, or None if there is none.

    Raises:
        DamagedError: if there is one, but a file is missing or is not what was written.
    """
    entry = folder(name, key)
    if not entry.is_dir():
        return None
    try:
        record = json.loads((entry / _RECORD).read_bytes())
        recorded = record.pop("checksum")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise DamagedError(f"{_RECORD} cannot be read: {error}") from None
    if recorded != storage.sha256(_canonical(record)) or record["key"] != key:
        raise DamagedError(f"{_RECORD} does not match its checksum")
    files = {}
    for file, checksum in record["files"].items():
        try:
            files[file] = (entry / file).read_bytes()
        except OSError as error:
            raise DamagedError(f"{file} cannot be read: {error.strerror}") from None
        if storage.sha256(files[file]) != checksum:
            raise DamagedError(f"{file} does not match its checksum")
    snapshots = load_state(files[_SNAPSHOTS])
    return Result(
        weights=safetensors.load(files[_WEIGHTS]),
        optimizer=load_state(files[_OPTIMIZER]),
        history=History.from_json(record["history"], snapshots, trained_now=False),
    )


def save(
    model: nn.Module, optimizer: Any, history: History, ingredients: Mapping[str, str]
) -> None:
    """Store a finished run; the entry appears whole or not at all, and replaces a damaged one.

    Call it under the lock of the entry alone.
    """
    # Copies, since safetensors refuses tensors that share memory.
    weights = {name: tensor.to("cpu", copy=True) for name, tensor in model.state_dict().items()}
    files = {
        _WEIGHTS: safetensors.save({name: w.contiguous() for name, w in weights.items()}),
        _OPTIMIZER: dump_state(optimizer.state_dict()),
        _SNAPSHOTS: dump_state(history.snapshots),
    }
    record: dict[str, Any] = {
        "key": history.key,
        "ingredients": dict(ingredients),
        "history": history.to_json(),
        "files": {name: storage.sha256(content) for name, content in files.items()},
    }
    record["checksum"] = storage.sha256(_canonical(record))
    files[_RECORD] = json.dumps(record, indent=1).encode()
    entry = folder(history.name, history.key)
    entry.parent.mkdir(parents=True, exist_ok=True)
    for left in entry.parent.glob(f".{entry.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    tmp = entry.with_name(f".{entry.name}.{secrets.token_hex(6)}.tmp")
    tmp.mkdir()
    try:
        for name, content in files.items():
            with (tmp / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(entry, ignore_errors=True)
        tmp.rename(entry)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def dump_state(state: Any) -> bytes:
    """Return a state dict (tensors and plain values, nested) as bytes; ``load_state`` reads it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def load_state(content: bytes) -> Any:
    """Return what ``dump_state`` wrote, its tensors on the CPU; no code is executed."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
