"""Comparisons in pairs: two ways run with the same seeds, and what their difference proves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Literal

from dl4cv import budgets
from dl4cv.evidence import claims

Verdict = Literal["better", "worse", "we cannot tell"]


@dataclass(frozen=True)
class Comparison:
    """The mean of paired differences a − b and its 95 % interval.

    Attributes:
        difference: the mean.
        low: lower end of the interval.
        high: upper end of the interval.
        seeds: how many pairs there are.
        better: whether ``higher`` or ``lower`` values are better.
    """

    difference: float
    low: float
    high: float
    seeds: int
    better: Literal["higher", "lower"]

    @property
    def verdict(self) -> Verdict:
        """Whether a is ``better`` or ``worse`` than b, or ``we cannot tell``: 0 is possible."""
        if self.low <= 0 <= self.high:
            return "we cannot tell"
        return "better" if (self.low > 0) == (self.better == "higher") else "worse"

    @property
    def hidden(self) -> float:
        """The largest effect, either way, that the interval allows."""
        return max(abs(self.low), abs(self.high))


def paired(
    a: Sequence[float], b: Sequence[float], *, better: Literal["higher", "lower"] = "higher"
) -> Comparison:
    """Return the mean difference of pairs and its 95 % interval by Student's t distribution.

    Args:
        a: one value for each seed.
        b: the other way's, for the same seeds in the same order.
        better: which values are better.

    Raises:
        ValueError: if there are not equally many values, fewer than two, one is not finite, or
            ``better`` is unknown.

    Source: Student, "The Probable Error of a Mean" (1908).
    """
    # Imported here, so that the build can import this package without waiting for SciPy.
    from scipy.special import stdtrit

    if better not in ("higher", "lower"):
        raise ValueError(f"better is {better!r}; expected 'higher' or 'lower'")
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(
            f"a has {len(a)} values and b has {len(b)}; expected one for each seed in both, and "
            "two seeds or more"
        )
    differences = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    if not all(map(math.isfinite, differences)):
        raise ValueError(f"the differences are {differences}; expected finite values in a and b")
    middle, count = mean(differences), len(differences)
    margin = float(stdtrit(count - 1, 0.975)) * stdev(differences) / math.sqrt(count)
    return Comparison(middle, middle - margin, middle + margin, count, better)


def compare(
    name: str,
    a: Sequence[float],
    b: Sequence[float],
    *,
    unit: str,
    better: Literal["higher", "lower"] = "higher",
    enforce: Literal["better", "worse"] | None = None,
) -> None:
    """Print whether a is better than b, and let the prose quote the difference and its interval.

    The prose quotes ``name/difference``, ``name/low`` and ``name/high``; differences of fractions
    are in percentage points. Where we cannot tell, ``name/hidden`` is the largest effect, either
    way, that the interval allows.

    Args:
        name: as for ``claim``.
        a: one value for each seed.
        b: the other way's, for the same seeds in the same order.
        unit: of the values, a key of ``claims.UNITS``.
        better: whether ``higher`` or ``lower`` values are better.
        enforce: the verdict that the book promises; it then enters the ledger as a claim.

    Raises:
        ClaimError: if the verdict is not the one that ``enforce`` names (not at ``smoke``).
        ValueError: if the values are not paired, as ``paired`` says, or a setting is unknown.
    """
    claims.check_unit(name, unit)
    if enforce not in (None, "better", "worse"):
        raise ValueError(f"enforce is {enforce!r}; expected 'better', 'worse' or None")
    found = paired(a, b, better=better)
    unit = "points" if unit == "fraction" else unit
    quoted = {"difference": found.difference, "low": found.low, "high": found.high}
    figures = f"{found.difference:.3g}, 95 % interval {found.low:.3g} to {found.high:.3g}"
    figures += f", {found.seeds} seeds"
    if found.verdict == "we cannot tell":
        quoted["hidden"] = found.hidden
        figures += f", up to {found.hidden:.3g} either way could hide"
    holds = enforce is None or found.verdict == enforce
    if not holds and budgets.current_budget() is not budgets.Budget.SMOKE:
        raise claims.ClaimError(
            f"{name}: a − b was claimed {enforce}, but {found.verdict}: {figures}"
        )
    verdict = found.verdict + ("" if holds else ", not enforced at smoke")
    line = f"{name}: a − b: {verdict} ({figures})"
    if enforce is None:
        print(line)
    else:
        above = (enforce == "better") == (better == "higher")
        claims.enter(
            line,
            name=f"{name}/{'low' if above else 'high'}",
            value=found.low if above else found.high,
            unit=unit,
            at_least=0.0 if above else None,
            at_most=None if above else 0.0,
            holds=holds,
            seeds=found.seeds,
            spread=0.0,
        )
    claims.record(name, quoted, unit=unit)
