"""An exponential moving average (EMA) of a model's weights."""

import copy

import torch
from torch import nn


class EMA(nn.Module):
    """A model together with the moving average of its weights.

    Called, it runs the model in training mode and the average in evaluation mode. ``update`` moves
    the average after a step of the optimizer: θ̄ ← d θ̄ + (1 − d) θ. In the first updates, d grows
    as (1 + t) / (10 + t), so that the random initial weights are soon forgotten.

    The optimizer is given ``ema.model.parameters()``, and ``training.fit``
    ``after_step=lambda ema: ema.update()``; both copies are in the state dict.

    Args:
        model: what is trained.
        decay: d, the weight of the old average at an update, in [0, 1).

    Raises:
        ValueError: if ``decay`` is out of its range.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992);
        the growing decay is that of TensorFlow's ``ExponentialMovingAverage``.
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
        """Run the model in training mode, the average in evaluation mode."""
        return (self.model if self.training else self.average)(*inputs, **keywords)

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the present weights; buffers are copied."""
        self.updates += 1
        keep = torch.clamp((1 + self.updates) / (10 + self.updates), max=self.decay)
        for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(now, (1 - keep).to(now.dtype))
        for mean, now in zip(self.average.buffers(), self.model.buffers(), strict=True):
            mean.copy_(now)
