"""Attention: a query looks at all positions at once, and takes most from those that fit it.

Source: Bahdanau, Cho and Bengio (2015), arXiv 1409.0473, for the additive kind; Vaswani et al.
(2017), arXiv 1706.03762, sections 3.2.1 and 3.2.2, for the scaled dot product and its heads.
"""

import math

import torch
from torch import Tensor, nn


def scaled_dot_product(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the weighted means of the values, and the weights: softmax(q kᵀ / √d) v.

    Args:
        query: (…, Q, d).
        key: (…, K, d).
        value: (…, K, D).
        mask: bool, broadcast to (…, Q, K); True where a query may look.

    Shape: → (…, Q, D), weights (…, Q, K) in [0, 1]; those of a query sum to 1.

    Raises:
        ValueError: if the mask is not bool or does not fit, or hides everything from a query.

    Source: Vaswani et al. (2017), arXiv 1706.03762, equation 1.
    """
    scores = query @ key.mT / math.sqrt(query.shape[-1])  # (…, Q, K)
    weights = _masked(scores, mask).softmax(-1)
    return weights @ value, weights


def causal_mask(queries: int, keys: int | None = None) -> Tensor:
    """Return which positions each one may look at: itself and those before it.

    Shape: (Q, K) bool. Where there are more keys than queries, the queries are the last positions.

    Raises:
        ValueError: if there are fewer keys than queries.
    """
    keys = queries if keys is None else keys
    if keys < queries:
        raise ValueError(f"keys is {keys}; expected at least {queries}, the number of queries")
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


class AdditiveAttention(nn.Module):
    """Scores from a small network: vᵀ tanh(W q + U k).

    Args:
        query_dim: features of a query.
        key_dim: features of a key, and of the values, which are the keys themselves.
        dim: units of the hidden layer.

    Source: Bahdanau, Cho and Bengio (2015), arXiv 1409.0473, appendix A.1.2.
    """

    def __init__(self, query_dim: int, key_dim: int, dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_dim, dim, bias=False)
        self.key = nn.Linear(key_dim, dim)
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(
        self, query: Tensor, key: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted means of the keys, and the weights.

        Shape: query (N, Q, query_dim), key (N, K, key_dim), mask as above → (N, Q, key_dim),
            (N, Q, K).
        """
        hidden = (self.query(query)[:, :, None] + self.key(key)[:, None]).tanh()  # (N, Q, K, dim)
        weights = _masked(self.score(hidden)[..., 0], mask).softmax(-1)
        return weights @ key, weights


class Cache:
    """The keys and values of the positions that a layer has seen, so that none is computed twice.

    Attributes:
        key: (N, heads, K, d) of K positions; None before the first.
        value: the same shape.
    """

    def __init__(self) -> None:
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def __len__(self) -> int:
        """Return K."""
        return 0 if self.key is None else self.key.shape[2]

    def extended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of new positions; return those of all."""
        if self.key is not None and self.value is not None:
            key, value = torch.cat([self.key, key], 2), torch.cat([self.value, value], 2)
        self.key, self.value = key, value
        return key, value


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each on its own projections of the input.

    The parameters have the names and shapes of ``torch.nn.MultiheadAttention``.

    Args:
        dim: D, features of the input and the output.
        num_heads: h; each head has D / h features.
        rotary: whether queries and keys are rotated by their positions, see ``positions.rotary``.

    Attributes:
        weights: (N, h, Q, K), of the last call, detached.

    Raises:
        ValueError: if ``num_heads`` does not divide ``dim``.

    Source: Vaswani et al. (2017), arXiv 1706.03762, section 3.2.2.
    """

    weights: Tensor

    def __init__(self, dim: int, num_heads: int, *, rotary: bool = False) -> None:
        super().__init__()
        if num_heads < 1 or dim < 1 or dim % num_heads:
            raise ValueError(
                f"dim is {dim} and num_heads {num_heads}; expected a dim that num_heads divides"
            )
        self.num_heads, self.rotary = num_heads, rotary
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Let each position of ``x`` look at those of ``memory``, or of ``x`` itself.

        Args:
            x: (N, Q, D).
            memory: (N, K, D), for cross-attention; None for self-attention.
            mask: bool, (Q, K) or (N, Q, K), where Q may be 1; True where a query may look.
            cache: the keys and values of earlier positions, which x's are added to.

        Shape: → (N, Q, D).

        Raises:
            ValueError: if the mask does not fit, or hides everything from a query.
        """
        query_weight, *rest = self.in_proj_weight.chunk(3)
        query_bias, *biases = self.in_proj_bias.chunk(3)
        query = self._heads(nn.functional.linear(x, query_weight, query_bias))  # (N, h, Q, d)
        source = x if memory is None else memory
        key, value = (
            self._heads(nn.functional.linear(source, weight, bias))
            for weight, bias in zip(rest, biases, strict=True)
        )
        if self.rotary:
            before = 0 if cache is None else len(cache)
            query, key = rotated(query, before), rotated(key, before)
        if cache is not None:
            key, value = cache.extended(key, value)
        if mask is not None and mask.ndim == 3:
            mask = mask[:, None]  # the same for all heads
        mixed, weights = scaled_dot_product(query, key, value, mask)  # (N, h, Q, d)
        self.weights = weights.detach()
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """Return each head's features. Shape: (N, T, D) → (N, h, T, d)."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


def sinusoidal(length: int, dim: int) -> Tensor:
    """Return a wave for each pair of features, from fast to slow, read at each position.

    Shape: (length, dim); features 2i and 2i + 1 are sine and cosine of t / 10000^(2i / dim).

    Raises:
        ValueError: if ``length`` is below 1, or ``dim`` is odd or below 2.

    Source: Vaswani et al. (2017), arXiv 1706.03762, section 3.5.
    """
    angles = _angles(torch.arange(length), dim)
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1).float()


