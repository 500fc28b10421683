"""The cache folder, and files that are whole or absent: atomic writes, checksums and locks."""

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs


def cache_dir() -> Path:
    """Return the per-user folder of data and trained models; ``DL4CV_CACHE`` moves it."""
    moved = os.environ.get("DL4CV_CACHE")
    return Path(moved).expanduser() if moved else Path(platformdirs.user_cache_dir("dl4cv"))


class CacheError(OSError):
    """The cache folder cannot be written; the message names it and how to move it."""


@contextmanager
def _cache_errors(target: Path) -> Iterator[None]:
    """Turn an error for want of permission into one that a reader can act on."""
    refused = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
    try:
        yield
    except OSError as error:
        cache = cache_dir()
        if error.errno not in refused or not target.is_relative_to(cache):
            raise
        raise CacheError(
            f"the cache folder {cache} cannot be written ({error.strerror}: {error.filename}); "
            "set the environment variable DL4CV_CACHE to a folder that can"
        ) from error


def sha256(content: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of ``content`` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of the file at ``path`` as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` and rename it to ``target`` if the block succeeds.

    The file reaches the disk before the rename, so a reader sees the old file or the whole new one.
    If the block raises (a full disk, an interrupt), the temporary file goes and ``target`` stays.
    A process killed outright leaves its temporary file, ``.NAME.*.part``, to the next
    :func:`remove_parts`.

    Raises:
        CacheError: if ``target`` lies in the cache, and that cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    with _cache_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not by tempfile, whose files nobody else may read: caches can be shared.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(target: Path, content: bytes) -> None:
    """Write ``content`` to ``target``: afterwards the file is whole, or as it was before."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def remove_parts(target: Path) -> None:
    """Remove what killed processes left of writing ``target``; call it under its lock alone."""
    for part in target.parent.glob(f".{target.name}.*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def locked(target: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of ``target`` so that one process at a time makes it; others wait.

    ``waiting`` is called once if another process holds the lock. A process that dies lets it go.

    Raises:
        CacheError: if ``target`` lies in the cache, and that cannot be written.
    """
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    try:
        with _cache_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
    except filelock.Timeout:
        if waiting is not None:
            waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
