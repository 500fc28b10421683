"""An exponential moving average of a model's weights: a calmer copy of a model that trains."""

import copy

import torch
from torch import nn


class EMA(nn.Module):
    """A model that keeps, beside what trains, the moving average of its weights.

    Called, it runs the model in training mode and the average in evaluation mode. ``update`` moves
    the average after a step of the optimizer: θ̄ ← d θ̄ + (1 − d) θ. In the first updates, d grows
    as (1 + t) / (10 + t), so that the random weights of the start are soon forgotten.

    The optimizer is given ``average.model.parameters()``; both copies are in the state dict.

    Args:
        model: what trains.
        decay: d, the share that the average keeps at an update, in [0, 1).

    Raises:
        ValueError: if ``decay`` is out of its range.

    Source: Polyak and Juditsky (1992); the growing decay is that of Tensorflow's.
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; expected at least 0 and below 1")
        self.model = model
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates: torch.Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, *inputs, **keywords):
        """Run the copy that fits the mode."""
        return (self.model if self.training else self.average)(*inputs, **keywords)

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights as they are now; copy what is no parameter."""
        self.updates += 1
        keep = torch.clamp((1 + self.updates) / (10 + self.updates), max=self.decay)
        for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(now, (1 - keep).to(now.dtype))
        for mean, now in zip(self.average.buffers(), self.model.buffers(), strict=True):
            mean.copy_(now)
