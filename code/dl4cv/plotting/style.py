"""One look for every figure: palette, font, sizes, and no background of its own.

A figure is drawn dark on transparent; the page inverts its lightness in dark mode and keeps the
hues. It is narrow with large type, so that it reads at the width of a phone.
"""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure

#: Okabe and Ito's palette (2008), told apart by colour-blind readers; yellow left out for contrast.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#b2458e", "#e69f00", "#56b4e9", "#4d4d4d")

STYLE: Any = {
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.bbox": "tight",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#bbbbbb",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.8,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
}


def figure(
    rows: int = 1, columns: int = 1, *, width: float = 4.8, height: float = 3.0, **keywords
) -> tuple[Figure, Any]:
    """Return a figure in the book's style and its axes (or their array), as ``plt.subplots`` does.

    Args:
        rows: rows of axes.
        columns: columns of axes.
        width: of the whole figure in inches; 4.8 leaves 10-point type legible on a phone.
        height: of the whole figure in inches.
        **keywords: passed to ``plt.subplots``.
    """
    mpl.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=(width, height), **keywords)
