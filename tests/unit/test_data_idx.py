"""The IDX format and bounded unpacking."""

import gzip

import numpy as np
import pytest
from dl4cv.data import idx
from hypothesis import given
from hypothesis import strategies as st

shapes = st.lists(st.integers(0, 5), min_size=1, max_size=4)


@given(shapes, st.integers(0, 2**32 - 1))
def test_idx_files_come_back_as_they_went(shape: list[int], seed: int):
    values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(idx.decode(idx.encode(values)), values)


def test_idx_is_what_torchvision_reads(tmp_path):
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    values = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    (tmp_path / "file").write_bytes(idx.encode(values))
    read = read_sn3_pascalvincent_tensor(str(tmp_path / "file"))
    np.testing.assert_array_equal(read.numpy(), values)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "starts with"),
        (b"\x00\x00\x09\x01\x00\x00\x00\x01a", "starts with"),
        (b"\x00\x00\x08\x02\x00\x00\x00\x01", "within its header"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03ab", "expected 11"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03abcd", "expected 11"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "expected"),
    ],
)
def test_what_is_no_idx_file_is_refused(content: bytes, why: str):
    with pytest.raises(ValueError, match=why):
        idx.decode(content)


def test_only_bytes_are_encoded():
    with pytest.raises(ValueError, match="int64; expected uint8"):
        idx.encode(np.zeros(3, np.int64))


def test_gunzip_gives_exactly_what_was_announced():
    assert idx.gunzip(gzip.compress(b"12345"), size=5) == b"12345"
    with pytest.raises(ValueError, match="holds more bytes; expected 4"):
        idx.gunzip(gzip.compress(b"12345"), size=4)
    with pytest.raises(ValueError, match="holds 5 bytes; expected 6"):
        idx.gunzip(gzip.compress(b"12345"), size=6)


def test_a_bomb_does_not_unfold(monkeypatch):
    asked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, size=-1: (asked.append(size), read(self, size))[1]
    )
    with pytest.raises(ValueError, match="more"):
        idx.gunzip(gzip.compress(bytes(50_000_000)), size=1000)
    assert asked == [1001]


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-9], lambda b: b"x" + b, lambda b: b[:12] + b"zzzz"]
)
def test_a_broken_gzip_file_is_refused(spoil):
    packed = gzip.compress(bytes(range(256)) * 9)
    with pytest.raises(ValueError, match="not a whole gzip file"):
        idx.gunzip(spoil(packed), size=2304)
