"""From a model that gives the next token's logits to a whole sequence: greedy, sampled, beam.

A model has ``start(images) -> state`` and ``step(tokens, state) -> (logits, state)``, where a state
is a tuple of tensors with one row for each sequence.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from dl4cv.data.captions import END, PADDING, START


class Stepwise(Protocol):
    """What can be decoded."""

    def start(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the state before the first token."""
        ...

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the logits (N, V) after ``tokens`` (N,), and the state."""
        ...


def greedy(model: Stepwise, images: Tensor, length: int) -> Tensor:
    """Return the sequences that take the most probable token at each step.

    Shape: N images → (N, length) int64, from START on, PADDING after END.

    Raises:
        ValueError: if ``length`` is below 2.
    """
    return _written(model, images, length, lambda logits: logits.argmax(1))


def sample(
    model: Stepwise,
    images: Tensor,
    length: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return sequences whose tokens are drawn from softmax(logits / temperature).

    Shape: N images → (N, length) int64, from START on, PADDING after END.

    Raises:
        ValueError: if ``length`` is below 2, or ``temperature`` not above 0.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; expected a finite number above 0")

    def drawn(logits: Tensor) -> Tensor:
        p = (logits / temperature).softmax(1)
        return torch.multinomial(p, 1, generator=generator)[:, 0]

    return _written(model, images, length, drawn)


@torch.no_grad()
def beam(model: Stepwise, images: Tensor, length: int, *, width: int) -> tuple[Tensor, Tensor]:
    """Return the most probable sequences that a search with ``width`` candidates finds.

    Each step extends all candidates of an image by all tokens and keeps the best ``width``.

    Shape: N images → (N, length) int64 as ``greedy``, and their log-probabilities (N,), in nats.

    Raises:
        ValueError: if ``length`` is below 2, or ``width`` below 1.
    """
    _check_length(length)
    if width < 1:
        raise ValueError(f"width is {width}; expected at least 1")
    state = model.start(images)
    n = len(state[0])
    device = state[0].device
    state = tuple(part.repeat_interleave(width, 0) for part in state)
    tokens = torch.full((n, width, 1), START, device=device)
    # All candidates are the same at first: but the first, they do not count.
    total = torch.full((n, width), -math.inf, device=device)
    total[:, 0] = 0
    rows = torch.arange(n, device=device)[:, None]
    for _ in range(length - 1):
        logits, state = model.step(tokens[:, :, -1].flatten(), state)
        gain = logits.log_softmax(1).unflatten(0, (n, width))  # (N, width, V)
        ended = (tokens[:, :, -1] == END) | (tokens[:, :, -1] == PADDING)
        gain[ended] = -math.inf
        gain[..., PADDING] = torch.where(ended, 0.0, -math.inf)
        total, best = (total[..., None] + gain).flatten(1).topk(width, 1)
        parent, token = best // gain.shape[2], best % gain.shape[2]
        tokens = torch.cat([tokens[rows, parent], token[..., None]], 2)
        state = tuple(part[(rows * width + parent).flatten()] for part in state)
    return tokens[:, 0], total[:, 0]


@torch.no_grad()
def _written(
    model: Stepwise, images: Tensor, length: int, choose: Callable[[Tensor], Tensor]
) -> Tensor:
    _check_length(length)
    state = model.start(images)
    tokens = torch.full((len(state[0]), 1), START, device=state[0].device)
    for _ in range(length - 1):
        last = tokens[:, -1]
        logits, state = model.step(last, state)
        ended = (last == END) | (last == PADDING)
        logits[:, PADDING] = -math.inf  # it follows an END, and nothing else
        chosen = choose(logits).masked_fill(ended, PADDING)
        tokens = torch.cat([tokens, chosen[:, None]], 1)
    return tokens


def _check_length(length: int) -> None:
    if length < 2:
        raise ValueError(f"length is {length}; expected at least 2, for START and a token")
