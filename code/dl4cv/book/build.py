"""Build the book: run the chapters that changed, gather their claims, and let Sphinx write it.

A page is run again exactly when its fingerprint changed. Chapters run side by side.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import nbformat
import yaml

from dl4cv import budgets, storage
from dl4cv.book import costs
from dl4cv.book.chapters import ROOT, Chapter, chapters
from dl4cv.book.execution import execute_all, outputs
from dl4cv.book.machine import machine
from dl4cv.book.outputs import ChapterReport, OutputCache, dearest_first, refresh
from dl4cv.evidence.claims import MIME_TYPE

REPORT = "_build/build-report.json"
#: What the pages were last written from; it is there only while they are whole.
WRITTEN = "_build/written.sha256"
VERSIONS = ("torch", "torchvision", "numpy", "matplotlib", "jupyter-book", "sphinx")


def build(root: Path = ROOT) -> None:
    """Make ``_build/html`` from the sources below ``root``, and say what was done.

    Raises:
        ChapterError: if a cell fails.
        SystemExit: if Sphinx finds anything to warn of.
        ValueError: if ``DL4CV_BUDGET`` names no budget, or ``JOBS`` is no number of jobs.
    """
    began = time.perf_counter()
    budget = budgets.current_budget()
    folder = root / "_build"
    done = refresh(chapters(root), OutputCache(root), root)
    reports = {chapter.name: report for chapter, (_, report) in done.items()}
    claims = [
        claim for chapter, (notebook, _) in done.items() for claim in claims_of(chapter, notebook)
    ]
    _write_json(folder / "claims.json", claims)
    executed = time.perf_counter() - began
    _write_report(root / REPORT, reports, budget)
    page, written, sources = folder / "html" / "index.html", root / WRITTEN, _sources(root)
    current = page.exists() and written.exists() and written.read_text() == sources
    if current and all(report.state == "cached" for report in reports.values()):
        print("pages: nothing changed")
    else:
        _sphinx(root)
        written.write_text(sources)
    _summary(reports, claims, executed, time.perf_counter() - began, page)


def build_chapter(chapter: Chapter, root: Path = ROOT) -> None:
    """Run one chapter if it changed and write its page; other chapters stay as they last ran.

    Raises:
        ChapterError: if a cell fails.
        SystemExit: if Sphinx stops; its warnings are shown alone.
        ValueError: if ``DL4CV_BUDGET`` names no budget, or ``JOBS`` is no number of jobs.
    """
    cache = OutputCache(root)
    refresh([chapter], cache, root)
    runs = {other: cache.get(other) for other in chapters(root)}
    # The page links its claims to those of the ledger, and links back to it.
    claims = [claim for other, run in runs.items() if run for claim in claims_of(other, run[0])]
    _write_json(root / "_build" / "claims.json", claims)
    _sphinx(root, without=[other for other, run in runs.items() if not run], strict=False)
    page = root / "_build" / "html" / chapter.source.relative_to(root).with_suffix(".html")
    print(f"\nThe chapter is at {page.as_uri()}")


def smoke(root: Path = ROOT) -> None:
    """Run every chapter at the smoke budget and keep nothing: it only shows that they run.

    Raises:
        ChapterError: if a cell fails.
    """
    order = dearest_first(chapters(root), OutputCache(root))
    execute_all(
        {chapter: f"{chapter.name}: running" for chapter in order},
        lambda chapter, made: None,
        os.environ | {"DL4CV_BUDGET": budgets.Budget.SMOKE},
    )


def claims_of(chapter: Chapter, notebook: nbformat.NotebookNode) -> list[dict]:
    """Return the claims in the outputs of an executed chapter, in the order of its cells.

    Raises:
        ValueError: if two claims of the chapter have one name.
    """
    found = [
        # Sorted, as the cache keeps them: a claim reads the same whether its chapter ran or not.
        {"chapter": chapter.name, **dict(sorted(output.data[MIME_TYPE].items()))}
        for output in outputs(notebook)
        if MIME_TYPE in output.get("data", {})
    ]
    names = [claim["name"] for claim in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"chapter {chapter.name} claims twice: {', '.join(twice)}")
    return found


def _sources(root: Path) -> str:
    """Return the SHA-256 of all that the pages are made of, but for the chapters' outputs."""
    names = ("_config.yml", "_toc.yml", "requirements.txt", "_build/claims.json", REPORT)
    folders = (path for name in ("book", "code") for path in sorted((root / name).rglob("*")))
    files = [root / name for name in names] + [
        path for path in folders if path.is_file() and path.suffix != ".pyc"
    ]
    lines = (f"{path.relative_to(root)} {storage.sha256_of_file(path)}" for path in files)
    return storage.sha256("\n".join(lines).encode())


