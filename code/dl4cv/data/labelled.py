"""Images with one label each, held in memory as bytes."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from dl4cv.data import cache
from dl4cv.data.registry import DataSet


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and their classes.

    Shape: ``images`` (N, C, H, W) uint8 in 0 to 255; ``labels`` (N,) int64 in 0 to classes - 1.
    ``sha256`` identifies the content: that of a whole split is the pinned checksum of its bytes,
    that of a selection is derived from the whole's and the indices chosen.
    """

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]
    sha256: str

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(
                f"images is {self.images.dtype} of shape {tuple(self.images.shape)}; "
                "expected torch.uint8 of shape (N, C, H, W)"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels is {self.labels.dtype} of shape {tuple(self.labels.shape)}; "
                f"expected torch.int64 of shape ({len(self.images)},), one label an image"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return (
            f"LabelledImages(images {tuple(self.images.shape)}, {len(self.class_names)} classes, "
            f"sha256 {self.sha256[:12]}…)"
        )

    def __getitem__(self, index: slice | torch.Tensor) -> "LabelledImages":
        """Return the images and labels at ``index``, a slice, or a tensor of indices or booleans.

        A slice shares memory with the whole; a tensor copies.

        Raises:
            TypeError: if ``index`` is anything else, a single number included.
        """
        digest = hashlib.sha256(bytes.fromhex(self.sha256))
        digest.update(_positions(index, len(self)).tobytes())
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            sha256=digest.hexdigest(),
        )

    def floats(self) -> torch.Tensor:
        """Return the images as float32 in [0, 1]. Shape: (N, C, H, W)."""
        return self.images.float().div_(255)

    def flat(self) -> torch.Tensor:
        """Return the images as rows of float32 in [0, 1]. Shape: (N, C · H · W)."""
        return self.floats().flatten(1)

    def to(self, device: torch.device | str) -> "LabelledImages":
        """Return the same images and labels on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def load(dataset: DataSet, split: str) -> LabelledImages:
    """Return one split of ``dataset``, fetched at first use, checked at every use.

    Raises:
        ValueError: if ``dataset`` has no such split.
        FetchError: if the split is not in the cache and no source hands it out.
    """
    images, labels = cache.load(dataset, split, read=_mapped)
    return LabelledImages(
        images=torch.from_numpy(images),
        labels=torch.from_numpy(labels).long(),
        class_names=dataset.class_names,
        sha256=dataset.splits[split].sha256,
    )


def _mapped(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file, mapped into memory instead of copied.

    Who writes to them changes their own pages, not the file.
    """
    return {name: tensor.numpy() for name, tensor in safetensors.torch.load_file(path).items()}


def _positions(index: slice | torch.Tensor, count: int) -> np.ndarray:
    """Return which of ``count`` items ``index`` picks, as int64, however it is written."""
    if isinstance(index, slice):
        return np.arange(*index.indices(count), dtype=np.int64)
    if not isinstance(index, torch.Tensor) or index.ndim != 1 or index.is_floating_point():
        raise TypeError(
            f"index is {index!r}; expected a slice such as [:100] or a tensor of indices or "
            "booleans with one dimension, since a selection is again a set of images"
        )
    if index.dtype == torch.bool:
        return index.nonzero()[:, 0].numpy(force=True)
    return index.long().numpy(force=True) % count
