"""The transformer: attention and small networks in turn, each added to what was there.

Blocks carry the names of ``torch.nn.TransformerEncoderLayer`` and ``TransformerDecoderLayer`` with
``norm_first=True``, so that their weights can be exchanged.

Source: Vaswani et al. (2017), arXiv 1706.03762; normalization before each part as in Xiong et al.
(2020), arXiv 2002.04745.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dl4cv.data.captions import END, PADDING, START
from dl4cv.models import attention
from dl4cv.models.attention import Cache, MultiHeadAttention

Positions = Literal["sinusoidal", "learned", "rotary", "none"]


class EncoderBlock(nn.Module):
    """Self-attention, then a network with one hidden layer at each position.

    Args:
        dim: D.
        num_heads: of the attention.
        hidden: units of the hidden layer; 4 D if None.
        rotary: whether attention rotates queries and keys by their positions.

    Shape: (N, T, D) → (N, T, D).
    """

    def __init__(
        self, dim: int, num_heads: int, hidden: int | None = None, *, rotary: bool = False
    ) -> None:
        super().__init__()
        hidden = 4 * dim if hidden is None else hidden
        self.self_attn = MultiHeadAttention(dim, num_heads, rotary=rotary)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the features after this block."""
        x = x + self.self_attn(self.norm1(x), mask=mask)
        return x + self.linear2(self.linear1(self.norm2(x)).relu())


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to a memory, then a network at each position.

    Args:
        dim: D.
        num_heads: of both attentions.
        hidden: units of the hidden layer; 4 D if None.
        rotary: whether self-attention rotates queries and keys by their positions.
    """

    def __init__(
        self, dim: int, num_heads: int, hidden: int | None = None, *, rotary: bool = False
    ) -> None:
        super().__init__()
        hidden = 4 * dim if hidden is None else hidden
        self.self_attn = MultiHeadAttention(dim, num_heads, rotary=rotary)
        self.multihead_attn = MultiHeadAttention(dim, num_heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return the features after this block.

        Args:
            x: (N, T, D), the positions after those in ``cache``.
            memory: (N, K, D), what to look at.
            memory_mask: bool, (N, 1, K) or (N, T, K), True where a position may look.
            cache: keys and values of earlier positions.
        """
        before = 0 if cache is None else len(cache)
        causal = attention.causal_mask(x.shape[1], before + x.shape[1])
        x = x + self.self_attn(self.norm1(x), mask=causal, cache=cache)
        x = x + self.multihead_attn(self.norm2(x), memory, memory_mask)
        return x + self.linear2(self.linear1(self.norm3(x)).relu())