def _sphinx(root: Path, *, without: Sequence[Chapter] = (), strict: bool = True) -> None:
    """Run Jupyter Book; keep its log, and show the warnings in it.

    Args:
        root: where the book is.
        without: chapters to write without outputs; the cache has none, and Sphinx shall not run
            them.
        strict: whether a warning is an error.
    """
    began = time.perf_counter()
    (root / WRITTEN).unlink(missing_ok=True)
    log = root / "_build" / "sphinx.log"
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(root), "-n"]
    if without:
        config = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
        config["execute"]["exclude_patterns"] = [
            str(chapter.source.relative_to(root)) for chapter in without
        ]
        partial = root / "_build" / "partial.yml"
        partial.write_text(yaml.safe_dump(config), "utf-8")
        command += ["--config", str(partial)]
    if strict:
        command += ["-W", "--keep-going"]
    with log.open("wb") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
    plain = re.sub(r"\x1b\[[\d;]*m", "", log.read_text("utf-8", "replace"))
    lines = [line for line in plain.splitlines() if line.strip()]
    unrun = tuple(str(chapter.source) for chapter in without)
    found = [
        line
        for line in lines
        if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line) and not line.startswith(unrun)
    ]
    _read_again(found, root)
    if done.returncode:
        print("\n".join(found or lines[-30:]))
        sys.exit(f"Sphinx did not finish; its whole log is {log}")
    print("\n".join([*found, f"pages written in {time.perf_counter() - began:.1f} s"]), flush=True)


def _read_again(warnings: Sequence[str], root: Path) -> None:
    """Have Sphinx read the pages again that it warned of; else it says so once, and never more."""
    for line in warnings:
        page = Path(line.partition(":")[0])
        if page.is_relative_to(root):
            doctree = root / "_build/.doctrees" / page.relative_to(root).with_suffix(".doctree")
            doctree.unlink(missing_ok=True)


def _summary(
    reports: dict[str, ChapterReport], claims: list[dict], executed: float, total: float, page: Path
) -> None:
    print(f"\n{'chapter':<20}{'state':<10}{'seconds':>8}{'peak MiB':>10}  claims")
    for name, report in reports.items():
        mine = [claim for claim in claims if claim["chapter"] == name]
        held = f"{sum(claim['holds'] for claim in mine)} of {len(mine)} hold" if mine else ""
        print(f"{name:<20}{report.state:<10}{report.seconds:>8.1f}{report.peak_mib:>10.0f}  {held}")
    runs = [
        line for report in reports.values() if report.state == "executed" for line in report.runs
    ]
    if runs:
        trained = sum("trained now" in line for line in runs)
        print(f"\ntrainings: {trained} trained now, {len(runs) - trained} from the run store")
    print(f"chapters {executed:.1f} s, everything {total:.1f} s")
    print(f"\nThe book is at {page.as_uri()}")


def _write_report(path: Path, reports: dict[str, ChapterReport], budget: str) -> None:
    """Write down what each chapter cost, where; leave the file alone if it tells of these runs."""
    known = json.loads(path.read_bytes())["chapters"] if path.exists() else {}
    seconds = {name: entry["seconds"] for name, entry in known.items()}
    if seconds == {name: report.seconds for name, report in reports.items()}:
        return
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {name: version(name) for name in VERSIONS},
        "budget": budget,
        "chapters": {name: asdict(report) for name, report in reports.items()},
        "dearest_cells": costs.most(
            {"chapter": name, **cell}
            for name, report in reports.items()
            for cell in report.dearest_cells
        ),
    }
    _write_json(path, content)


def _write_json(path: Path, content: object) -> None:
    """Write ``content`` unless the file says so already, so that Sphinx sees only real changes."""
    text = (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
    if not path.exists() or path.read_bytes() != text:
        storage.write_atomically(path, text)
