"""Claims: the numbers that the prose quotes, each measured by the run and held to a band."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

from IPython.display import display

from dl4cv import budgets

MIME_TYPE = "application/vnd.dl4cv.claim+json"

#: How a value of each unit reads in the prose. A no-break space keeps number and unit on one line.
UNITS = {
    "fraction": lambda value: f"{100 * value:.1f}\u00a0%",
    "points": lambda value: f"{100 * value:.2f}\u00a0points",  # of a percentage: a difference
    "seconds": lambda value: f"{value:.3g}\u00a0s",
    "milliseconds": lambda value: f"{value:.3g}\u00a0ms",
    "ratio": lambda value: f"{float(f'{value:.3g}'):,g}×",
    "count": lambda value: f"{value:,.0f}",
    "nats": lambda value: f"{value:.3g}\u00a0nats",
    "number": lambda value: f"{value:.3g}",
}


class ClaimError(AssertionError):
    """A measured value fell outside the band that the book promises."""


@dataclass(frozen=True)
class Claim:
    """One measured number and its band: an entry of ``claims.json``."""

    name: str
    value: float
    unit: str
    at_least: float | None
    at_most: float | None
    holds: bool
    seeds: int
    spread: float
    peak_mib: float
    device: str
    budget: str
    n: int | None = None
    standard_error: float | None = None
    seconds: float | None = None
    trained_now: bool | None = None


def value_text(entry: Mapping[str, Any]) -> str:
    """Return a claim's value as the prose shows it, with its spread and its standard error."""
    text = UNITS[entry["unit"]](entry["value"])
    if entry.get("spread"):
        text += f" ± {UNITS[entry['unit']](entry['spread'])}"
    if entry.get("standard_error") is not None:
        text += f", standard error {UNITS['points'](entry['standard_error'])}"
    return text


def band_text(entry: Mapping[str, Any], show: Callable[[float], str] | None = None) -> str:
    """Return a claim's band, such as ``≥ 92.0 %``: in its own unit unless ``show`` is given."""
    show = show or UNITS[entry["unit"]]
    sides = (("≥", entry.get("at_least")), ("≤", entry.get("at_most")))
    return " and ".join(f"{sign} {show(bound)}" for sign, bound in sides if bound is not None)


