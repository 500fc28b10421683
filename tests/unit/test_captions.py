"""Captions as tokens and back."""

import pytest
import torch
from dl4cv.data import captions
from dl4cv.data.captions import END, PADDING, START
from hypothesis import given
from hypothesis import strategies as st

WORDS = captions.Vocabulary("a", "red", "top")


@given(st.lists(st.lists(st.sampled_from(["a", "red", "top"]), min_size=1, max_size=6)))
def test_decoding_undoes_encoding(lines):
    said = [" ".join(line) for line in lines]
    tokens = WORDS.encode(said, 8)
    assert tokens.shape == (len(said), 8)
    assert WORDS.decode(tokens) == said


def test_a_caption_stands_between_start_and_end_and_is_filled_up():
    tokens = WORDS.encode(["a top"], 6)
    assert tokens.tolist() == [[START, 3, 5, END, PADDING, PADDING]]
    assert len(WORDS) == 6


def test_decoding_stops_at_the_end_and_needs_none():
    assert WORDS.decode(torch.tensor([[3, END, 4], [PADDING, 4, 5], [START, 5, 3]])) == [
        "a",
        "red top",
        "top a",
    ]


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("a blue top", "captions holds 'blue'; expected one of: a, red, top"),
        ("", "captions holds one of 0 words, ''; expected 1 to 4"),
        ("a red top a red", "captions holds one of 5 words"),
    ],
)
def test_a_caption_that_does_not_fit_is_refused(caption, message):
    with pytest.raises(ValueError, match=message):
        WORDS.encode(["a red top", caption], 6)


@pytest.mark.parametrize("words", [("a", "a"), ("a b",), ("",)])
def test_a_vocabulary_of_other_than_single_words_is_refused(words):
    with pytest.raises(ValueError, match="expected single words, each of them once"):
        captions.Vocabulary(*words)


def test_numbers_that_are_no_tokens_are_refused():
    with pytest.raises(ValueError, match="expected numbers from 0 to 5"):
        WORDS.decode(torch.tensor([[3, 6]]))
    with pytest.raises(ValueError, match=r"shape \(2,\); expected integers of shape \(N, T\)"):
        WORDS.decode(torch.tensor([3, 4]))
