"""Batches from data in memory: which examples a step sees is a function of the step alone."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from dl4cv import runtime
from dl4cv.training.seeds import derive_seed

Transform = Callable[[Tensor, torch.Generator], Tensor]


class Labelled(Protocol):
    """What has images and labels, such as ``data.LabelledImages``."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...


class Batches:
    """Shuffled batches: ``batches(step)`` gives the same tensors at every call.

    Each epoch goes through all examples in a new order, drawn from the seed and the epoch. What is
    left over at the end of an epoch, less than a batch, is skipped.
    """

    def __init__(
        self,
        data: Labelled | Sequence[Tensor],
        batch_size: int,
        *,
        seed: int = 0,
        transform: Transform | None = None,
    ) -> None:
        """Draw from ``data``, which stays where it is.

        Args:
            data: labelled images, or tensors whose first dimension counts the examples. The first
                tensor, if uint8, is taken for images and comes out as float32 in [0, 1]. Labels,
                (N,) integers of any type behind the first tensor, come out as int64. All else
                keeps its type, half precision too.
            batch_size: examples in a batch.
            seed: what the orders, and the transform's randomness, derive from; at least 0.
            transform: changes the images of a batch, (N, C, H, W) floats, with the randomness of
                the generator it is given, and so reproducibly.

        Raises:
            ValueError: if the tensors differ in length or hold less than one batch, or if a
                setting is out of its range.
        """
        if isinstance(data, Tensor):
            raise ValueError("data is one tensor; expected several, such as (images, labels)")
        is_sequence = isinstance(data, Sequence)
        self.tensors = tuple(data) if is_sequence else (data.images, data.labels)
        self.batch_size, self.seed, self.transform = batch_size, seed, transform
        lengths = {len(tensor) for tensor in self.tensors}
        if len(lengths) != 1:
            raise ValueError(f"data has tensors of lengths {sorted(lengths)}; expected one length")
        if lengths == {0}:
            raise ValueError("data is empty; expected at least one example")
        if seed < 0:
            raise ValueError(f"seed is {seed}; expected at least 0")
        if not 1 <= batch_size <= len(self):
            raise ValueError(
                f"batch_size is {batch_size}; expected 1 to {len(self)}, the number of examples"
            )

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.tensors[0])

    @property
    def per_epoch(self) -> int:
        """The number of batches, and so of steps, in an epoch."""
        return len(self) // self.batch_size

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """Return the batch of ``step``, counted from 0 over all epochs."""
        epoch, place = divmod(step, self.per_epoch)
        order = _order(len(self), self.seed, epoch)
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        first, *rest = (tensor[chosen.to(tensor.device)] for tensor in self.tensors)
        rest = [_as_labels(tensor) for tensor in rest]
        if first.dtype == torch.uint8:
            first = first.float().div_(255)
        if self.transform is not None:
            first = self.transform(first, runtime.generator(derive_seed(self.seed, 2, step)))
        return (first, *rest)


def _as_labels(tensor: Tensor) -> Tensor:
    """Return integers (N,) as int64, the type in which losses take labels; all else as it is."""
    fractional = tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool
    return tensor if tensor.ndim != 1 or fractional else tensor.long()


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(count, generator=runtime.generator(derive_seed(seed, 1, epoch)))
