"""The cache of data sets: checked at every load, safe to share, whole or absent."""

import pickle
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from dl4cv import storage
from dl4cv.data import cache, registry
from dl4cv.fetch.sources import FetchError
from fetching import Server, kept, make, plain, put

pytestmark = pytest.mark.usefixtures("home")


def spoil_cut(content: bytes) -> bytes:
    return content[:-1]


def spoil_add(content: bytes) -> bytes:
    return content + b"x"


def spoil_flip(content: bytes) -> bytes:
    return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]


def spoil_empty(content: bytes) -> bytes:
    return b""


def spoil_names(content: bytes) -> bytes:
    return safetensors.numpy.save({"other": np.zeros(3)})


def spoil_shape(content: bytes) -> bytes:
    entry = safetensors.numpy.load(content)
    return safetensors.numpy.save(entry | {"images": entry["images"].reshape(6, 1, 2, 8)})


@pytest.mark.parametrize(
    "spoil", [spoil_cut, spoil_add, spoil_flip, spoil_empty, spoil_names, spoil_shape]
)
@pytest.mark.parametrize("through", [cache.load, lambda dataset, _: cache.fetch(dataset)])
def test_a_broken_entry_is_fetched_again_and_says_so(
    spoil, through, server: Server, home: Path, capsys
):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    cache.load(dataset, "train")
    file = home / "train.safetensors"
    whole = file.read_bytes()
    file.write_bytes(spoil(whole))
    capsys.readouterr()
    through(dataset, "train")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"Tiny: in the cache, {file} ")
    assert said[0].endswith("; fetching it again")
    assert said[1].startswith("Tiny: fetched from")
    assert file.read_bytes() == whole


def test_a_tampered_entry_is_never_handed_out(server: Server, home: Path, capsys):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    cache.load(dataset, "train")
    file = home / "train.safetensors"
    entry = safetensors.numpy.load_file(file)
    entry["labels"] = 1 - entry["labels"]
    safetensors.numpy.save_file(entry, file)
    server.files.clear()
    with pytest.raises(FetchError, match="404"):
        cache.load(dataset, "train")
    assert f"expected {dataset.splits['train'].sha256}" in capsys.readouterr().out


def test_an_unknown_split_is_named(home: Path):
    with pytest.raises(ValueError, match="split is 'val'; expected 'train' or 'test'"):
        cache.load(make()[0], "val")
    assert not home.exists()


def test_what_a_killed_process_left_is_removed(server: Server, home: Path):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    (home / "partial" / "unpacked").mkdir(parents=True)
    (home / "partial" / "train-images.gz").write_bytes(b"half")
    (home / ".train.safetensors.0a1b2c.part").write_bytes(b"half")
    cache.load(dataset, "train")
    assert kept(home) == {"train.safetensors", "test.safetensors"}


def test_a_full_disk_leaves_no_half_written_file(server: Server, home: Path):
    dataset, _ = make(side=64)
    _, packed = make(side=64)
    dataset = replace(dataset, sources=(put(packed, server),))
    # The four downloads pass, the file of the training set (25 KB and a header) does not.
    limit = max(len(content) for content in packed.values()) + 40
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            cache.load(dataset, "train")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "DL4CV_CACHE moves the cache" in caught.value.__notes__[0]
    assert kept(home) == set()
    cache.load(dataset, "train")


def test_a_disk_that_fills_while_downloading_is_no_fault_of_the_source(server: Server, home: Path):
    dataset, packed = make(side=64)
    dataset = replace(dataset, sources=(put(packed, server, "a/"), put(packed, server, "b/")))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            cache.load(dataset, "train")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not any(path.startswith("/b/") for path in server.asked)
    assert kept(home) == set()


def test_a_cache_that_is_no_folder_is_an_error_that_says_what_to_do(tmp_path: Path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(OSError, match="cache") as caught:
        cache.fetch(make()[0])
    assert "DL4CV_CACHE" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("below", ["file", "file/deep/below"])
def test_a_cache_below_a_file_is_an_error_that_says_what_to_do(tmp_path, monkeypatch, below):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path / below))
    for use in (lambda: cache.load(make()[0], "train"), lambda: cache.fetch(make()[0])):
        with pytest.raises(storage.CacheError, match=r"cannot be written .* DL4CV_CACHE"):
            use()


LOADER = """
import pickle, sys
from dl4cv.data import cache
dataset = pickle.load(sys.stdin.buffer)
print("ready", flush=True)
images, _ = cache.load(dataset, "train")
print("sum", int(images.sum()), flush=True)
"""


def loader(dataset: registry.DataSet) -> subprocess.Popen[str]:
    """Start another process that loads ``dataset`` and says the sum of its pixels."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOADER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(dataset))
    process.stdin.close()
    process.stdin = None
    return process


def test_of_two_processes_one_fetches_and_the_other_waits(server: Server, home: Path):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    server.let_go.clear()
    processes = [loader(dataset), loader(dataset)]
    lines: list[bytes] = []

    def listen(process: subprocess.Popen) -> None:
        for line in process.stdout:
            lines.append(line)
            if b"waiting for another process" in line:
                server.let_go.set()  # so both are under way before the first byte has come

    listeners = [threading.Thread(target=listen, args=(p,)) for p in processes]
    for listener in listeners:
        listener.start()
    for process, listener in zip(processes, listeners, strict=True):
        listener.join(30)
        assert process.wait(30) == 0, process.stderr.read()
        process.stdout.close()
        process.stderr.close()
    total = int(plain(packed, "train-images").sum())
    assert lines.count(b"sum %d\n" % total) == 2
    assert sum(b"fetched from" in line for line in lines) == 1
    assert sum(b"waiting for another process" in line for line in lines) == 1
    assert set(server.asked.values()) == {1}
    assert kept(home) == {"train.safetensors", "test.safetensors"}


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_fetch_keeps_nothing_and_can_be_repeated(
    kill: signal.Signals, server: Server, home: Path
):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    server.let_go.clear()
    process = loader(dataset)
    assert server.half_sent.wait(30)
    process.send_signal(kill)
    process.communicate(timeout=30)
    # Mostly -kill; an interrupt that meets an import ends the process with that import's error.
    assert process.returncode != 0
    if kill == signal.SIGINT:
        assert kept(home) == set()
    server.let_go.set()
    cache.load(dataset, "train")
    assert kept(home) == {"train.safetensors", "test.safetensors"}
