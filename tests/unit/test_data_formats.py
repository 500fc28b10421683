"""The IDX format and pickles of arrays."""

import gzip
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from dl4cv.data import formats
from hypothesis import given
from hypothesis import strategies as st

shapes = st.lists(st.integers(0, 5), min_size=1, max_size=4)


@given(shapes, st.integers(0, 2**32 - 1))
def test_idx_files_come_back_as_they_went(shape: list[int], seed: int):
    values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(formats.decode_idx(formats.encode_idx(values)), values)


def test_idx_is_what_torchvision_reads(tmp_path):
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    values = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    (tmp_path / "file").write_bytes(formats.encode_idx(values))
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
        formats.decode_idx(content)


def test_only_bytes_are_encoded():
    with pytest.raises(ValueError, match="int64; expected uint8"):
        formats.encode_idx(np.zeros(3, np.int64))


class Evil:
    """Runs a command when it is unpickled by the usual means."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_cannot_run_anything(tmp_path: Path):
    content = pickle.dumps(Evil(tmp_path / "mark"))
    with pytest.raises(pickle.UnpicklingError, match=r"asks for posix.system; only NumPy arrays"):
        formats.ArrayUnpickler(io.BytesIO(content)).load()
    with pytest.raises(pickle.UnpicklingError, match=r"posix.system"):
        formats.mnist_idx_files(gzip.compress(content))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("value", [eval, np.load, np.memmap, Path("x"), np.random.default_rng])
def test_a_pickle_of_anything_but_arrays_is_refused(value):
    with pytest.raises(pickle.UnpicklingError, match="only NumPy arrays are admitted"):
        formats.ArrayUnpickler(io.BytesIO(pickle.dumps(value))).load()


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_come_out_of_a_pickle_as_they_went_in(protocol: int):
    values = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": [np.arange(3)]}
    content = pickle.dumps(values, protocol=protocol)
    got = formats.ArrayUnpickler(io.BytesIO(content)).load()
    np.testing.assert_array_equal(got["a"], values["a"])
    np.testing.assert_array_equal(got["b"][0], values["b"][0])
