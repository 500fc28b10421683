"""The two formats in which MNIST and its like are published: IDX files, and a pickle of arrays.

An IDX file is a magic number (0, 0, 8 for unsigned bytes, the number of dimensions), each size as a
big-endian 32-bit integer, then one byte a value.
Source: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import io
import pickle
import struct
from typing import Any

import numpy as np

UNSIGNED_BYTE = 8


def encode_idx(values: np.ndarray) -> bytes:
    """Return ``values`` (uint8, any shape) as the bytes of an IDX file.

    Raises:
        ValueError: if ``values`` has another type.
    """
    if values.dtype != np.uint8:
        raise ValueError(f"values has dtype {values.dtype}; expected uint8")
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, UNSIGNED_BYTE, values.ndim, *values.shape)
    return header + values.tobytes()


def decode_idx(content: bytes) -> np.ndarray:
    """Return the array that the bytes of an IDX file hold, uint8, without copying.

    Raises:
        ValueError: if the header is not that of unsigned bytes or the length does not fit it.
    """
    if len(content) < 4 or content[:3] != bytes((0, 0, UNSIGNED_BYTE)):
        raise ValueError(f"content starts with {content[:4]!r}; expected 0, 0, 8, dimensions")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"content ends within its header of {start} bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    expected = start + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise ValueError(f"content has {len(content)} bytes; expected {expected} for {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can build NumPy arrays, tuples and numbers, and refuses the rest."""

    ALLOWED = frozenset(
        (f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")
    ) | {("numpy", "ndarray"), ("numpy", "dtype")}

    def find_class(self, module: str, name: str) -> Any:
        """Return the class or function ``module.name`` if a NumPy array needs it."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(
                f"the pickle asks for {module}.{name}; only NumPy arrays are admitted"
            )
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def mnist_idx_files(packed: bytes) -> dict[str, bytes]:
    """Return MNIST's four IDX files by name from ``mnist.pkl.gz``.

    The pickle holds three pairs (images, labels) of 50,000, 10,000 and 10,000 digits, pixels as
    float32 multiples of 1/256. The first two parts, joined, are the canonical training set.
    """
    with gzip.open(io.BytesIO(packed)) as file:
        parts = ArrayUnpickler(file, encoding="latin1").load()
    images = [np.round(x * 256).astype(np.uint8).reshape(-1, 28, 28) for x, _ in parts]
    labels = [y.astype(np.uint8) for _, y in parts]
    return {
        "train-images-idx3-ubyte": encode_idx(np.concatenate(images[:2])),
        "train-labels-idx1-ubyte": encode_idx(np.concatenate(labels[:2])),
        "t10k-images-idx3-ubyte": encode_idx(images[2]),
        "t10k-labels-idx1-ubyte": encode_idx(labels[2]),
    }
