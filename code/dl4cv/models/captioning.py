"""Captioners: a small convolutional network reads an image, an LSTM writes about it.

``LSTMCaptioner`` gets one vector for the whole image (Vinyals et al., 2015, arXiv 1411.4555);
``AttentionCaptioner`` looks at the image's cells again at each word (Xu et al., 2015, arXiv
1502.03044). Both are written step by step by ``decoding``.
"""

import torch
from torch import Tensor, nn

from dl4cv.data.captions import PADDING
from dl4cv.models import attention
from dl4cv.models.blocks import conv_bn_relu

#: Cells along each side of the encoder's grid, for images of 64 × 64 pixels.
GRID = 8


class Encoder(nn.Module):
    """Features of each of 8 × 8 cells of an image, from left to right and top to bottom.

    Args:
        dim: D, features of a cell.

    Shape: (N, 3, 64, 64) in [0, 1] → (N, 64, D).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            conv_bn_relu(3, 32),
            nn.MaxPool2d(2),
            conv_bn_relu(32, 64),
            conv_bn_relu(64, 64),
            nn.MaxPool2d(2),
            conv_bn_relu(64, dim),
            conv_bn_relu(dim, dim),
            nn.MaxPool2d(2),  # (N, D, 8, 8)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the cells' features."""
        return self.stages(images).flatten(2).transpose(1, 2)


class LSTMCaptioner(nn.Module):
    """The image is the LSTM's first state, and that is all it knows of it.

    Args:
        vocab_size: V.
        dim: features of a cell, of a word and of the state.
    """

    def __init__(self, vocab_size: int, dim: int = 128) -> None:
        super().__init__()
        self.encoder = Encoder(dim)
        self.first = nn.Linear(GRID * GRID * dim, dim)
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=PADDING)
        self.cell = nn.LSTMCell(dim, dim)
        self.logits = nn.Linear(dim, vocab_size)

    def start(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the state before the first word: (h, c), each (N, D)."""
        h = self.first(self.encoder(images).flatten(1)).tanh()
        return h, torch.zeros_like(h)

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the logits of the next word and the state after ``tokens``. Shape: (N,)."""
        h, c = self.cell(self.embedding(tokens), state)
        return self.logits(h), (h, c)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits of the word after each one of ``tokens``: teacher forcing.

        Shape: (N, 3, 64, 64), (N, T) → (N, T, V).
        """
        return _unrolled(self, images, tokens)


class AttentionCaptioner(nn.Module):
    """At each word the state attends to the image's cells, by additive attention.

    Args:
        vocab_size: V.
        dim: features of a cell, of a word and of the state.
    """

    def __init__(self, vocab_size: int, dim: int = 128) -> None:
        super().__init__()
        self.encoder = Encoder(dim)
        self.places = nn.Parameter(0.1 * torch.randn(GRID * GRID, dim))
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=PADDING)
        self.attend = attention.AdditiveAttention(dim, dim, dim)
        self.cell = nn.LSTMCell(2 * dim, dim)
        self.logits = nn.Linear(2 * dim, vocab_size)

    def start(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the state before the first word: (h, c, cells, weights).

        Shape: (N, D), (N, D), (N, 64, D), (N, 64).
        """
        cells = self.encoder(images) + self.places
        h = cells.mean(1).tanh()
        return h, torch.zeros_like(h), cells, cells.new_zeros(cells.shape[:2])

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the logits of the next word and the state after ``tokens``. Shape: (N,).

        The last part of the state says where this step looked: (N, 64), each row sums to 1.
        """
        h, c, cells, _ = state
        seen, weights = self.attend(h[:, None], cells)
        seen = seen[:, 0]
        h, c = self.cell(torch.cat([self.embedding(tokens), seen], 1), (h, c))
        return self.logits(torch.cat([h, seen], 1)), (h, c, cells, weights[:, 0])

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits of the word after each one of ``tokens``: teacher forcing.

        Shape: (N, 3, 64, 64), (N, T) → (N, T, V).
        """
        return _unrolled(self, images, tokens)


def _unrolled(model: LSTMCaptioner | AttentionCaptioner, images: Tensor, tokens: Tensor) -> Tensor:
    state = model.start(images)
    logits = []
    for t in range(tokens.shape[1]):
        scores, state = model.step(tokens[:, t], state)
        logits.append(scores)
    return torch.stack(logits, 1)