class Tokens(nn.Module):
    """Features of tokens, and of where they stand.

    Args:
        vocab_size: V.
        dim: D.
        max_length: the longest sequence.
        positions: sinusoidal and learned ones are added; rotary ones are left to the attention.

    Shape: (N, T) integers in 0 to V − 1 → (N, T, D).

    Raises:
        ValueError: if there is no such kind of positions, a sequence is empty or too long, or a
            number is no token.
    """

    def __init__(self, vocab_size: int, dim: int, max_length: int, positions: Positions) -> None:
        super().__init__()
        if positions not in get_args(Positions):
            raise ValueError(
                f"positions is {positions!r}; expected one of: {', '.join(get_args(Positions))}"
            )
        self.max_length = max_length
        self.embedding = nn.Embedding(vocab_size, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        where = None
        if positions == "learned":
            where = nn.Parameter(torch.randn(max_length, dim) * dim**-0.5)
        elif positions == "sinusoidal":
            # As long as a token's features, which have a squared length of 1.
            waves = attention.sinusoidal(max_length, dim) * (2 / dim) ** 0.5
            where = nn.Buffer(waves, persistent=False)
        self.positions = where

    def forward(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Return the features of tokens that stand at ``start`` and after it."""
        end = start + tokens.shape[1]
        if not start < end <= self.max_length:
            raise ValueError(
                f"tokens has {tokens.shape[1]} positions from {start} on; expected at least one, "
                f"and at most {self.max_length} in all"
            )
        low, high = (int(bound) for bound in tokens.aminmax())
        last = self.embedding.num_embeddings - 1
        if low < 0 or high > last:
            raise ValueError(f"tokens holds {low} to {high}; expected numbers from 0 to {last}")
        x = self.embedding(tokens)
        return x if self.positions is None else x + self.positions[start:end]


class Decoder(nn.Module):
    """Write a sequence of tokens, one after another, looking at a memory.

    Args:
        vocab_size: V.
        dim: D, features of each token and of the memory.
        num_heads: of each attention.
        num_layers: blocks.
        max_length: the longest sequence.
        positions: how tokens know where they stand.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        num_heads: int,
        num_layers: int,
        *,
        max_length: int,
        positions: Positions = "sinusoidal",
    ) -> None:
        super().__init__()
        self.tokens = Tokens(vocab_size, dim, max_length, positions)
        rotary = positions == "rotary"
        self.layers = nn.ModuleList(
            DecoderBlock(dim, num_heads, rotary=rotary) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.logits = nn.Linear(dim, vocab_size)

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        caches: list[Cache] | None = None,
    ) -> Tensor:
        """Return the logits of the token after each position. Shape: (N, T) → (N, T, V).

        Args:
            tokens: (N, T); with ``caches``, those after the positions that are in them.
            memory: (N, K, D).
            memory_mask: bool, (N, 1, K) or (N, T, K), True where a position may look.
            caches: one for each block.
        """
        x = self.tokens(tokens, len(caches[0]) if caches else 0)
        for layer, cache in zip(self.layers, caches or [None] * len(self.layers), strict=True):
            x = layer(x, memory, memory_mask, cache)
        return self.logits(self.norm(x))

    @torch.no_grad()
    def generate(
        self,
        memory: Tensor,
        length: int,
        *,
        memory_mask: Tensor | None = None,
        cached: bool = True,
    ) -> Tensor:
        """Return the most probable token after each position, START first, PADDING after END.

        Args:
            memory: (N, K, D).
            length: tokens to write, START included; the last may come before an END.
            memory_mask: as in ``forward``.
            cached: whether keys and values are kept, or recomputed for each token.

        Shape: → (N, length) int64.
        """
        tokens = torch.full((len(memory), 1), START, device=memory.device)
        ended = torch.zeros(len(memory), dtype=torch.bool, device=memory.device)
        caches = [Cache() for _ in self.layers] if cached else None
        for _ in range(length - 1):
            new = tokens[:, -1:] if cached else tokens
            logits = self(new, memory, memory_mask, caches)[:, -1]  # (N, V)
            chosen = logits.argmax(1).masked_fill(ended, PADDING)
            ended |= chosen == END
            tokens = torch.cat([tokens, chosen[:, None]], 1)
        return tokens


class Transformer(nn.Module):
    """Read one sequence of tokens and write another.

    Args:
        vocab_size: V, of both sequences.
        dim: D.
        num_heads: of each attention.
        num_layers: blocks of the encoder, and of the decoder.
        max_length: the longest sequence.
        positions: how tokens know where they stand.

    Raises:
        ValueError: if a sequence is empty or too long, a number is no token, a source is padding
            alone, or ``num_heads`` does not divide ``dim``.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int = 64,
        num_heads: int = 4,
        num_layers: int = 2,
        *,
        max_length: int,
        positions: Positions = "sinusoidal",
    ) -> None:
        super().__init__()
        self.tokens = Tokens(vocab_size, dim, max_length, positions)
        rotary = positions == "rotary"
        self.layers = nn.ModuleList(
            EncoderBlock(dim, num_heads, rotary=rotary) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.decoder = Decoder(
            vocab_size, dim, num_heads, num_layers, max_length=max_length, positions=positions
        )

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of a sequence, and where it is more than padding.

        Shape: (N, S) → (N, S, D), (N, 1, S) bool.
        """
        mask = (source != PADDING)[:, None]
        x = self.tokens(source)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x), mask

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits of the token after each one of ``target``.

        Shape: (N, S), (N, T) → (N, T, V).
        """
        memory, mask = self.encode(source)
        return self.decoder(target, memory, mask)

    def generate(self, source: Tensor, length: int, *, cached: bool = True) -> Tensor:
        """Return the sequence written for each source. Shape: (N, S) → (N, length) int64."""
        with torch.no_grad():
            memory, mask = self.encode(source)
        return self.decoder.generate(memory, length, memory_mask=mask, cached=cached)
