"""Build the book: run the chapters that changed, gather their claims, and let Sphinx write it.

A page is run again exactly when its fingerprint changed. One chapter runs at a time: two trainings
at once gain nothing on two cores.
"""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import nbformat

from dl4cv import budgets, storage
from dl4cv.book.chapters import ROOT, Chapter, chapters
from dl4cv.book.execution import ChapterReport, OutputCache, execute, outputs, refresh
from dl4cv.book.machine import machine
from dl4cv.evidence.claims import MIME_TYPE

VERSIONS = ("torch", "torchvision", "numpy", "matplotlib", "jupyter-book", "sphinx")


def build(root: Path = ROOT) -> None:
    """Make ``_build/html`` from the sources below ``root``, and say what was done.

    Raises:
        ChapterError: if a cell fails.
        SystemExit: if Sphinx finds anything to warn of.
        ValueError: if ``DL4CV_BUDGET`` names no budget.
    """
    began = time.perf_counter()
    budget = budgets.current_budget()
    folder = root / "_build"
    cache = OutputCache(root)
    reports: dict[str, ChapterReport] = {}
    claims: list[dict] = []
    for chapter in chapters(root):
        notebook, report = refresh(chapter, cache, root)
        reports[chapter.name] = report
        claims += claims_of(chapter, notebook)
    _write_json(folder / "claims.json", claims)
    executed = time.perf_counter() - began
    _write_json(
        folder / "build-report.json",
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": {name: version(name) for name in VERSIONS},
            "budget": budget,
            "chapters": {name: asdict(report) for name, report in reports.items()},
        },
    )
    _sphinx(root)
    _summary(reports, claims, executed, time.perf_counter() - began, folder / "html" / "index.html")


def smoke(root: Path = ROOT) -> None:
    """Run every chapter at the smoke budget and keep nothing: it only shows that they run.

    Raises:
        ChapterError: if a cell fails.
    """
    environment = os.environ | {"DL4CV_BUDGET": budgets.Budget.SMOKE}
    for chapter in chapters(root):
        made = execute(chapter, lambda done, total: None, environment)
        print(f"{chapter.name:<20}runs, {made.seconds:5.1f} s", flush=True)


def claims_of(chapter: Chapter, notebook: nbformat.NotebookNode) -> list[dict]:
    """Return the claims in the outputs of an executed chapter, in the order of its cells.

    Raises:
        ValueError: if two claims of the chapter have one name.
    """
    found = [
        {"chapter": chapter.name, **output.data[MIME_TYPE]}
        for output in outputs(notebook)
        if MIME_TYPE in output.get("data", {})
    ]
    names = [claim["name"] for claim in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"chapter {chapter.name} claims twice: {', '.join(twice)}")
    return found


def _sphinx(root: Path) -> None:
    """Run Jupyter Book with every warning an error; keep its log, show it if it fails."""
    began = time.perf_counter()
    log = root / "_build" / "sphinx.log"
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(root)]
    with log.open("w") as file:
        done = subprocess.run(
            [*command, "-W", "-n", "--keep-going"], stdout=file, stderr=subprocess.STDOUT
        )
    if done.returncode:
        lines = [line for line in log.read_text().splitlines() if line.strip()]
        told = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
        print("\n".join(told or lines[-30:]))
        sys.exit(f"Sphinx did not finish; its whole log is {log}")
    print(f"pages written in {time.perf_counter() - began:.1f} s", flush=True)


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


def _write_json(path: Path, content: object) -> None:
    """Write ``content`` unless the file says so already, so that Sphinx sees only real changes."""
    text = (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
    if not path.exists() or path.read_bytes() != text:
        storage.write_atomically(path, text)
