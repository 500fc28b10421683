"""Atomic writes, leftovers, locks and the cache folder."""

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dl4cv import storage


def test_checksums_are_those_of_hashlib(tmp_path: Path):
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert storage.sha256(content) == storage.sha256_of_file(tmp_path / "file") == expected


def test_a_write_replaces_the_whole_file(tmp_path: Path):
    target = tmp_path / "new" / "folder" / "file"
    storage.write_atomically(target, b"long old content")
    storage.write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["file"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with storage.atomic_path(target) as temporary:
        temporary.write_bytes(b"half of the n")
        assert target.read_bytes() == b"old"
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(error), storage.atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@contextmanager
def room_for_4_kib() -> Iterator[None]:
    """Let the kernel refuse what passes 4 KiB, as it does on a full disk.

    The limit holds for every file of the process, so nothing but the write under test may run in
    it: a test runner whose report goes to a longer file could not write its next line.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_the_kernel_refuses_leaves_nothing(tmp_path: Path):
    with pytest.raises(OSError, match="too large"), room_for_4_kib():
        storage.write_atomically(tmp_path / "file", bytes(100_000))
    assert os.listdir(tmp_path) == []


def test_a_disk_that_is_found_full_at_last_leaves_nothing(tmp_path: Path, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        storage.write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch):
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda a, b: (events.append("rename"), replace(a, b))[1])
    storage.write_atomically(tmp_path / "file", b"content")
    assert events == ["fsync", "rename"]


def test_files_are_readable_as_the_umask_allows(tmp_path: Path):
    before = os.umask(0o022)
    try:
        storage.write_atomically(tmp_path / "file", b"for all")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_leftovers_of_one_file_are_removed_and_only_those(tmp_path: Path):
    keep = {"train", ".train.lock", ".test.1a2b.part", "train.part"}
    for name in [*keep, ".train.1a2b.part", ".train.3c4d.part"]:
        (tmp_path / name).touch()
    storage.remove_parts(tmp_path / "train")
    assert set(os.listdir(tmp_path)) == keep


def test_parts_are_named_so_that_they_are_found_again(tmp_path: Path):
    with storage.atomic_path(tmp_path / "file") as temporary:
        storage.remove_parts(tmp_path / "file")
        assert not temporary.exists()
        temporary.touch()


def test_one_holder_at_a_time_and_the_waiting_one_says_so(tmp_path: Path):
    order: list[str] = []

    def second() -> None:
        with storage.locked(tmp_path / "thing", waiting=lambda: told.set()):
            order.append("second")

    told = threading.Event()
    other = threading.Thread(target=second)
    with storage.locked(tmp_path / "thing", waiting=lambda: order.append("never")):
        other.start()
        assert told.wait(10)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]


def test_a_lock_is_let_go_after_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="inside"), storage.locked(tmp_path / "thing"):
        raise ValueError("inside")
    with storage.locked(tmp_path / "thing", waiting=lambda: pytest.fail("still held")):
        pass


def lock(target: Path) -> None:
    with storage.locked(target):
        pass


def write(target: Path) -> None:
    storage.write_atomically(target, b"")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
@pytest.mark.parametrize("touch", [lock, write])
def test_a_cache_without_permission_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch, number, touch
):
    def refuse(*arguments, **keywords):
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(storage.CacheError, match=r"cache cannot be written .* DL4CV_CACHE"):
        touch(tmp_path / "cache" / "runs" / "a")
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        touch(tmp_path / "elsewhere")
    assert not isinstance(caught.value, storage.CacheError)


@pytest.mark.parametrize("place", ["file", "file/below"])
@pytest.mark.parametrize("touch", [lock, write])
def test_a_file_where_the_cache_should_be_is_named(tmp_path: Path, monkeypatch, place, touch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path / place))
    with pytest.raises(storage.CacheError, match=f"cache folder {tmp_path / place} cannot"):
        touch(storage.cache_dir() / "data" / "x")


def test_the_cache_folder_can_be_moved(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path))
    assert storage.cache_dir() == tmp_path
    monkeypatch.setenv("DL4CV_CACHE", "~/somewhere")
    assert storage.cache_dir() == Path.home() / "somewhere"
    monkeypatch.delenv("DL4CV_CACHE")
    assert storage.cache_dir().name == "dl4cv"
