"""Running a chapter's cells, and the cache that hands their outputs to Sphinx and notebooks."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from dl4cv.book import fingerprint
from dl4cv.book.chapters import Chapter

#: The longest that one cell may run, in seconds: far more than any needs, for slow machines too.
CELL_TIMEOUT = 900

RUN_LINE = re.compile(r"^\[run\] \S+: .*$", re.MULTILINE)

PEAK_MEMORY = "from dl4cv import runtime\nprint(runtime.peak_mib(runtime.device()))"


class ChapterError(Exception):
    """A cell of a chapter failed; the message names the chapter, the cell and what it raised."""


@dataclass(frozen=True)
class Execution:
    """A chapter with its outputs, and what they cost."""

    notebook: nbformat.NotebookNode
    seconds: float
    peak_mib: float


@dataclass
class ChapterReport:
    """What the build did with one chapter, as it stands in ``build-report.json``."""

    state: str
    seconds: float
    cells: int
    peak_mib: float
    because: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


def execute(
    chapter: Chapter,
    progress: Callable[[int, int], None],
    environment: Mapping[str, str] = os.environ,
) -> Execution:
    """Run every cell of ``chapter`` in a fresh kernel, in the chapter's folder.

    Args:
        chapter: what to run.
        progress: called as each cell starts, with its number and the number of all cells.
        environment: the environment variables of the kernel.

    Raises:
        ChapterError: if a cell raises or runs for longer than ``CELL_TIMEOUT``.
    """
    notebook = chapter.read()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    probe = nbformat.v4.new_code_cell(PEAK_MEMORY)
    notebook.cells.append(probe)
    started = 0

    def count(cell: nbformat.NotebookNode, **_) -> None:
        nonlocal started
        if cell is not probe:
            started += 1
            progress(started, len(code))

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(chapter.source.parent)}},
        on_cell_execute=count,
        record_timing=False,  # timings in the cells' metadata would change the cache's key
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns of TCP at every start
    )
    began = time.perf_counter()
    try:
        client.execute(env=dict(environment))
    except CellExecutionError as error:
        raise ChapterError(
            f"{chapter.name}: cell {started} of {len(code)} failed\n{error}"
        ) from None
    except TimeoutError:
        raise ChapterError(
            f"{chapter.name}: cell {started} of {len(code)} ran for over {CELL_TIMEOUT} s"
        ) from None
    seconds = time.perf_counter() - began
    notebook.cells.remove(probe)
    return Execution(notebook, seconds, float(probe.outputs[0].text))


class OutputCache:
    """The executed chapters, keyed as Sphinx looks them up, each with its fingerprint."""

    def __init__(self, root: Path) -> None:
        self._cache: JupyterCacheAbstract = get_cache(root / "_build" / ".jupyter_cache")

    def put(self, chapter: Chapter, execution: Execution, data: dict) -> None:
        """Keep an executed chapter, with what the build wants to know of it later."""
        bundle = CacheBundleIn(execution.notebook, str(chapter.source), data=data)
        self._cache.cache_notebook_bundle(bundle, overwrite=True)

    def get(self, chapter: Chapter) -> tuple[nbformat.NotebookNode, dict] | None:
        """Return the chapter with outputs and the data kept with it, or None if it is not here."""
        try:
            key, notebook = self._cache.merge_match_into_notebook(chapter.read())
        except KeyError:
            return None
        return notebook, dict(self._cache.get_cache_record(key).data)  # pyright: ignore


def refresh(
    chapter: Chapter, cache: OutputCache, root: Path
) -> tuple[nbformat.NotebookNode, ChapterReport]:
    """Return the executed chapter: from the cache if nothing it reaches changed, else run anew."""
    now = fingerprint.of_chapter(chapter.source, root)
    found = cache.get(chapter)
    if found and found[1].get("fingerprint") == now.parts:
        report = ChapterReport(**{**found[1]["report"], "state": "cached", "because": []})
        return found[0], report
    because = _changes(found[1].get("fingerprint", {}), now.parts) if found else ["its cells"]
    print(f"{chapter.name}: running, since {_shortened(because)} changed", flush=True)

    def progress(done: int, total: int) -> None:
        if sys.stdout.isatty():
            print(f"\r  cell {done} of {total}", end="\n" if done == total else "", flush=True)

    made = execute(chapter, progress)
    report = ChapterReport(
        state="executed",
        seconds=round(made.seconds, 2),
        cells=sum(cell.cell_type == "code" for cell in made.notebook.cells),
        peak_mib=round(made.peak_mib),
        because=because,
        runs=[match.group(0) for match in RUN_LINE.finditer(_printed(made.notebook))],
    )
    cache.put(chapter, made, {"fingerprint": now.parts, "report": asdict(report)})
    # Sphinx does not see that outputs changed; without its doctree it reads the page again.
    doctree = root / "_build/.doctrees" / chapter.source.relative_to(root).with_suffix(".doctree")
    doctree.unlink(missing_ok=True)
    print(f"  {report.cells} cells in {report.seconds:.1f} s", flush=True)
    return made.notebook, report


def outputs(notebook: nbformat.NotebookNode) -> Iterable[nbformat.NotebookNode]:
    """Return every output of every cell in order."""
    return (out for cell in notebook.cells for out in cell.get("outputs", []))


def _printed(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(out.text for out in outputs(notebook) if out.output_type == "stream")


def _changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def _shortened(parts: Iterable[str], most: int = 3) -> str:
    parts = list(parts)
    rest = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + rest
