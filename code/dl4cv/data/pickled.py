"""MNIST out of a pickle of NumPy arrays, opened without letting it run anything."""

import gzip
import io
import pickle
from typing import Any

import numpy as np

from dl4cv.data import idx


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
    images = [_pixels(images) for images, _ in parts]
    labels = [labels.astype(np.uint8) for _, labels in parts]
    return {
        "train-images-idx3-ubyte": idx.encode(np.concatenate(images[:2])),
        "train-labels-idx1-ubyte": idx.encode(np.concatenate(labels[:2])),
        "t10k-images-idx3-ubyte": idx.encode(images[2]),
        "t10k-labels-idx1-ubyte": idx.encode(labels[2]),
    }


def _pixels(images: np.ndarray) -> np.ndarray:
    return np.round(images * 256).astype(np.uint8).reshape(-1, 28, 28)
