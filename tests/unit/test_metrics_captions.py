"""Exact match and BLEU, by hand and by their laws."""

import math

import pytest
from dl4cv.metrics import captions
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.text import bleu_score

LINE = st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join)


def test_bleu_by_hand():
    # Papineni et al.'s example: seven times "the" is right twice.
    said, allowed = ["the the the the the the the"], [["the cat is on the mat"]]
    assert captions.bleu(said, allowed, 1) == pytest.approx(2 / 7)
    # Three of three words and two of two pairs, but a word too short.
    assert captions.bleu(["a red top"], [["a red top left"]], 2) == pytest.approx(math.exp(-1 / 3))
    assert captions.bleu(["a top"], [["a red top"]], 2) == 0


@given(st.lists(LINE, min_size=1, max_size=5))
def test_a_reference_itself_is_perfect(lines):
    allowed = [["x", line] for line in lines]
    assert captions.exact(lines, allowed) == 1
    assert captions.bleu(lines, allowed, 1) == pytest.approx(1)


@given(st.lists(st.tuples(LINE, st.lists(LINE, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_bleu_is_that_of_torchmetrics(pairs):
    said = [line for line, _ in pairs]
    # Of two lengths as near, torchmetrics takes the first, and Papineni et al. the shorter.
    allowed = [sorted(lines, key=lambda line: len(line.split())) for _, lines in pairs]
    for n in (1, 2, 4):
        expected = bleu_score(said, allowed, n_gram=n).item()
        assert captions.bleu(said, allowed, n) == pytest.approx(expected, abs=1e-6)


def test_exact_counts_any_reference_and_nothing_else():
    said = ["a b", "b a", "a", "a b c"]
    assert captions.exact(said, [["a b", "b a"]] * 4) == 0.5


@pytest.mark.parametrize(("said", "allowed"), [([], []), (["a"], []), (["a"], [[]])])
def test_nothing_to_compare_is_refused(said, allowed):
    for metric in (captions.exact, captions.bleu):
        with pytest.raises(ValueError, match="expected at least one caption"):
            metric(said, allowed)
    with pytest.raises(ValueError, match="n is 0"):
        captions.bleu(["a"], [["a"]], 0)
