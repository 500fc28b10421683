"""The sibling notebooks: what Binder and Colab open, and what nbval compares a run against.

A sibling holds the chapter as `export` writes it and, of its outputs, the text alone. Pictures are
made again by whoever runs it, and nbval could only compare them byte for byte.
"""

from collections.abc import Callable
from pathlib import Path

import nbformat

from dl4cv import storage
from dl4cv.book import export, references
from dl4cv.book.chapters import ROOT, Chapter, chapters
from dl4cv.book.outputs import OutputCache, refresh
from dl4cv.book.references import References
from dl4cv.evidence.claims import MIME_TYPE


def write_all(root: Path = ROOT) -> list[Path]:
    """Write every chapter's sibling from its executed cells; return those that changed.

    Raises:
        ExportError: if a page holds what a notebook cannot show.
    """
    changed = []
    known = references.read(root)
    for chapter, (executed, _) in refresh(chapters(root), OutputCache(root), root).items():
        if write(chapter.notebook, executed_as(chapter, executed, known, text_only, root)):
            changed.append(chapter.notebook)
    return changed


def executed_as(
    chapter: Chapter,
    executed: nbformat.NotebookNode,
    known: References,
    wanted: Callable[[str], bool],
    root: Path = ROOT,
) -> nbformat.NotebookNode:
    """Return the notebook of ``chapter`` with the executed outputs of the ``wanted`` MIME types."""
    notebook = export.notebook(chapter, known, export.values(executed), root)
    install, *code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    install.execution_count = 1
    ran = [cell for cell in executed.cells if cell.cell_type == "code"]
    for cell, with_outputs in zip(code, ran, strict=True):
        cell.execution_count = with_outputs.execution_count + 1
        outputs = (_only(output, wanted) for output in with_outputs.outputs)
        cell.outputs = [output for output in outputs if output]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count
    return notebook


def text_only(kind: str) -> bool:
    """Return whether a MIME type is that of plain text."""
    return kind == "text/plain"


def visible(kind: str) -> bool:
    """Return whether a MIME type is meant for readers and not for the build."""
    return kind not in (MIME_TYPE, export.GLUE)


def problems(
    chapter: Chapter, known: References, root: Path = ROOT, least_compared: int = 3
) -> list[str]:
    """Return what is wrong with a sibling: missing, stale, not executed, or comparing nothing.

    Nothing is run to find out. The sibling is made again from the sources with the measured values
    that it keeps in its metadata, so a figure that another machine measured is no difference.
    """
    name = chapter.notebook.name
    if not chapter.notebook.exists():
        return [f"{name} is missing; run `make notebooks`"]
    found = nbformat.read(chapter.notebook, as_version=4)
    try:
        wanted = export.notebook(
            chapter, known, found.metadata.get("dl4cv", {}).get("quoted", {}), root
        )
    except export.ExportError as error:
        return [f"{name} is stale; run `make notebooks` ({error})"]
    if _content(found) != _content(wanted):
        return [f"{name} is stale; run `make notebooks`"]
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    wrong = []
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        wrong.append(f"{name} was not executed from top to bottom")
    compared = sum(bool(cell.outputs) for cell in code)
    if compared < least_compared:
        wrong.append(f"{name} compares {compared} cells; expected {least_compared}")
    return wrong


def write(path: Path, notebook: nbformat.NotebookNode) -> bool:
    """Write a notebook unless the file holds it already; return whether it was written."""
    text = (nbformat.v4.writes(notebook) + "\n").encode()
    if path.exists() and path.read_bytes() == text:
        return False
    storage.write_atomically(path, text)
    return True


def _content(notebook: nbformat.NotebookNode) -> tuple:
    cells = [(cell.cell_type, cell.source, cell.metadata) for cell in notebook.cells]
    return notebook.metadata, cells


def _only(
    output: nbformat.NotebookNode, wanted: Callable[[str], bool]
) -> nbformat.NotebookNode | None:
    if output.output_type == "stream":
        return output
    data = {kind: content for kind, content in output.data.items() if wanted(kind)}
    if not data:
        return None
    metadata = {kind: how for kind, how in output.metadata.items() if kind in data}
    return nbformat.NotebookNode(output | {"data": data, "metadata": metadata})
