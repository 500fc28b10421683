"""The run store: what was trained once on this machine is not trained again.

A run is found by its key, the SHA-256 of everything that determines its result. An entry is a
folder ``runs/<name>/<key>`` with ``weights.safetensors`` (the model's state dict),
``optimizer.safetensors`` and ``run.json`` (history, cost, what the key was made of, checksums).
"""

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dl4cv import runtime, storage
from dl4cv.training import states
from dl4cv.training.history import History

FORMAT = 2

_WEIGHTS, _OPTIMIZER, _RECORD = "weights.safetensors", "optimizer.safetensors", "run.json"


class DamagedError(Exception):
    """A stored file is not what was written; the message names it and how that shows."""


@dataclass(frozen=True)
class Result:
    """What training leaves behind."""

    weights: dict[str, Tensor]
    optimizer: Any
    history: History


def key_of(parts: Mapping[str, str]) -> str:
    """Return the key of a run, given the digest of each thing that determines its result."""
    return storage.sha256(_canonical({"format": FORMAT, **parts}))


def folder(name: str, key: str) -> Path:
    """Return where the run is kept, or would be."""
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
        told = record.pop("checksum")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise DamagedError(f"{_RECORD} cannot be read: {error}") from None
    if told != storage.sha256(_canonical(record)) or record["key"] != key:
        raise DamagedError(f"{_RECORD} does not match its checksum")
    files = {}
    for file, checksum in record["files"].items():
        try:
            files[file] = (entry / file).read_bytes()
        except OSError as error:
            raise DamagedError(f"{file} cannot be read: {error.strerror}") from None
        if storage.sha256(files[file]) != checksum:
            raise DamagedError(f"{file} does not match its checksum")
    return Result(
        weights=states.read_weights(files[_WEIGHTS]),
        optimizer=states.load(files[_OPTIMIZER]),
        history=History.from_json(record["history"], trained_now=False),
    )


def save(
    model: nn.Module, optimizer: Mapping[str, Any], history: History, parts: Mapping[str, str]
) -> None:
    """Keep a finished run; the entry appears whole or not at all, and replaces a damaged one.

    Call it under the lock of the entry alone.
    """
    files = {_WEIGHTS: states.weights(model), _OPTIMIZER: states.dump(optimizer)}
    record: dict[str, Any] = {
        "key": history.key,
        "parts": dict(parts),
        "history": history.to_json(),
        "files": {name: storage.sha256(content) for name, content in files.items()},
    }
    record["checksum"] = storage.sha256(_canonical(record))
    files[_RECORD] = json.dumps(record, indent=1).encode()
    entry = folder(history.name, history.key)
    entry.parent.mkdir(parents=True, exist_ok=True)
    for left in entry.parent.glob(f".{entry.name}.*.making"):
        shutil.rmtree(left, ignore_errors=True)
    making = entry.with_name(f".{entry.name}.{secrets.token_hex(6)}.making")
    making.mkdir()
    try:
        for name, content in files.items():
            with (making / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(entry, ignore_errors=True)
        making.rename(entry)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
