"""A computational graph as a drawing: inputs above, the result below, values and gradients."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from matplotlib.figure import Figure
from torch import Tensor

from dl4cv.autograd import Variable
from dl4cv.plotting.style import COLORS, figure


def draw_graph(
    result: Variable, names: Mapping[Variable, str], *, row_height: float = 0.8
) -> Figure:
    """Draw what ``result`` was made from.

    Each box holds a name or an operation, the value (of an array, the shape), and below it, in
    colour, the gradient once ``backward`` was called.

    Args:
        result: the variable at the bottom.
        names: what to call the variables that have a name.
        row_height: of one row of boxes in inches.
    """
    nodes = result.graph()
    level, place = _layout(nodes)
    fig, ax = figure(height=row_height * (level[result] + 1))
    for node in nodes:
        for parent, _ in node.parents:
            ax.annotate(
                "",
                (place[node], -level[node] + 0.28),
                (place[parent], -level[parent] - 0.28),
                arrowprops={"arrowstyle": "->", "color": "#888888", "shrinkA": 0, "shrinkB": 0},
            )
        at = (place[node], -level[node])
        head = " = ".join(part for part in (names.get(node, node.op), _text(node.data)) if part)
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "#888888"}
        below = "" if node.grad is None else f"\n{_text(node.grad)}"
        ax.text(*at, head + below, ha="center", va="center", color="none", bbox=box, size=8.5)
        ax.text(*at, head + ("\n" if below else ""), ha="center", va="center", size=8.5, zorder=4)
        if below:
            ax.text(*at, below, ha="center", va="center", size=8.5, color=COLORS[1], zorder=4)
    ax.set(
        xlim=(min(place.values()) - 0.6, max(place.values()) + 0.6),
        ylim=(-level[result] - 0.5, 0.5),
    )
    ax.axis("off")
    return fig


def _layout(nodes: list[Variable]) -> tuple[dict[Variable, int], dict[Variable, float]]:
    """Return each node's row, counted from the top, and its place in the row."""
    children: defaultdict[Variable, list[Variable]] = defaultdict(list)
    level: dict[Variable, int] = {}
    for node in nodes:
        level[node] = max((level[parent] + 1 for parent, _ in node.parents), default=0)
        for parent, _ in node.parents:
            children[parent].append(node)
    rows: defaultdict[int, list[Variable]] = defaultdict(list)
    for node in nodes:
        if not node.parents and node in children:
            level[node] = min(level[child] for child in children[node]) - 1  # right above its use
        rows[level[node]].append(node)
    place: dict[Variable, float] = {}
    for _, row in sorted(rows.items(), reverse=True):
        # Each wants to stand above what it is used for; neighbours keep one unit of distance.
        wish = {
            node: sum(place[child] for child in children[node]) / max(len(children[node]), 1)
            for node in row
        }
        row.sort(key=wish.__getitem__)
        at = [wish[row[0]]]
        for _, node in pairwise(row):
            at.append(max(wish[node], at[-1] + 1))
        drift = sum(at) / len(at) - sum(wish.values()) / len(row)
        place |= {node: x - drift for node, x in zip(row, at, strict=True)}
    return level, place


def _text(value: Tensor) -> str:
    return f"{value.item():.3g}" if value.numel() == 1 else " × ".join(map(str, value.shape))
