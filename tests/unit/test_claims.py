"""Claims hold values to their bands, print a comparable line, and feed ledger and prose."""

import math

import pytest
from dl4cv.evidence import ClaimError, claim, claims, record
from myst_nb.core.variables import format_plain_text


@pytest.fixture
def shown(monkeypatch):
    """What was displayed: a list of (mime bundle, metadata)."""
    seen = []
    monkeypatch.setattr(
        claims, "display", lambda data, raw, metadata=None: seen.append((data, metadata))
    )
    return seen


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
    assert quoted(data) == "92.3 %"
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
    assert glued == {"a/b": "92.0 %", "a/b/spread": "2.0 %"}


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
        ("seconds", 1.2345, "1.23 s"),
        ("milliseconds", 12.345, "12.3 ms"),
        ("ratio", 53.21, "53.2×"),
        ("count", 60000, "60,000"),
        ("nats", 87.65, "87.7 nats"),
        ("number", 1e-9, "1e-09"),
    ],
)
def test_units_read_well(unit, value, text):
    assert claims.UNITS[unit](value) == text
