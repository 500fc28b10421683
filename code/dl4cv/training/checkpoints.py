"""Checkpoints of a run under way, so that a killed training goes on where it was."""

from pathlib import Path
from typing import Any

from dl4cv import storage
from dl4cv.training import runs


def path_of(entry: Path) -> Path:
    """Return where the checkpoint of a run lies while it trains: beside its place in the store."""
    return entry.with_name(f"{entry.name}.checkpoint")


def write(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` with its checksum; a kill in the middle leaves the one before."""
    content = runs.dump_state(state)
    storage.write_atomically(path, storage.sha256(content).encode() + content)


def read(path: Path) -> dict[str, Any] | None:
    """Return the state last written, or None if there is no checkpoint.

    Raises:
        runs.DamagedError: if the file is not what was written.
    """
    if not path.exists():
        return None
    content = path.read_bytes()
    checksum, content = content[:64], content[64:]
    if storage.sha256(content).encode() != checksum:
        raise runs.DamagedError("the checkpoint does not match its checksum")
    return runs.load_state(content)


def remove(path: Path) -> None:
    """Remove the checkpoint, and what a killed process may have left half-written beside it."""
    path.unlink(missing_ok=True)
    storage.remove_parts(path)
