"""Images with one label each, held in memory as bytes."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from dl4cv import runtime
from dl4cv.data import cache, registry
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
                f"expected torch.int64 of shape ({len(self.images)},), one label per image"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return (
            f"LabelledImages(images {tuple(self.images.shape)}, {len(self.class_names)} classes, "
            f"sha256 {self.sha256[:12]}…)"
        )

    def __getitem__(self, index: slice | torch.Tensor) -> "LabelledImages":
        """Return the images and labels at ``index``, a slice, or a tensor of integers or booleans.

        Negative integers count from the end. A slice shares memory with the whole; a tensor copies.

        Raises:
            TypeError: if ``index`` is anything else, a single integer included.
            IndexError: if an integer is out of range, or there is not one boolean per image.
            ValueError: if the slice goes backwards.
        """
        positions = _positions(index, len(self))
        digest = hashlib.sha256(bytes.fromhex(self.sha256))
        digest.update(positions.numpy().tobytes())
        chosen = index if isinstance(index, slice) else positions.to(self.images.device)
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            sha256=digest.hexdigest(),
        )

    def sample(self, n: int, seed: int) -> "LabelledImages":
        """Return ``n`` of the images at random, without replacement; the seed decides which.

        Raises:
            ValueError: if ``n`` is below 1 or above the number of images.
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"n is {n}; expected 1 to {len(self)}, the number of images")
        return self[torch.randperm(len(self), generator=runtime.generator(seed))[:n]]

    def floats(self) -> torch.Tensor:
        """Return the images as float32 in [0, 1]. Shape: (N, C, H, W)."""
        return self.images.float().div_(255)

    def flat(self) -> torch.Tensor:
        """Return the images as rows of float32 in [0, 1]. Shape: (N, C · H · W)."""
        return self.floats().flatten(1)

    def to(self, device: torch.device | str) -> "LabelledImages":
        """Return the same images and labels on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True)
class Loader:
    """A data set that can be loaded: ``data.mnist.load("train")``."""

    dataset: DataSet

    def load(self, split: str) -> LabelledImages:
        """Return one split, fetched at first use and checked at every use.

        Args:
            split: ``"train"`` or ``"test"``.

        Raises:
            ValueError: if there is no such split.
            FetchError: if the split is not in the cache and no source has it.
        """
        images, labels = cache.load(self.dataset, split)
        return LabelledImages(
            images=torch.from_numpy(images),
            labels=torch.from_numpy(labels).long(),
            class_names=self.dataset.class_names,
            sha256=self.dataset.splits[split].sha256,
        )


#: 60,000 + 10,000 handwritten digits, (N, 1, 28, 28), ink 255 on paper 0.
mnist = Loader(registry.MNIST)
#: 60,000 + 10,000 articles of clothing, (N, 1, 28, 28), bright on background 0.
fashion = Loader(registry.FASHION)


def _positions(index: slice | torch.Tensor, count: int) -> torch.Tensor:
    """Return which of ``count`` items ``index`` picks, as int64 on the CPU."""
    if isinstance(index, slice):
        return torch.from_numpy(np.arange(count)[index])
    if not isinstance(index, torch.Tensor) or index.ndim != 1 or index.is_floating_point():
        raise TypeError(
            f"index is {index!r}; expected a slice such as [:100] or a tensor of integers or "
            "booleans with one dimension, since a selection is again a set of images"
        )
    if index.dtype == torch.bool:
        if len(index) != count:
            raise IndexError(f"index has {len(index)} booleans; expected {count}, one per image")
        return index.nonzero()[:, 0].cpu()
    positions = index.long().cpu()
    if len(positions) and not -count <= int(positions.min()) <= int(positions.max()) < count:
        span = f"{int(positions.min())} to {int(positions.max())}"
        raise IndexError(f"index goes from {span}; expected {-count} to {count - 1}")
    return torch.where(positions < 0, positions + count, positions)
