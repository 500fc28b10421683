"""The cache that hands executed chapters to Sphinx and notebooks, and keeping it up to date."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract

from dl4cv.book import costs, fingerprint
from dl4cv.book.chapters import Chapter
from dl4cv.book.execution import Execution, execute_all, outputs

RUN_LINE = re.compile(r"^\[run\] \S+: .*$", re.MULTILINE)
_TRAINED = re.compile(r"\[run\] \S+: [^\"\n]*?trained (?:now )?in ([\d.]+) s")


@dataclass
class ChapterReport:
    """What the build did with one chapter, as it stands in ``build-report.json``."""

    state: str
    seconds: float
    cells: int
    peak_mib: float
    split: dict[str, float] = field(default_factory=dict)
    because: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    dearest_cells: list[dict] = field(default_factory=list)


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

    def latest(self) -> dict[str, tuple[str, dict]]:
        """Return, for each source, when it was last run and the data that was kept with it."""
        records = sorted(self._cache.list_cache_records(), key=lambda record: record.created)
        return {str(each.uri): (str(each.created), dict(each.data)) for each in records}  # pyright: ignore


def refresh(
    chapters: Sequence[Chapter], cache: OutputCache, root: Path
) -> dict[Chapter, tuple[nbformat.NotebookNode, ChapterReport]]:
    """Return the executed chapters, in order: those that nothing changed for from the cache.

    The others run, the dearest first.

    Raises:
        ChapterError: if cells failed; what the other chapters gave is kept nevertheless.
    """
    now = {chapter: fingerprint.of_chapter(chapter.source, root) for chapter in chapters}
    done, stale = {}, {}
    for chapter in chapters:
        notebook, data = cache.get(chapter) or (None, {})
        before = data.get("fingerprint", {})
        if notebook is None:
            stale[chapter] = ["its cells"]
        elif before == now[chapter]:
            report = ChapterReport(**{**data["report"], "state": "cached", "because": []})
            done[chapter] = notebook, report
        else:
            parts = sorted(before.keys() | now[chapter].keys())
            stale[chapter] = [key for key in parts if before.get(key) != now[chapter].get(key)]

    def keep(chapter: Chapter, made: Execution) -> None:
        report = ChapterReport(
            state="executed",
            seconds=round(made.seconds, 2),
            cells=len(made.cells),
            peak_mib=round(made.peak_mib),
            split=costs.split(made),
            because=stale[chapter],
            runs=RUN_LINE.findall("".join(out.get("text", "") for out in outputs(made.notebook))),
            dearest_cells=costs.dearest(made),
        )
        # What was edited while it ran may or may not be in the outputs: it has to run again.
        same = fingerprint.of_chapter(chapter.source, root) == now[chapter]
        kept = {"fingerprint": now[chapter] if same else {}, "report": asdict(report)}
        cache.put(chapter, made, kept)
        done[chapter] = made.notebook, report

    execute_all(
        {
            chapter: f"{chapter.name}: running, since {_shortened(stale[chapter])} changed"
            for chapter in dearest_first(stale, cache)
        },
        keep,
    )
    return {chapter: done[chapter] for chapter in chapters}


def dearest_first(chapters: Iterable[Chapter], cache: OutputCache) -> list[Chapter]:
    """Return ``chapters`` by what they cost when they last ran, so that a long one ends no build.

    One that never ran here counts three seconds a cell and the trainings in its sibling notebook.
    """
    latest = cache.latest()

    def seconds(chapter: Chapter) -> float:
        _, data = latest.get(str(chapter.source), ("", {}))
        if "report" in data:
            return data["report"]["seconds"]
        sibling = chapter.notebook.read_text("utf-8") if chapter.notebook.exists() else ""
        cells = sum(cell.cell_type == "code" for cell in chapter.read().cells)
        return 3 * cells + sum(map(float, _TRAINED.findall(sibling)))

    return sorted(chapters, key=seconds, reverse=True)


def _shortened(parts: Iterable[str], most: int = 3) -> str:
    parts = list(parts)
    rest = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + rest
