"""The cache of data sets: one file a split, fetched when it is missing and checked at every load.

It deals in NumPy arrays and does without PyTorch, since every build checks whether all is there.
"""

import hashlib
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from dl4cv import storage
from dl4cv.data import formats
from dl4cv.data.registry import DataSet
from dl4cv.fetch import sources
from dl4cv.fetch.sources import BrokenFileError


def folder_of(dataset: DataSet) -> Path:
    """Return the folder of ``dataset`` in the cache."""
    return storage.cache_dir() / "data" / dataset.name


def load(dataset: DataSet, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of one split of ``dataset``, filling the cache first where needed.

    Nothing is printed when the split is there.

    Shape: images (N, C, H, W) as the registry says, labels (N,); both uint8.

    Raises:
        ValueError: if ``dataset`` has no such split.
        FetchError: if the split is not in the cache and no source has it.
        OSError: if the cache cannot be written, for want of space or permission.
    """
    if split not in dataset.splits:
        known = " or ".join(map(repr, dataset.splits))
        raise ValueError(f"split is {split!r}; expected {known}")
    try:
        return _read(dataset, split)
    except (FileNotFoundError, BrokenFileError):
        fetch(dataset)
        return _read(dataset, split)


def fetch(dataset: DataSet) -> bool:
    """Make sure that every split is complete in the cache; return whether one had to be fetched.

    Raises:
        FetchError: if a split is not in the cache and no source has it.
        OSError: if the cache cannot be written, for want of space or permission.
    """

    def verify() -> None:
        for split in dataset.splits:
            _read(dataset, split)

    def keep(files: dict[str, bytes]) -> None:
        for name, split in dataset.splits.items():
            images = formats.decode_idx(files[split.images.name]).reshape(split.shape)
            labels = formats.decode_idx(files[split.labels.name])
            entry = safetensors.numpy.save({"images": images, "labels": labels})
            storage.remove_parts(_path_of(dataset, name))
            storage.write_atomically(_path_of(dataset, name), entry)

    return sources.fetch_first_available(dataset, folder_of(dataset), verify=verify, keep=keep)


def _path_of(dataset: DataSet, split: str) -> Path:
    return folder_of(dataset) / f"{split}.safetensors"


def _read(dataset: DataSet, split: str) -> tuple[np.ndarray, np.ndarray]:
    path, pinned = _path_of(dataset, split), dataset.splits[split]
    try:
        entry = safetensors.numpy.load_file(path)
        images, labels = entry["images"], entry["labels"]
    except (safetensors.SafetensorError, KeyError) as error:
        raise BrokenFileError(f"{path} cannot be read ({error})") from error
    form = (images.dtype, images.shape, labels.dtype, labels.shape)
    if form != (np.uint8, pinned.shape, np.uint8, pinned.shape[:1]):
        raise BrokenFileError(f"{path} holds arrays of the wrong form")
    digest = hashlib.sha256(images.data)
    digest.update(labels.data)
    if digest.hexdigest() != pinned.sha256:
        raise BrokenFileError(f"{path} has SHA-256 {digest.hexdigest()}, expected {pinned.sha256}")
    return images, labels
