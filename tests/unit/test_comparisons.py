"""Paired comparisons against SciPy's paired t-test: intervals, verdicts, and what is printed."""

import math

import pytest
import scipy.stats
from dl4cv.evidence import ClaimError, claims, compare
from dl4cv.evidence.comparisons import paired
from hypothesis import assume, given
from hypothesis import strategies as st

A, B = [0.90, 0.92, 0.91, 0.93, 0.92], [0.89, 0.90, 0.90, 0.91, 0.91]
PAIRS = st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=9)


def quoted(shown) -> dict[str, str]:
    return {
        meta["scrapbook"]["name"]: next(iter(data.values())).strip("'")
        for data, meta in shown
        if meta
    }


@given(PAIRS)
def test_the_interval_is_that_of_the_paired_t_test(pairs):
    a, b = zip(*pairs, strict=True)
    differences = [x - y for x, y in pairs]
    assume(max(differences) - min(differences) > 1e-6)
    interval = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    found = paired(a, b)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6)
    assert found.difference == pytest.approx(sum(differences) / len(differences), abs=1e-12)
    assert found.seeds == len(pairs)


@given(PAIRS)
def test_a_swap_mirrors_the_interval_and_the_verdict(pairs):
    a, b = zip(*pairs, strict=True)
    there, back = paired(a, b), paired(b, a)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    swapped = {"better": "worse", "worse": "better", "we cannot tell": "we cannot tell"}
    assert back.verdict == swapped[there.verdict]
    assert paired(a, b, better="lower").verdict == back.verdict


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (A, B, "better"),
        (B, A, "worse"),
        (A, B[::-1], "we cannot tell"),  # what belongs together counts
        (A, [0.95, 0.88, 0.93, 0.92, 0.91], "we cannot tell"),
        ([2.0, 3.0], [1.0, 2.0], "better"),  # always by 1: the interval is a point
        ([1.0, 2.0], [1.0, 2.0], "we cannot tell"),
    ],
)
def test_better_only_if_the_interval_excludes_zero(a, b, verdict):
    assert paired(a, b).verdict == verdict


def test_what_could_hide_is_the_far_end_of_the_interval():
    found = paired([1.0, 2.0, 4.0], [1.5, 1.0, 4.5])
    assert found.low < 0 < found.high
    assert found.hidden == max(-found.low, found.high)


def test_pairs_of_one_seed_and_of_other_lengths_are_errors():
    for a, b in ([1.0], [2.0]), ([], []), ([1.0, 2.0], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match=f"a has {len(a)} values and b has {len(b)}; expected"):
            paired(a, b)
    with pytest.raises(ValueError, match=r"differences are \[nan, 0.0\]; expected finite values"):
        paired([math.nan, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="better is 'more'; expected 'higher' or 'lower'"):
        paired(A, B, better="more")  # pyright: ignore


def test_the_line_is_stable_and_the_prose_gets_the_interval_in_points(shown, capsys):
    compare("training/mixup", A, B, unit="fraction")
    assert capsys.readouterr().out == (
        "training/mixup: a − b: better (0.014, 95 % interval 0.0072 to 0.0208, 5 seeds)\n"
    )
    assert quoted(shown) == {
        "training/mixup/difference": r"1.40\xa0points",
        "training/mixup/low": r"0.72\xa0points",
        "training/mixup/high": r"2.08\xa0points",
    }


def test_where_we_cannot_tell_the_line_says_what_could_hide(shown, capsys):
    compare("a/b", [1.0, 2.0], [1.5, 1.0], unit="nats", better="lower")
    assert capsys.readouterr().out == (
        "a/b: a − b: we cannot tell "
        "(0.25, 95 % interval -9.28 to 9.78, 2 seeds, up to 9.78 either way could hide)\n"
    )
    assert quoted(shown)["a/b/hidden"] == r"9.78\xa0nats"


@pytest.mark.parametrize(
    ("a", "b", "better", "enforce", "bound"),
    [
        (A, B, "higher", "better", ("a/b/low", "at_least")),
        (B, A, "lower", "better", ("a/b/high", "at_most")),
        (B, A, "higher", "worse", ("a/b/high", "at_most")),
        (A, B, "lower", "worse", ("a/b/low", "at_least")),
    ],
)
def test_an_enforced_verdict_enters_the_ledger(shown, a, b, better, enforce, bound):
    compare("a/b", a, b, unit="fraction", better=better, enforce=enforce)
    entry = shown[0][0][claims.MIME_TYPE]
    name, side = bound
    assert (entry["name"], entry[side], entry["holds"], entry["seeds"]) == (name, 0, True, 5)
    assert abs(entry["value"]) == pytest.approx(0.0072, abs=1e-4)
    assert entry["unit"] == "points"
    assert shown[0][0]["text/plain"].startswith(f"a/b: a − b: {enforce} (")


@pytest.mark.parametrize("b", [B, [0.95, 0.88, 0.93, 0.92, 0.91]])
def test_another_verdict_than_the_enforced_one_is_an_error(shown, b, monkeypatch):
    with pytest.raises(ClaimError, match="a/b: a − b was claimed worse, but"):
        compare("a/b", A, b, unit="fraction", enforce="worse")
    monkeypatch.setenv("DL4CV_BUDGET", "smoke")
    compare("a/b", A, b, unit="fraction", enforce="worse")
    assert ", not enforced at smoke (" in shown[0][0]["text/plain"]
    assert shown[0][0][claims.MIME_TYPE]["holds"] is False


def test_wrong_settings_are_named(shown, capsys):
    with pytest.raises(ValueError, match="unit of 'a/b' is 'parsec'"):
        compare("a/b", A, B, unit="parsec")
    with pytest.raises(ValueError, match="enforce is 'best'; expected 'better', 'worse' or None"):
        compare("a/b", A, B, unit="fraction", enforce="best")  # pyright: ignore
    assert not shown
    assert not capsys.readouterr().out
