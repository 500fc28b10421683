"""The cache of data sets: one checked file a split, fetched when it is missing or broken.

It deals in NumPy arrays and does without PyTorch, since every build asks whether all is there.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from dl4cv import storage
from dl4cv.data import idx, sources
from dl4cv.data.registry import DataSet, Split

Reader = Callable[[Path], dict[str, np.ndarray]]


class BrokenEntryError(Exception):
    """A file in the cache is not what was put there; the message says how it differs."""


def folder_of(dataset: DataSet) -> Path:
    """Return where ``dataset`` lives in the cache."""
    return storage.cache_dir() / "data" / dataset.name


def path_of(dataset: DataSet, split: str) -> Path:
    """Return the cache file of one split."""
    return folder_of(dataset) / f"{split}.safetensors"


def load(
    dataset: DataSet, split: str, *, read: Reader = safetensors.numpy.load_file
) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of one split of ``dataset``, filling the cache first where needed.

    Shape: images (N, C, H, W) as the registry says, labels (N,); both uint8. Nothing is printed
    when the split is there. The checksum of what ``read`` returns is verified at every load.

    Raises:
        ValueError: if ``dataset`` has no such split.
        FetchError: if the split is not in the cache and no source hands it out.
        OSError: if the cache cannot be written, for want of space or permission.
    """
    if split not in dataset.splits:
        known = " or ".join(map(repr, dataset.splits))
        raise ValueError(f"split is {split!r}; expected {known}")
    try:
        return _read(dataset, split, read)
    except FileNotFoundError:
        pass
    except BrokenEntryError as error:
        sources.say(f"{dataset.title}: in the cache, {error}; fetching it again")
    _fill_once(dataset)
    return _read(dataset, split, read)


def fetch(dataset: DataSet) -> bool:
    """Make sure that every split is whole in the cache; return whether one had to be fetched.

    Raises:
        FetchError: if a split is not in the cache and no source hands it out.
        OSError: if the cache cannot be written, for want of space or permission.
    """
    whole = True
    for split in dataset.splits:
        try:
            _read(dataset, split)
        except FileNotFoundError:
            whole = False
        except BrokenEntryError as error:
            sources.say(f"{dataset.title}: in the cache, {error}; fetching it again")
            whole = False
    return False if whole else _fill_once(dataset)


def _read(
    dataset: DataSet, split: str, read: Reader = safetensors.numpy.load_file
) -> tuple[np.ndarray, np.ndarray]:
    path, pinned = path_of(dataset, split), dataset.splits[split]
    try:
        entry = read(path)
        images, labels = entry["images"], entry["labels"]
    except (safetensors.SafetensorError, KeyError) as error:
        raise BrokenEntryError(f"{path} cannot be read ({error})") from error
    form = (images.dtype, images.shape, labels.dtype, labels.shape)
    if form != (np.uint8, pinned.shape, np.uint8, pinned.shape[:1]):
        raise BrokenEntryError(f"{path} holds arrays of the wrong form")
    digest = hashlib.sha256(images.data)
    digest.update(labels.data)
    if digest.hexdigest() != pinned.sha256:
        raise BrokenEntryError(f"{path} has SHA-256 {digest.hexdigest()}, expected {pinned.sha256}")
    return images, labels


def _fill_once(dataset: DataSet) -> bool:
    """Fill the cache unless another process did while this one waited; return whether it did."""

    def keep(files: dict[str, bytes]) -> None:
        for name, split in dataset.splits.items():
            _save(split, files, path_of(dataset, name))

    return sources.fill(
        dataset.title,
        dataset.files,
        dataset.sources,
        folder_of(dataset),
        is_whole=lambda: all(_is_whole(dataset, split) for split in dataset.splits),
        keep=keep,
    )


def _is_whole(dataset: DataSet, split: str) -> bool:
    try:
        _read(dataset, split)
    except (FileNotFoundError, BrokenEntryError):
        return False
    return True


def _save(split: Split, files: dict[str, bytes], target: Path) -> None:
    images = idx.decode(files[split.images.name]).reshape(split.shape)
    labels = idx.decode(files[split.labels.name])
    entry = safetensors.numpy.save({"images": images, "labels": labels})
    storage.remove_parts(target)
    storage.write_atomically(target, entry)
