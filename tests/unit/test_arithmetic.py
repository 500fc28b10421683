"""Two-digit sums and differences as tokens."""

import re

import pytest
import torch
from dl4cv.data import arithmetic
from dl4cv.data.captions import END, PADDING, START
from hypothesis import given, settings
from hypothesis import strategies as st

NUMBERS = st.integers(0, 99)
ORDERS = pytest.mark.parametrize("order", ["units first", "units last"])


def problem(a, b, minus, order="units last"):
    return arithmetic.Problems(*torch.tensor([[a], [b]]), torch.tensor([minus]), order)


@ORDERS
@settings(max_examples=50)
@given(a=NUMBERS, b=NUMBERS, minus=st.booleans())
def test_a_problem_and_its_answer_can_be_read_back(order, a, b, minus):
    one = problem(a, b, minus, order)
    text = f"{a}{'-' if minus else '+'}{b}"
    answer = str(a - b if minus else a + b)
    assert one.texts == [text]
    assert arithmetic.decode(one.source) == [text]
    assert arithmetic.decode(one.target) == [answer[::-1] if order == "units first" else answer]
    assert torch.equal(arithmetic.encode([text]), one.source)


def test_tokens_by_hand():
    assert problem(4, 12, True).target.tolist() == [[START, 14, 11, END, PADDING]]  # -8
    one = problem(4, 12, True, "units first")
    assert one.source.tolist() == [[7, 14, 4, 5, END, PADDING]]
    assert one.target.tolist() == [[START, 11, 14, END, PADDING]]  # -8, the 8 first
    assert problem(99, 99, False).target.tolist() == [[START, 4, 12, 11, END]]  # 198


@given(NUMBERS, NUMBERS)
def test_carries_are_those_of_the_units_column(a, b):
    assert problem(a, b, False).carries.item() == ((a + b) // 10 > a // 10 + b // 10)
    low, high = sorted((a, b))
    assert problem(a, b, True).carries.item() == ((high - low) // 10 < high // 10 - low // 10)


@given(NUMBERS, NUMBERS)
def test_a_fact_family_has_one_number(a, b):
    family = problem(a, b, False).families
    assert problem(b, a, False).families == family
    if a + b < 100:
        for first, second in ((a + b, a), (a + b, b), (a, a + b), (b, a + b)):
            assert problem(first, second, True).families == family


def test_families_are_as_many_as_unordered_pairs():
    every = arithmetic.all_problems()
    assert len(every) == 20_000
    assert len(set(every.texts)) == 20_000
    assert len(every.families.unique()) == 100 * 101 // 2


@pytest.mark.parametrize("by_family", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_split_holds_each_problem_once(seed, by_family):
    learned, held = arithmetic.split(seed, by_family=by_family)
    assert not set(learned.texts) & set(held.texts)
    assert len(learned) + len(held) == 20_000
    assert len(learned) / 20_000 == pytest.approx(0.8, abs=0.01)
    shared = torch.isin(held.families, learned.families).float().mean()
    assert shared == 0 if by_family else shared > 0.9
    again, _ = arithmetic.split(seed, by_family=by_family)
    other, _ = arithmetic.split(seed + 2, by_family=by_family)
    assert torch.equal(again.source, learned.source)
    assert set(other.texts) != set(learned.texts)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: problem(100, 3, False),
            "a is [100]; expected at least one number",
        ),
        (lambda: problem(1, -3, False), "b is [-3]; expected at least one number"),
        (lambda: arithmetic.all_problems()[:0], "a is []; expected at least one number"),
        (lambda: problem(1, 3, False, "shuffled"), "order is 'shuffled'; expected one of: units"),
        (lambda: arithmetic.split(fraction=1), "fraction is 1; expected one that leaves"),
        (lambda: arithmetic.split(fraction=0), "fraction is 0; expected one that leaves"),
        (
            lambda: arithmetic.encode(["4x7"]),
            "texts holds '4x7'; expected 1 to 5 of the characters 0",
        ),
        (lambda: arithmetic.encode(["1+1", ""]), "texts holds ''; expected 1 to 5"),
        (lambda: arithmetic.encode(["123+456"]), "texts holds '123+456'"),
        (lambda: arithmetic.decode(torch.tensor([[15]])), "expected numbers from 0 to 14"),
    ],
)
def test_what_is_no_problem_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