def rotated(x: Tensor, start: int = 0) -> Tensor:
    """Rotate each pair of features by an angle that grows with the position.

    The dot product of a rotated query and a rotated key then depends on how far apart they are.

    Args:
        x: (…, T, d), queries or keys.
        start: the first position.

    Shape: (…, T, d) → the same.

    Raises:
        ValueError: if d is odd.

    Source: Su et al. (2021), arXiv 2104.09864, equation 34.
    """
    length, dim = x.shape[-2:]
    angles = _angles(torch.arange(start, start + length, device=x.device), dim).to(x.dtype)
    even, odd = x[..., ::2], x[..., 1::2]
    turned = (
        even * angles.cos() - odd * angles.sin(),
        even * angles.sin() + odd * angles.cos(),
    )
    return torch.stack(turned, -1).flatten(-2)


def _angles(positions: Tensor, dim: int) -> Tensor:
    """Return t / 10000^(2i / dim) for each position t and pair i. Shape: (T, dim / 2)."""
    if len(positions) < 1 or dim < 2 or dim % 2:
        raise ValueError(
            f"there are {len(positions)} positions of {dim} features; expected at least one, and "
            "an even number of features"
        )
    pairs = torch.arange(0, dim, 2, dtype=torch.float64, device=positions.device)
    return positions[:, None] * 10_000 ** (-pairs / dim)


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Return scores with −∞ where a query may not look."""
    if mask is None:
        return scores
    fits = mask.dtype == torch.bool and mask.ndim <= scores.ndim
    sides = zip(mask.shape[::-1], scores.shape[::-1], strict=False)
    if not fits or not all(m in (1, s) for m, s in sides):
        raise ValueError(
            f"mask is {mask.dtype} of shape {tuple(mask.shape)}; expected bool that broadcasts to "
            f"{tuple(scores.shape)}"
        )
    mask = mask.to(scores.device)
    if not mask.any(-1).all():
        raise ValueError(
            "mask hides every position from a query; expected at least one that is left"
        )
    return scores.masked_fill(~mask, -math.inf)
