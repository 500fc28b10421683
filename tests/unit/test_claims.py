"""Claims hold values to their bands, print a comparable line, and feed ledger and prose."""

import math
import re
from pathlib import Path

import pytest
import scipy.stats
from dl4cv.evidence import ClaimError, claim, claims, record, standard_error
from hypothesis import given
from hypothesis import strategies as st
from myst_nb.core.variables import format_plain_text


def test_a_value_in_the_band_prints_its_verdict_and_is_recorded(shown):
    claim("linear/mnist", 0.9234, unit="fraction", at_least=0.92, seconds=1.5)
    line, record = shown[0][0]["text/plain"], shown[0][0][claims.MIME_TYPE]
    assert line == "linear/mnist ≥ 0.92: yes (0.9234)"
    assert record["holds"] is True
    assert (record["value"], record["at_least"], record["at_most"]) == (0.9234, 0.92, None)
    assert record["seconds"] == 1.5
    assert record["peak_mib"] > 1


def quoted(data: dict[str, str]) -> str:
    """Return what the page shows of glued data."""
    (literal,) = data.values()
    return format_plain_text(literal, "")


def test_the_prose_gets_the_value_in_its_unit(shown):
    claim("linear/mnist", 0.9234, unit="fraction", at_least=0.92)
    data, metadata = shown[1]
    assert quoted(data) == "92.3\u00a0%"
    assert metadata["scrapbook"]["name"] == "linear/mnist"


@pytest.mark.parametrize(
    ("value", "band"),
    [
        (0.91, {"at_least": 0.92}),
        (0.93, {"at_most": 0.92}),
        ([0.95, 0.91, 0.95], {"at_least": 0.92}),
        (math.nan, {"at_least": 0.0}),
        (math.nan, {"at_most": 1.0}),
    ],
)
def test_a_value_outside_the_band_is_an_error_that_names_all(shown, value, band):
    with pytest.raises(ClaimError, match=r"linear/mnist was claimed [≥≤] [01].*measured"):
        claim("linear/mnist", value, unit="fraction", **band)


def test_bounds_are_inclusive(shown):
    claim("a/b", 0.5, unit="number", at_least=0.5, at_most=0.5)
    assert shown[0][0]["text/plain"] == "a/b ≥ 0.5 and ≤ 0.5: yes (0.5)"


def test_several_seeds_are_quoted_by_mean_and_spread(shown):
    claim("a/b", [0.90, 0.92, 0.94], unit="fraction", at_least=0.9)
    record = shown[0][0][claims.MIME_TYPE]
    assert record["seeds"] == 3
    assert record["value"] == pytest.approx(0.92)
    assert record["spread"] == pytest.approx(0.02)
    glued = {meta["scrapbook"]["name"]: quoted(data) for data, meta in shown[1:]}
    assert glued == {"a/b": "92.0\u00a0%", "a/b/spread": "2.0\u00a0%"}


def test_smoke_measures_but_does_not_enforce(shown, monkeypatch):
    monkeypatch.setenv("DL4CV_BUDGET", "smoke")
    claim("a/b", 0.1, unit="fraction", at_least=0.9)
    assert shown[0][0]["text/plain"] == "a/b ≥ 0.9: no, not enforced at smoke (0.1)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": 1.0, "unit": "parsec", "at_least": 0}, "unit of 'a/b' is 'parsec'"),
        ({"value": 1.0, "unit": "number"}, "has no band"),
        ({"value": [], "unit": "number", "at_least": 0}, "has no value"),
        ({"value": 1.0, "unit": "nats", "at_least": 0, "n": 9}, "n is 9 for unit 'nats'"),
        ({"value": 1.0, "unit": "fraction", "at_least": 0, "n": 0}, "n is 0; expected at least 1"),
        ({"value": 1.5, "unit": "fraction", "at_least": 0, "n": 9}, "p is 1.5; expected a prop"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        claim("a/b", **arguments)


def test_a_large_count_is_quoted_with_its_comma(shown):
    record("a/b", 12_000, unit="count")
    (data, _) = shown[0]
    assert quoted(data) == "12,000"


def test_measured_refuses_an_unknown_unit():
    with pytest.raises(ValueError, match="unit of 'a/b' is 'parsec'; expected one of: fraction"):
        record("a/b", 1.0, unit="parsec")


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("fraction", 0.90649, "90.6 %"),
        ("points", -0.012345, "-1.23 points"),
        ("seconds", 1.2345, "1.23 s"),
        ("milliseconds", 12.345, "12.3 ms"),
        ("ratio", 53.21, "53.2×"),
        ("count", 60000, "60,000"),
        ("nats", 87.65, "87.7 nats"),
        ("number", 1e-9, "1e-09"),
    ],
)
def test_units_read_well(unit, value, text):
    # Number and unit stay on one line.
    assert claims.UNITS[unit](value) == text.replace(" ", "\u00a0")


