"""Sets of pictures that the package composes from a seed, once, and keeps in the cache."""

import hashlib
import inspect
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from dl4cv import storage
from dl4cv.data import clothes

#: Pictures that are composed together, from one seed.
CHUNK = 250

#: A dataclass of tensors with one row for each picture.
Pictures = TypeVar("Pictures")


def load(
    kind: type[Pictures], compose: Callable[[], Pictures], split: str, count: int, seed: int
) -> Pictures:
    """Return what ``compose`` makes, or what an earlier call made of the same code and arguments.

    Args:
        kind: a dataclass of tensors with one row for each picture.
        compose: makes the pictures.
        split: ``"train"`` or ``"test"``.
        count: how many pictures.
        seed: of everything random.

    Raises:
        ValueError: if ``split`` or ``count`` is out of its range.
        OSError: if the cache cannot be written.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; expected 'train' or 'test'")
    if count < 1:
        raise ValueError(f"count is {count}; expected at least 1")
    path = _path(kind, split, count, seed)
    if (found := _read(kind, path)) is not None:
        return found
    with storage.locked(path):
        if (found := _read(kind, path)) is None:
            start = time.perf_counter()
            made = compose()
            storage.remove_parts(path)
            with storage.atomic_path(path) as temporary:
                _save(made, temporary)
            found = _read(kind, path) or made  # from the file, pages that are not used cost nothing
            if sys.stderr.isatty():  # a page must not show whether they were there already
                seconds = time.perf_counter() - start
                report = f"{kind.__name__}: {count:,} for {split} composed in {seconds:.1f} s"
                print(report, file=sys.stderr)
    return found


def in_chunks(
    kind: type[Pictures],
    compose_chunk: Callable[[torch.Generator], Pictures],
    split: str,
    count: int,
    seed: int,
) -> Pictures:
    """Return ``count`` pictures; the first ones of a larger set are those of a smaller one."""
    found: dict[str, Tensor] = {}  # filled in place: nothing is there twice
    with tqdm(desc=kind.__name__, total=count, leave=False, disable=None) as bar:
        for start in range(0, count, CHUNK):
            generator = torch.Generator().manual_seed(_seed(split, seed, start // CHUNK))
            rows = slice(start, min(start + CHUNK, count))
            for name, part in vars(compose_chunk(generator)).items():
                if name not in found:
                    found[name] = part.new_empty(count, *part.shape[1:])
                found[name][rows] = part[: rows.stop - start]
            bar.update(rows.stop - start)
    return kind(**found)


def _seed(split: str, seed: int, chunk: int) -> int:
    digest = hashlib.sha256(f"{split} {seed} {chunk}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def _path(kind: type, split: str, count: int, seed: int) -> Path:
    home = sys.modules[kind.__module__]
    sources = "".join(inspect.getsource(m) for m in (home, clothes, sys.modules[__name__]))
    key = storage.sha256(f"{sources} {split} {count} {seed}".encode())[:16]
    folder = storage.cache_dir() / "data" / home.__name__.rpartition(".")[2]
    return folder / f"{split}-{count}-{seed}-{key}.safetensors"


def _save(pictures: object, path: Path) -> None:
    tensors, mode = dict(vars(pictures)), path.stat().st_mode
    safetensors.torch.save_file(tensors, path, {"sha256": _digest(tensors)})
    path.chmod(mode)  # safetensors leaves a file that nobody else may read


def _read(kind: type[Pictures], path: Path) -> Pictures | None:
    """Return the pictures in the cache, or None if they are missing or broken."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            expected = (file.metadata() or {}).get("sha256")
    except (FileNotFoundError, SafetensorError):
        return None
    if _digest(tensors) != expected:
        print(
            f"{kind.__name__}: {path} does not match its checksum; composing them again", flush=True
        )
        return None
    return kind(**tensors)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
