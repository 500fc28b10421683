"""Where a chapter's seconds go, told from its cells' times and outputs."""

import re
from collections.abc import Iterable

import nbformat

from dl4cv.book.execution import Execution

#: The line of a training in this run; its evaluations are part of its seconds.
_TRAINED = re.compile(
    r"^\[run\] \S+: trained now in ([\d.]+) s(?:.*?\bevaluation ([\d.]+) s)?", re.MULTILINE
)
_IMPORTS = re.compile(r"^(?:import|from) (?:torch|dl4cv)\b", re.MULTILINE)

#: How many of the dearest cells are listed.
DEAREST = 10


def split(made: Execution) -> dict[str, float]:
    """Return a chapter's seconds by what they went into; the sum is all of them.

    ``import`` is the start of the kernel and the page's first cells, down to the one that imports
    PyTorch or the package; they load data too. ``training`` and ``evaluation`` are what ``fit``
    says of runs that were trained now. The rest of a cell that shows a picture is ``drawing``:
    computing what it shows, drawing and encoding it. What is left is ``other``.
    """
    spent = {"training": 0.0, "evaluation": 0.0, "drawing": 0.0, "import": made.start}
    importing = True
    for index, seconds in made.cells.items():
        cell = made.notebook.cells[index]
        training, evaluation = _trained(cell)
        # A run that was resumed counts seconds of an earlier build.
        evaluation = min(evaluation, seconds)
        training = min(training, seconds - evaluation)
        spent["training"] += training
        spent["evaluation"] += evaluation
        if importing or _draws(cell):
            spent["import" if importing else "drawing"] += seconds - training - evaluation
        importing = importing and not _IMPORTS.search(cell.source)
    spent["other"] = made.seconds - sum(spent.values())
    return {kind: round(seconds, 2) for kind, seconds in spent.items()}


def dearest(made: Execution) -> list[dict]:
    """Return the cells that took longest: their number, first line of code and seconds."""
    return most(
        {
            "cell": number,
            "line": made.notebook.cells[index].source.partition("\n")[0],
            "seconds": round(seconds, 2),
        }
        for number, (index, seconds) in enumerate(made.cells.items(), start=1)
    )


def most(cells: Iterable[dict]) -> list[dict]:
    """Return the dearest of ``cells``, the dearest first."""
    return sorted(cells, key=lambda cell: cell["seconds"], reverse=True)[:DEAREST]


def _trained(cell: nbformat.NotebookNode) -> tuple[float, float]:
    """Return the seconds of training and of evaluation that a cell's run lines report."""
    training = evaluation = 0.0
    for out in cell.outputs:
        for run in _TRAINED.finditer(out.text if out.output_type == "stream" else ""):
            evaluated = float(run[2] or 0)
            training += float(run[1]) - evaluated
            evaluation += evaluated
    return training, evaluation


def _draws(cell: nbformat.NotebookNode) -> bool:
    return any(kind.startswith("image/") for out in cell.outputs for kind in out.get("data", ()))
