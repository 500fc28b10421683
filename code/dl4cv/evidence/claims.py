"""Claims: the numbers that the prose quotes, each measured by the run and held to a band."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev

from IPython.display import display

from dl4cv import budgets

MIME_TYPE = "application/vnd.dl4cv.claim+json"

#: How a value of each unit reads in the prose.
UNITS = {
    "fraction": lambda value: f"{100 * value:.1f} %",
    "seconds": lambda value: f"{value:.3g} s",
    "milliseconds": lambda value: f"{value:.3g} ms",
    "ratio": lambda value: f"{float(f'{value:.3g}'):,g}×",
    "count": lambda value: f"{value:,.0f}",
    "nats": lambda value: f"{value:.3g} nats",
    "number": lambda value: f"{value:.3g}",
}


class ClaimError(AssertionError):
    """A measured value fell outside the band that the book promises."""


@dataclass(frozen=True)
class Claim:
    """One measured number and its band, as it stands in ``claims.json``."""

    name: str
    value: float
    unit: str
    at_least: float | None
    at_most: float | None
    holds: bool
    seeds: int
    spread: float
    seconds: float | None
    peak_mib: float
    device: str
    budget: str
    trained_now: bool | None

    @property
    def band(self) -> str:
        """The band in signs, such as ``≥ 0.92`` or ``≥ 0.1 and ≤ 0.2``."""
        sides = [(sign, bound) for sign, bound in (("≥", self.at_least), ("≤", self.at_most))]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in sides if bound is not None)

    @property
    def text(self) -> str:
        """The value as the prose shows it, with its spread where several seeds were run."""
        return UNITS[self.unit](self.value)


def claim(
    name: str,
    value: float | Sequence[float],
    *,
    unit: str,
    at_least: float | None = None,
    at_most: float | None = None,
    seconds: float | None = None,
    trained_now: bool | None = None,
) -> None:
    """Hold ``value`` to a band, print the verdict, and let the prose quote it.

    The prose quotes the value by ``{glue:text}`` and its name; several seeds are quoted as their
    mean, and ``name/spread`` gives their sample standard deviation.

    Args:
        name: ``chapter/what`` or ``chapter/data/what``; unique in the book.
        value: the measurement, or one for each seed; then *every* seed must lie in the band.
        unit: a key of ``UNITS``.
        at_least: lower end of the band, inclusive.
        at_most: upper end of the band, inclusive.
        seconds: what the measurement cost, if it was timed.
        trained_now: whether the model behind it was trained in this run; None if there is none.

    Raises:
        ClaimError: if a value is outside the band (not at the ``smoke`` budget).
        ValueError: if the unit is unknown, no bound is given, or there is no value.
    """
    # Imported here, so that the build can import this module without waiting for PyTorch.
    from dl4cv import runtime

    values = _values(name, value, unit)
    if at_least is None and at_most is None:
        raise ValueError(f"claim {name!r} has no band; give at_least, at_most or both")

    def within(v: float) -> bool:
        # Written so that NaN is outside every band.
        return (at_least is None or v >= at_least) and (at_most is None or v <= at_most)

    made = Claim(
        name=name,
        value=mean(values),
        unit=unit,
        at_least=at_least,
        at_most=at_most,
        holds=all(within(v) for v in values),
        seeds=len(values),
        spread=stdev(values) if len(values) > 1 else 0.0,
        seconds=seconds,
        peak_mib=runtime.peak_mib(runtime.device()),
        device=runtime.device().type,
        budget=budgets.current_budget(),
        trained_now=trained_now,
    )
    enforced = budgets.current_budget() is not budgets.Budget.SMOKE
    figures = ", ".join(f"{v:.4g}" for v in values)
    if enforced and not made.holds:
        raise ClaimError(f"{name} was claimed {made.band}, but measured {figures}")
    verdict = "yes" if made.holds else "no, not enforced at smoke"
    line = f"{name} {made.band}: {verdict} ({figures})"
    display({"text/plain": line, MIME_TYPE: asdict(made)}, raw=True)
    record(name, values, unit=unit)


def record(name: str, value: float | Sequence[float], *, unit: str) -> None:
    """Let the prose quote ``value`` by ``{glue:text}`` and ``name``, without a band of its own.

    For numbers that depend on the machine alone, or that follow from claimed ones. Several seeds
    are quoted as ``claim`` does.

    Raises:
        ValueError: if the unit is unknown, or there is no value.
    """
    values = _values(name, value, unit)
    _quotable(name, mean(values), unit)
    if len(values) > 1:
        _quotable(f"{name}/spread", stdev(values), unit)


def _values(name: str, value: float | Sequence[float], unit: str) -> list[float]:
    if unit not in UNITS:
        raise ValueError(f"unit of {name!r} is {unit!r}; expected one of: {', '.join(UNITS)}")
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
