"""The sibling notebooks: what Binder and Colab open, and what nbval compares a run against.

A sibling holds the chapter's cells and, of its outputs, the text alone. Pictures are made again by
whoever runs it, and nbval could only compare them byte for byte.
"""

from pathlib import Path

import jupytext
import nbformat

from dl4cv import storage
from dl4cv.book.chapters import ROOT, Chapter, chapters
from dl4cv.book.outputs import OutputCache, refresh


def write_all(root: Path = ROOT) -> list[Path]:
    """Write every chapter's sibling from its executed cells; return those that changed."""
    changed = []
    for chapter, (executed, _) in refresh(chapters(root), OutputCache(root), root).items():
        text = as_text(sibling(chapter, executed))
        if not chapter.notebook.exists() or chapter.notebook.read_text("utf-8") != text:
            storage.write_atomically(chapter.notebook, text.encode())
            changed.append(chapter.notebook)
    return changed


def sibling(chapter: Chapter, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook of ``chapter`` with the text outputs of its executed cells."""
    notebook = converted(chapter)
    outputs = iter(cell for cell in executed.cells if cell.cell_type == "code")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            ran = next(outputs)
            cell.execution_count = ran.execution_count
            cell.outputs = [text for out in ran.outputs if (text := text_only(out))]
    return notebook


def converted(chapter: Chapter) -> nbformat.NotebookNode:
    """Return the chapter as jupytext converts it: cells, tags and no outputs."""
    notebook = jupytext.read(chapter.source)
    notebook.metadata.pop("jupytext", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def text_only(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Return ``output`` with its plain text alone, or None if it has none."""
    if output.output_type == "stream":
        return output
    data = {kind: text for kind, text in output.data.items() if kind == "text/plain"}
    if not data:
        return None
    return nbformat.NotebookNode(output | {"data": data, "metadata": {}})


def problems(chapter: Chapter, least_compared: int = 3) -> list[str]:
    """Return what is wrong with a sibling: missing, stale, not executed, or comparing nothing."""
    if not chapter.notebook.exists():
        return [f"{chapter.notebook.name} is missing; run `make notebooks`"]
    found = nbformat.read(chapter.notebook, as_version=4)
    wanted = converted(chapter)
    key = [(cell.cell_type, cell.source, cell.metadata) for cell in wanted.cells]
    if [(cell.cell_type, cell.source, cell.metadata) for cell in found.cells] != key:
        return [f"{chapter.notebook.name} is stale; run `make notebooks`"]
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    wrong = []
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        wrong.append(f"{chapter.notebook.name} was not executed from top to bottom")
    compared = sum(bool(cell.outputs) for cell in code)
    if compared < least_compared:
        wrong.append(
            f"{chapter.notebook.name} compares {compared} cells; expected {least_compared}"
        )
    return wrong


def as_text(notebook: nbformat.NotebookNode) -> str:
    """Return the notebook as the text of its file."""
    return nbformat.v4.writes(notebook) + "\n"
