"""Captioners: an LSTM writes what a convolutional network has seen, word by word.

``Encoder`` turns a picture into the features of 8 × 8 cells. ``LSTMCaptioner`` gets all cells as
one vector, always the same (Vinyals et al., 2015, arXiv 1411.4555); ``AttentionCaptioner`` looks at
the cells again at each word (Xu et al., 2015, arXiv 1502.03044). Both are written out by
``decoding``.
"""

import torch
from torch import Tensor, nn

from dl4cv.data.captions import PADDING, START
from dl4cv.models import attention
from dl4cv.models.blocks import conv_bn_relu

#: Cells along each side of the encoder's grid, for pictures of 64 × 64 pixels.
GRID = 8


class Encoder(nn.Module):
    """Features of each of 8 × 8 cells of a picture, from left to right and top to bottom.

    A pixel of the first layer is a block of 2 × 2 pixels, 12 numbers: a quarter of the work.

    Args:
        dim: D, features of a cell.

    Shape: (N, 3, 64, 64) in [0, 1] → (N, 64, D).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.PixelUnshuffle(2),  # (N, 12, 32, 32)
            conv_bn_relu(12, 32),
            nn.MaxPool2d(2),
            conv_bn_relu(32, 48),
            conv_bn_relu(48, 48),
            nn.MaxPool2d(2),
            conv_bn_relu(48, dim),  # (N, D, 8, 8)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the cells' features."""
        return self.stages(images).flatten(2).transpose(1, 2)


class PictureVector(nn.Module):
    """All cells of a picture as one vector: each is reduced to 32 features, then they are joined.

    Args:
        cell_dim: D, features of a cell.
        dim: H, features of the vector.

    Shape: (N, 64, D) → (N, H) in (−1, 1).
    """

    def __init__(self, cell_dim: int, dim: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(cell_dim, 32)
        self.join = nn.Linear(GRID * GRID * 32, dim)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the vectors."""
        return self.join(self.reduce(cells).flatten(1)).tanh()


class LSTMCaptioner(nn.Module):
    """The picture is one vector: the LSTM's first state, and a part of its input at each word.

    Args:
        vocab_size: V.
        cell_dim: D, features of a cell.
        dim: H, features of a word, of the picture and of the state.

    Source: Vinyals et al. (2015), arXiv 1411.4555, who give the vector once; at each word it does
    better here.
    """

    def __init__(self, vocab_size: int, cell_dim: int = 128, dim: int = 128) -> None:
        super().__init__()
        self.picture = PictureVector(cell_dim, dim)
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=PADDING)
        self.cell = nn.LSTMCell(2 * dim, dim)
        self.logits = nn.Linear(dim, vocab_size)

    def start(self, cells: Tensor) -> tuple[Tensor, ...]:
        """Return the state before the first word: (h, c, picture).

        Shape: (N, 64, D) → (N, H) each.
        """
        picture = self.picture(cells)
        return picture, torch.zeros_like(picture), picture

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the logits of the next word and the state after ``tokens``. Shape: (N,)."""
        h, c, picture = state
        h, c = self.cell(torch.cat([self.embedding(tokens), picture], 1), (h, c))
        return self.logits(h), (h, c, picture)

    def forward(self, cells: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits of the word after each one of ``tokens``: teacher forcing.

        Shape: (N, 64, D), (N, T) → (N, T, V).
        """
        return _unrolled(self, cells, tokens)


class AttentionCaptioner(nn.Module):
    """After each word, the state attends to the cells, and what it finds helps with the next one.

    The state has read the last word when it looks: having written "red", it can look for something
    red. What it found goes into the next step as well, so that it knows what was described. The
    first state is the picture's vector, and before the first word it looks a few times, to plan
    with which item to begin.

    Args:
        vocab_size: V.
        cell_dim: D, features of a cell.
        dim: H, features of a word and of the state.
        key_dim: d, features of queries, keys and values.
        glances: looks before the first word.

    Source: Luong, Pham and Manning (2015), arXiv 1508.04025, sections 3.1 and 3.3.
    """

    def __init__(
        self,
        vocab_size: int,
        cell_dim: int = 128,
        dim: int = 128,
        key_dim: int = 64,
        glances: int = 2,
    ) -> None:
        super().__init__()
        self.glances = glances
        self.picture = PictureVector(cell_dim, dim)
        self.places = nn.Parameter(torch.randn(GRID * GRID, cell_dim))
        self.key = nn.Linear(cell_dim, key_dim)
        self.value = nn.Linear(cell_dim, key_dim)
        self.query = nn.Linear(dim, key_dim)
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=PADDING)
        self.cell = nn.LSTMCell(dim + key_dim, dim)
        self.logits = nn.Linear(dim + key_dim, vocab_size)

    def start(self, cells: Tensor) -> tuple[Tensor, ...]:
        """Return the state before the first word: (h, c, found, keys, values, weights).

        Shape: (N, 64, D) → (N, H) twice, (N, d), (N, 64, d) twice, (N, 64).
        """
        h = self.picture(cells)
        cells = cells + self.places
        key, value = self.key(cells), self.value(cells)
        found, weights = torch.zeros_like(value[:, 0]), torch.zeros_like(value[:, :, 0])
        state: tuple[Tensor, ...] = (h, torch.zeros_like(h), found, key, value, weights)
        tokens = torch.full((len(cells),), START, device=cells.device)
        for _ in range(self.glances):
            _, state = self.step(tokens, state)
        return state

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the logits of the next word and the state after ``tokens``. Shape: (N,).

        The last part of the state says where this step looked: (N, 64), each row sums to 1.
        """
        h, c, found, key, value, _ = state
        h, c = self.cell(torch.cat([self.embedding(tokens), found], 1), (h, c))
        query = self.query(h)[:, None]  # (N, 1, d)
        found, weights = attention.scaled_dot_product(query, key, value)
        found = found[:, 0]
        logits = self.logits(torch.cat([h, found], 1))
        return logits, (h, c, found, key, value, weights[:, 0])

    def forward(self, cells: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits of the word after each one of ``tokens``: teacher forcing.

        Shape: (N, 64, D), (N, T) → (N, T, V).
        """
        return _unrolled(self, cells, tokens)


def _unrolled(model: LSTMCaptioner | AttentionCaptioner, cells: Tensor, tokens: Tensor) -> Tensor:
    state = model.start(cells)
    logits = []
    for t in range(tokens.shape[1]):
        scores, state = model.step(tokens[:, t], state)
        logits.append(scores)
    return torch.stack(logits, 1)
