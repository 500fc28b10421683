"""Exercises of the chapter on attention."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.exercises import Case, Exercise, normal
from dl4cv.models import attention


def _additive() -> list[Case]:
    cases = []
    for name, queries, keys, hidden in (
        ("one query, two keys", 1, 2, 3),
        ("three queries", 3, 4, 5),
        ("one key", 2, 1, 4),
    ):
        q, k = normal(queries, 4, seed=0), normal(keys, 3, seed=1)
        W, U, w = normal(hidden, 4, seed=2), normal(hidden, 3, seed=3), normal(hidden, seed=4)
        module = attention.AdditiveAttention(4, 3, hidden).double()
        with torch.no_grad():
            module.query.weight.copy_(W)
            module.key.weight.copy_(U)
            module.key.bias.zero_()
            module.score.weight.copy_(w[None])
            expected = module(q[None], k[None])[1][0]
        cases.append(Case(name, (q, k, W, U, w), expected.round(decimals=8)))
    return cases


def _padded() -> list[Case]:
    cases = []
    for name, keys, lengths in (
        ("nothing to hide", 3, [3]),
        ("two lengths", 4, [4, 2]),
        ("one key alone", 5, [1, 5, 3]),
    ):
        n = len(lengths)
        q, k = normal(n, 4, seed=5), normal(n, keys, 4, seed=6)
        v, length = normal(n, keys, 2, seed=7), torch.tensor(lengths)
        mask = torch.arange(keys) < length[:, None, None]
        expected = F.scaled_dot_product_attention(q[:, None], k, v, attn_mask=mask)[:, 0]
        cases.append(Case(name, (q, k, v, length), expected.round(decimals=8)))
    return cases


def _spread() -> list[Case]:
    one = torch.zeros(1, 5, dtype=torch.float64)
    one[0, 2] = 1
    weights: dict[str, Tensor] = {
        "all on one of five": one,
        "equal weights": torch.full((2, 4), 0.25, dtype=torch.float64),
        "three rows": normal(3, 6, seed=8).softmax(1),
    }
    return [
        Case(name, (a,), torch.distributions.Categorical(a).entropy().exp().round(decimals=8))
        for name, a in weights.items()
    ]


EXERCISES = {
    "additive": Exercise(
        _additive, "broadcast (T, 1, m) against (1, S, m) before the tanh; softmax along the keys."
    ),
    "padded": Exercise(
        _padded, "set the scores of keys from the length on to −∞ before the softmax."
    ),
    "spread": Exercise(_spread, "0 log 0 is 0, but 0 · log(0) is NaN: torch.xlogy knows."),
}
