"""Charts that the chapters draw again and again: bars, tables of numbers, curves with intervals."""

import math
from collections.abc import Callable, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dl4cv.plotting.style import figure


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    unit: str,
    errors: Sequence[float] | None = None,
    log: bool = False,
) -> Axes:
    """Draw horizontal bars, the first on top, in a figure of their own.

    Args:
        labels: of the bars.
        values: their lengths.
        unit: what the axis says, such as ``milliseconds``.
        errors: half the length of each bar's error bar.
        log: whether the axis is logarithmic.

    Raises:
        ValueError: if there is not one finite value (and error) for each label, or one is not above
            0 on a logarithmic axis.
    """
    lengths, half = _numbers("values", values), _numbers("errors", errors or [])
    if not labels or len(labels) != len(lengths) or len(half) not in (0, len(labels)):
        raise ValueError(
            f"{len(labels)} labels, {len(lengths)} values and {len(half)} errors; "
            "expected as many values as labels, and as many errors or none"
        )
    if log and lengths.min() <= 0:
        raise ValueError(f"the least value is {lengths.min():g}; expected above 0 for log=True")
    _, ax = figure(height=0.6 + 0.3 * len(labels))
    error_bars = {"xerr": half.tolist(), "capsize": 3} if len(half) else {}
    ax.barh(range(len(labels)), lengths.tolist(), **error_bars)
    ax.set_yticks(range(len(labels)), labels)
    if log:
        # From the power of ten below the least bar, so that it can be seen, to the one above.
        low, high = math.ceil(lengths.min().log10()) - 1, math.ceil(lengths.max().log10())
        ticks = [10.0**power for power in range(low, max(high, low + 1) + 1)]
        ax.set(xscale="log", xlim=(ticks[0], max(ticks[-1], 1.1 * float(lengths.max()))))
        ax.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    ax.set(xlabel=unit)
    ax.invert_yaxis()
    ax.set_axisbelow(True)
    ax.grid(False, axis="y")
    return ax


def heat_map(
    ax: Axes,
    table: Tensor | Sequence[Sequence[float]],
    fmt: Callable[[float], str],
    *,
    rows: Sequence[object] = (),
    columns: Sequence[object] = (),
    size: float = 9,
    cmap: str = "viridis",
    **keywords,
) -> None:
    """Draw a table as colours with its numbers on them, black on light cells and white on dark.

    Args:
        ax: where.
        table: (R, C).
        fmt: what each number reads as, such as ``"{:.1f}".format``; an empty string is not shown.
        rows: names of the rows.
        columns: names of the columns.
        size: of the numbers, in points.
        cmap: the colour map.
        **keywords: passed to ``imshow``, such as ``vmin``, ``vmax`` and ``aspect``.

    Raises:
        ValueError: if ``table`` is no table of finite numbers.
    """
    table = torch.as_tensor(table).detach().cpu()
    if table.ndim != 2 or not table.numel() or not table.isfinite().all():
        raise ValueError(f"table has shape {tuple(table.shape)}; expected (R, C), finite numbers")
    picture = ax.imshow(table.numpy(), cmap=cmap, **keywords)
    for y, line in enumerate(table.tolist()):
        for x, value in enumerate(line):
            red, green, blue, _ = picture.to_rgba(value)
            light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
            color = "black" if light else "white"
            ax.text(x, y, fmt(value), ha="center", va="center", color=color, size=size)
    ax.set_xticks(range(len(columns)), [str(name) for name in columns])
    ax.set_yticks(range(len(rows)), [str(name) for name in rows])
    ax.grid(False)


def curve(
    ax: Axes,
    x: Sequence[float] | Tensor,
    values: Sequence | Tensor,
    low: Sequence[float] | Tensor | None = None,
    high: Sequence[float] | Tensor | None = None,
    **keywords,
) -> None:
    """Draw a line with the band of its interval.

    Args:
        ax: where.
        x: (X,).
        values: (X,), the line; or (S, X), one row for each of two seeds or more: then the line is
            their mean, and the band its 95 % interval by Student's t distribution.
        low: (X,), lower end of the band, if ``values`` is a line.
        high: (X,), upper end of the band.
        **keywords: passed to ``plot``, such as ``label``.

    Raises:
        ValueError: if the shapes do not fit.
    """
    # Imported here: most figures have no interval, and SciPy takes a while.
    from scipy.special import stdtrit

    x, line = _numbers("x", x), torch.as_tensor(values).detach().cpu().double()
    band = None if low is None or high is None else (_numbers("low", low), _numbers("high", high))
    if line.ndim == 2 and len(line) >= 2 and band is None:
        margin = float(stdtrit(len(line) - 1, 0.975)) * line.std(0) / len(line) ** 0.5
        line = line.mean(0)
        band = line - margin, line + margin
    if any(part.shape != x.shape for part in (line, *(band or ()))):
        raise ValueError(
            f"x has shape {tuple(x.shape)} and values {tuple(torch.as_tensor(values).shape)}; "
            "expected (X,) and (X,), with low and high of (X,) or without; or (S, X), S at least 2"
        )
    (drawn,) = ax.plot(x, line, **keywords)
    if band:
        ax.fill_between(x, *band, color=drawn.get_color(), alpha=0.2, linewidth=0)


def legend(fig: Figure, *, columns: int = 2) -> None:
    """Put one legend below all axes of a figure; a label that occurs in several is shown once."""
    shown = {}
    for ax in fig.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    fig.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=columns)


def _numbers(name: str, values: Sequence[float] | Tensor) -> Tensor:
    """Return ``values`` as float64 (N,), after checking that they are finite."""
    found = torch.as_tensor(values, dtype=torch.float64).detach().cpu()
    if found.ndim != 1 or not found.isfinite().all():
        raise ValueError(f"{name} has shape {tuple(found.shape)}; expected (N,), finite numbers")
    return found
