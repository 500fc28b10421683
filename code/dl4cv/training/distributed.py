"""Data parallelism: the same ``fit`` in every process that ``torchrun`` starts.

Each process takes its slice of every batch; the gradients are averaged, so all take the step that
one process would have taken with the whole batch. The first process alone writes and prints.
"""

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them.

    Attributes:
        rank: which one this is, from 0.
        world: how many there are.
    """

    rank: int
    world: int

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def in_first(self, function: Callable[[], T]) -> T:
        """Return in every process what ``function`` returns in the first, which alone runs it."""
        box: list[Any] = [function() if self.leads else None]
        if self.world > 1:
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return ``model`` so that ``backward`` averages the gradients over the processes."""
        return DistributedDataParallel(model) if self.world > 1 else model

    def slice(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return this process's part of a batch.

        Raises:
            ValueError: if the batch cannot be divided evenly.
        """
        if self.world == 1:
            return batch
        if any(len(tensor) % self.world for tensor in batch):
            raise ValueError(
                f"a batch has {len(batch[0])} examples; expected a multiple of {self.world}, the "
                "number of processes that divide it"
            )
        return tuple(tensor.chunk(self.world)[self.rank] for tensor in batch)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a detached scalar over the processes."""
        if self.world > 1:
            value = value.clone()
            distributed.all_reduce(value)
            value /= self.world
        return value

    def copy_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers, such as the averages of batch norm."""
        if self.world > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, src=0)


def join() -> Processes:
    """Meet the processes that ``torchrun`` started; without it there is one, and nothing to do."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(rank=0, world=1)
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Processes(distributed.get_rank(), distributed.get_world_size())