def standard_error(p: float, n: int) -> float:
    """Return the standard error √(p(1 − p)/n) of a proportion ``p`` measured on ``n`` images.

    Raises:
        ValueError: if ``p`` is not in [0, 1] or ``n`` is below 1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p is {p}; expected a proportion, 0 to 1")
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1")
    return math.sqrt(p * (1 - p) / n)


def claim(
    name: str,
    value: float | Sequence[float],
    *,
    unit: str,
    at_least: float | None = None,
    at_most: float | None = None,
    n: int | None = None,
    seconds: float | None = None,
    trained_now: bool | None = None,
) -> None:
    """Hold ``value`` to a band, print the verdict, and let the prose quote it.

    The prose quotes the value by ``{glue:text}`` and its name; several seeds are quoted as their
    mean. ``name/spread`` is the sample standard deviation over seeds, ``name/se`` the standard
    error of a proportion on n images, in percentage points.

    Args:
        name: ``chapter/what`` or ``chapter/data/what``; unique in the book.
        value: the measurement, or one for each seed; then *every* seed must lie in the band.
        unit: a key of ``UNITS``.
        at_least: lower end of the band, inclusive.
        at_most: upper end of the band, inclusive.
        n: on how many images a fraction was measured (by each seed, if there are several).
        seconds: what the measurement cost, if it was timed.
        trained_now: whether the model behind it was trained in this run; None if there is none.

    Raises:
        ClaimError: if a value is outside the band (not at the ``smoke`` budget).
        ValueError: if the unit is unknown, no bound is given, there is no value, or ``n`` is given
            for another unit than a fraction.
    """
    values = _values(name, value, unit)
    if at_least is None and at_most is None:
        raise ValueError(f"claim {name!r} has no band; give at_least, at_most or both")
    if n is not None and unit != "fraction":
        raise ValueError(f"n is {n} for unit {unit!r} of {name!r}; expected unit 'fraction'")

    def within(v: float) -> bool:
        # Written so that NaN is outside every band.
        return (at_least is None or v >= at_least) and (at_most is None or v <= at_most)

    middle, holds = mean(values), all(within(v) for v in values)
    band = band_text({"at_least": at_least, "at_most": at_most}, "{:g}".format)
    figures = ", ".join(f"{v:.4g}" for v in values)
    if not holds and budgets.current_budget() is not budgets.Budget.SMOKE:
        raise ClaimError(f"{name} was claimed {band}, but measured {figures}")
    error = None
    if n is not None and not math.isnan(middle):
        error = standard_error(middle, n)
        figures += f"{', each' if len(values) > 1 else ''} ± {error:.2g} standard error"
    verdict = "yes" if holds else "no, not enforced at smoke"
    enter(
        f"{name} {band}: {verdict} ({figures})",
        name=name,
        value=middle,
        unit=unit,
        at_least=at_least,
        at_most=at_most,
        holds=holds,
        seeds=len(values),
        spread=stdev(values) if len(values) > 1 else 0.0,
        n=n,
        standard_error=error,
        seconds=seconds,
        trained_now=trained_now,
    )
    record(name, values, unit=unit)
    if error is not None:
        record(f"{name}/se", error, unit="points")


def enter(line: str, **entry: Any) -> None:
    """Print ``line`` and enter a ``Claim`` in the ledger, with the machine that measured it."""
    # Imported here, so that the build can import this module without waiting for PyTorch.
    from dl4cv import runtime

    device = runtime.device()
    made = Claim(
        **entry,
        peak_mib=runtime.peak_mib(device),
        device=device.type,
        budget=budgets.current_budget(),
    )
    display({"text/plain": line, MIME_TYPE: asdict(made)}, raw=True)


def record(
    name: str,
    value: float | Sequence[float] | Mapping[str, float | Sequence[float]],
    *,
    unit: str | Mapping[str, str],
) -> None:
    """Let the prose quote ``value`` by ``{glue:text}`` and ``name``, without a band.

    For numbers that depend on the machine alone, or that follow from claimed ones.

    Args:
        name: as for ``claim``.
        value: the number, or one for each seed, quoted as ``claim`` does; or a mapping of
            suffixes to these, each quoted as ``name/suffix``.
        unit: a key of ``UNITS``; for a mapping also one for each suffix.

    Raises:
        ValueError: if a unit is missing or unknown, or there is no value.
    """
    if isinstance(value, Mapping):
        units = dict.fromkeys(value, unit) if isinstance(unit, str) else unit
        if value.keys() != units.keys() or not value:
            raise ValueError(
                f"{name!r} has values for {sorted(value)} and units for {sorted(units)}; "
                "expected the same suffixes, at least one"
            )
        every = {f"{name}/{suffix}": (v, units[suffix]) for suffix, v in value.items()}
    elif isinstance(unit, str):
        every = {name: (value, unit)}
    else:
        raise ValueError(f"unit of {name!r} is a mapping; expected one unit for one value")
    checked = {name: (_values(name, v, unit), unit) for name, (v, unit) in every.items()}
    for name, (values, unit) in checked.items():
        _quotable(name, mean(values), unit)
        if len(values) > 1:
            _quotable(f"{name}/spread", stdev(values), unit)


def check_unit(name: str, unit: str) -> None:
    """Raise a ValueError that lists the units if ``unit`` is none of them."""
    if unit not in UNITS:
        raise ValueError(f"unit of {name!r} is {unit!r}; expected one of: {', '.join(UNITS)}")


def _values(name: str, value: float | Sequence[float], unit: str) -> list[float]:
    check_unit(name, unit)
    values = [float(v) for v in value] if isinstance(value, Sequence) else [float(value)]
    if not values:
        raise ValueError(f"{name!r} has no value; expected a number or one for each seed")
    return values


def _quotable(name: str, value: float, unit: str) -> None:
    # What myst_nb.glue emits; written out so that Binder need not install Sphinx. It is read as a
    # literal, hence the quotes: without them, 2,000 would be a tuple.
    mime = "application/papermill.record/text/plain"
    display(
        {mime: repr(UNITS[unit](value))},
        raw=True,
        metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
    )
