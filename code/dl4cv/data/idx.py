"""The IDX format of MNIST's files: a magic number, the sizes, then one byte a value.

The magic number is 0, 0, 8 (unsigned bytes) and the number of dimensions; each size is a big-endian
32-bit integer. Source: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import io
import struct
import zlib

import numpy as np

UNSIGNED_BYTE = 8


def encode(values: np.ndarray) -> bytes:
    """Return ``values`` (uint8, any shape) as the bytes of an IDX file."""
    if values.dtype != np.uint8:
        raise ValueError(f"values has dtype {values.dtype}; expected uint8")
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, UNSIGNED_BYTE, values.ndim, *values.shape)
    return header + values.tobytes()


def decode(content: bytes) -> np.ndarray:
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


def gunzip(packed: bytes, *, size: int) -> bytes:
    """Return the ``size`` bytes that ``packed`` unpacks to, never holding more than one beyond.

    Raises:
        ValueError: if ``packed`` is no whole gzip file or unpacks to another number of bytes.
    """
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"packed is not a whole gzip file: {error}") from error
    if len(content) != size:
        found = "more" if len(content) > size else str(len(content))
        raise ValueError(f"packed holds {found} bytes; expected {size}")
    return content
