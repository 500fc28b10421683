"""Exercises of the chapter on transformers."""

from torch.nn import functional as F

from dl4cv.exercises import Case, Exercise, normal, pullback


def _causal() -> list[Case]:
    cases = []
    for name, length, dim, values in (
        ("one position", 1, 2, 3),
        ("four positions", 4, 3, 2),
        ("nine positions, 16 features", 9, 16, 5),
    ):
        q, k = normal(length, dim, seed=0), normal(length, dim, seed=1)
        v = normal(length, values, seed=2)
        expected = F.scaled_dot_product_attention(q, k, v, is_causal=True).round(decimals=8)
        cases.append(Case(name, (q, k, v), expected))
    return cases


def _rms_norm() -> list[Case]:
    cases = []
    for name, count, dim, scale in (
        ("one vector of two features", 1, 2, 1.0),
        ("three vectors", 3, 5, 2.0),
        ("vectors of length about 80", 4, 64, 10.0),
    ):
        x, weight = scale * normal(count, dim, seed=3), normal(dim, seed=4)
        dy = normal(count, dim, seed=5)
        expected = pullback(
            lambda x, weight: F.rms_norm(x, weight.shape, weight, 1e-5), x, weight, dy=dy
        )
        cases.append(Case(name, (x, weight, dy), expected))
    return cases


def _grouped() -> list[Case]:
    cases = []
    for name, heads, groups in (
        ("as many keys as heads", 2, 2),
        ("one key for all heads", 3, 1),
        ("six heads, two groups", 6, 2),
    ):
        q = normal(heads, 5, 4, seed=6)
        k, v = normal(groups, 7, 4, seed=7), normal(groups, 7, 4, seed=8)
        expected = F.scaled_dot_product_attention(q[None], k[None], v[None], enable_gqa=True)[0]
        cases.append(Case(name, (q, k, v), expected.round(decimals=8)))
    return cases


def _streamed() -> list[Case]:
    cases = []
    for name, keys, block, scale in (
        ("one block", 4, 4, 1.0),
        ("three blocks", 6, 2, 1.0),
        ("a last block that is shorter", 7, 3, 1.0),
        ("scores in the thousands", 8, 2, 2000.0),
    ):
        q, k, v = scale * normal(4, seed=9), normal(keys, 4, seed=10), normal(keys, 3, seed=11)
        expected = F.scaled_dot_product_attention(q[None], k, v)[0].round(decimals=8)
        cases.append(Case(name, (q, k, v, block), expected))
    return cases


EXERCISES = {
    "causal_attention": Exercise(
        _causal, "row t of the scores may keep columns 0 to t; divide by √d before the softmax."
    ),
    "rms_norm": Exercise(
        _rms_norm, "as for layer normalization, but no mean is subtracted, so one term is missing."
    ),
    "grouped_attention": Exercise(
        _grouped, "heads 0 to h/g − 1 share the first key, the next h/g heads the second."
    ),
    "streamed_attention": Exercise(
        _streamed, "when the largest score grows from m to n, earlier sums shrink by exp(m − n)."
    ),
}
