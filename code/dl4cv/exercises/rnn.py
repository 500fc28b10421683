"""Exercises of the chapter on recurrent networks."""

import torch

from dl4cv.exercises import Case, Exercise, normal, pullback


def _through_time() -> list[Case]:
    cases = []
    for name, steps, inputs, hidden in (
        ("one step", 1, 2, 3),
        ("two steps of one unit", 2, 1, 1),
        ("nine steps", 9, 3, 4),
    ):
        x, dh = normal(steps, inputs, seed=0), normal(hidden, seed=1)
        W, U = normal(hidden, inputs, seed=2), normal(hidden, hidden, seed=3)

        def last(W, U, x=x, hidden=hidden):
            h = x.new_zeros(hidden)
            for x_t in x:
                h = (W @ x_t + U @ h).tanh()
            return h

        cases.append(Case(name, (x, W, U, dh), pullback(last, W, U, dy=dh)))
    return cases


def _gru() -> list[Case]:
    cases = []
    for name, count, inputs, hidden in (
        ("one sequence, one unit", 1, 1, 1),
        ("three sequences", 3, 2, 4),
        ("five sequences of eight units", 5, 3, 8),
    ):
        shapes = ((count, inputs), (count, hidden), (3 * hidden, inputs), (3 * hidden, hidden))
        shapes += ((3 * hidden,), (3 * hidden,))
        given = tuple(normal(*shape, seed=10 + k) for k, shape in enumerate(shapes))
        cases.append(Case(name, given, torch.gru_cell(*given).round(decimals=8)))
    return cases


def _precision() -> list[Case]:
    return [
        Case(name, (caption, references, n), expected)
        for name, caption, references, n, expected in (
            ("all words are right", "a red bag", ["a red bag"], 1, 1.0),
            ("a word that is repeated", "the the the the", ["the cat is on the mat"], 1, 2 / 4),
            ("two references", "a bag a bag a bag", ["a bag above a bag", "bag a bag"], 2, 3 / 5),
            ("no four words in a row", "red a bag blue a", ["a red bag above a blue bag"], 4, 0.0),
        )
    ]


def _top_p() -> list[Case]:
    cases = []
    for name, logits, p in (
        ("all tokens", normal(5, seed=20), 1.0),
        ("the first alone", torch.tensor([3.0, 0.0, 1.0], dtype=torch.float64), 0.5),
        ("a few of twelve", 2 * normal(12, seed=21), 0.8),
    ):
        ordered, order = logits.softmax(0).sort(descending=True)
        before = ordered.cumsum(0) - ordered
        kept = torch.zeros_like(logits).scatter(0, order, torch.where(before < p, ordered, 0))
        cases.append(Case(name, (logits, p), (kept / kept.sum()).round(decimals=8)))
    return cases


EXERCISES = {
    "through_time": Exercise(
        _through_time,
        "go from the last step to the first; multiply by 1 − h², add to both gradients, then "
        "multiply by the transpose of U.",
    ),
    "gru_step": Exercise(
        _gru, "the reset gate multiplies U h + b of the proposal, not h; rows are r, z, n."
    ),
    "precision": Exercise(
        _precision, "count each n-gram at most as often as in the reference that has most of it."
    ),
    "top_p": Exercise(
        _top_p, "a token stays if the tokens before it, most probable first, sum to less than p."
    ),
}