def glued(shown) -> dict[str, str]:
    """Return what was made quotable, by name."""
    return {meta["scrapbook"]["name"]: quoted(data) for data, meta in shown if meta}


def masked(line: str) -> str:
    """Return a printed line as nbval compares it."""
    text = Path("tests/chapters/sanitize.cfg").read_text("utf-8")
    for regex, replace in re.findall(r"^regex: (.*)$\n^replace: (.*)$", text, re.MULTILINE):
        line = re.sub(regex, replace, line)
    return line


def test_a_proportion_shows_its_standard_error(shown):
    claim("linear/mnist/softmax", 0.9234, unit="fraction", at_least=0.92, n=10_000)
    line, entry = shown[0][0]["text/plain"], shown[0][0][claims.MIME_TYPE]
    assert line == "linear/mnist/softmax ≥ 0.92: yes (0.9234 ± 0.0027 standard error)"
    assert entry["standard_error"] == pytest.approx(math.sqrt(0.9234 * 0.0766 / 10_000))
    assert entry["n"] == 10_000
    assert glued(shown)["linear/mnist/softmax/se"] == "0.27\u00a0points"
    assert masked(line) == "linear/mnist/softmax ≥ 0.92: yes (FIGURE)"


def test_several_seeds_have_a_spread_and_each_a_standard_error(shown):
    claim("a/b", [0.4, 0.5, 0.6], unit="fraction", at_least=0.1, n=100)
    assert shown[0][0]["text/plain"].endswith("(0.4, 0.5, 0.6, each ± 0.05 standard error)")
    assert glued(shown).keys() == {"a/b", "a/b/spread", "a/b/se"}


def test_without_n_there_is_no_standard_error(shown):
    claim("a/b", 0.5, unit="fraction", at_least=0.1)
    assert shown[0][0][claims.MIME_TYPE]["standard_error"] is None
    assert glued(shown).keys() == {"a/b"}


def test_nan_is_outside_its_band_whatever_n(shown, monkeypatch):
    with pytest.raises(ClaimError):
        claim("a/b", math.nan, unit="fraction", at_least=0.1, n=10)
    monkeypatch.setenv("DL4CV_BUDGET", "smoke")
    claim("a/b", math.nan, unit="fraction", at_least=0.1, n=10)
    assert shown[0][0]["text/plain"] == "a/b ≥ 0.1: no, not enforced at smoke (nan)"


@given(k=st.integers(0, 40), n=st.integers(1, 40))
def test_the_standard_error_is_that_of_the_binomial(k, n):
    p = min(k / n, 1.0)
    assert standard_error(p, n) == pytest.approx(scipy.stats.binom(n, p).std() / n)


def test_a_mapping_is_recorded_by_suffix(shown):
    record(
        "gans/now",
        {"fid": 12.34, "accuracy": [0.5, 0.7]},
        unit={"fid": "number", "accuracy": "fraction"},
    )
    assert glued(shown) == {
        "gans/now/fid": "12.3",
        "gans/now/accuracy": "60.0\u00a0%",
        "gans/now/accuracy/spread": "14.1\u00a0%",
    }


def test_one_unit_serves_a_whole_mapping(shown):
    record("a", {"b": 1, "c": 2}, unit="count")
    assert glued(shown) == {"a/b": "1", "a/c": "2"}


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        ({"b": 1}, {"c": "count"}, r"values for \['b'\] and units for \['c'\]"),
        ({}, "count", "at least one"),
        ({"b": 1, "c": 2}, {"b": "count", "c": "parsec"}, "unit of 'a/c' is 'parsec'"),
        (1, {"b": "count"}, "expected one unit for one value"),
    ],
)
def test_a_mapping_without_its_units_is_an_error_and_nothing_is_recorded(
    shown, value, unit, message
):
    with pytest.raises(ValueError, match=message):
        record("a", value, unit=unit)
    assert not shown


@pytest.mark.parametrize(
    ("entry", "value", "band"),
    [
        ({"value": 0.92, "at_least": 0.9}, "92.0 %", "≥ 90.0 %"),
        ({"value": 0.92, "spread": 0.01, "at_most": 0.95}, "92.0 % ± 1.0 %", "≤ 95.0 %"),
        (
            {"value": 0.5, "standard_error": 0.0123, "at_least": 0.4, "at_most": 0.6},
            "50.0 %, standard error 1.23 points",
            "≥ 40.0 % and ≤ 60.0 %",
        ),
    ],
)
def test_an_entry_reads_in_its_unit(entry, value, band):
    entry["unit"] = "fraction"
    assert claims.value_text(entry).replace("\u00a0", " ") == value
    assert claims.band_text(entry).replace("\u00a0", " ") == band
