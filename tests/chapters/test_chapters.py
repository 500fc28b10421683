"""Every chapter: its form, its sibling notebook, and its exercises."""

import contextlib
import io
import re

import nbformat
import pytest
import torch
from dl4cv import exercises
from dl4cv.book import lint, notebooks, references
from dl4cv.book.chapters import ROOT, Chapter, chapters

BOOK = chapters(ROOT)
KNOWN = references.read(ROOT)
#: What MyST alone understands: roles, directives, labels.
RAW = re.compile(r"\{[a-z:_-]+\}`|^ *:{3,}.*|^ *`{3,}\{.*|^\([\w-]+\)=", re.MULTILINE)
CALL = re.compile(r"exercises\.check\(\s*\"([^\"]+)\"", re.MULTILINE)


def tagged(chapter: Chapter, tag: str) -> dict[str, str]:
    """Return the cells of ``chapter`` that carry ``tag``, by the exercise that they check."""
    cells = [c for c in chapter.read().cells if tag in c.metadata.get("tags", [])]
    return {CALL.search(cell.source).group(1): cell.source for cell in cells}


def verdict_of(source: str, monkeypatch: pytest.MonkeyPatch) -> exercises.Verdict:
    """Run a stub or solution cell by itself and return what its check found."""
    seen = []
    check = exercises.check
    monkeypatch.setattr(exercises, "check", lambda *given: seen.append(check(*given)) or seen[-1])
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(source, "<cell>", "exec"), {"torch": torch, "exercises": exercises})
    assert len(seen) == 1, "a cell checks one exercise"
    return seen[0]


def each_exercise():
    for chapter in BOOK:
        stubs, solutions = (tagged(chapter, f"exercise-{kind}") for kind in ("stub", "solution"))
        for name in sorted(stubs.keys() | solutions.keys()):
            yield pytest.param(name, stubs.get(name), solutions.get(name), id=name)


@pytest.mark.parametrize("chapter", BOOK, ids=lambda c: c.name)
def test_form(chapter):
    assert [str(finding) for finding in lint.lint(chapter)] == []


@pytest.mark.parametrize("chapter", BOOK, ids=lambda c: c.name)
def test_sibling_notebook_is_fresh_executed_and_compares(chapter):
    # The title page and its like hold a picture alone.
    least = 3 if tagged(chapter, "exercise-stub") else 0
    assert notebooks.problems(chapter, KNOWN, least_compared=least) == []


@pytest.mark.parametrize("chapter", BOOK, ids=lambda c: c.name)
def test_sibling_notebook_reads_without_a_plugin(chapter):
    cells = nbformat.read(chapter.notebook, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert RAW.findall(text) == []


@pytest.mark.parametrize("chapter", BOOK, ids=lambda c: c.name)
def test_the_download_holds_the_pictures_of_the_run(chapter):
    path = chapter.notebook.relative_to(ROOT)
    made = nbformat.read(ROOT / "_build/html/_sources" / path, as_version=4)
    pictured = [
        cell
        for cell in made.cells
        for output in cell.get("outputs", [])
        if {"image/png", "image/gif"} & output.get("data", {}).keys()
    ]
    captions = [place for place, kind in KNOWN.captions.items() if kind.startswith("Fig.")]
    page = path.with_suffix("").as_posix()
    assert len(pictured) >= sum(place[0] == page for place in captions)


@pytest.mark.parametrize("chapter", BOOK, ids=lambda c: c.name)
def test_the_page_has_the_numbers_of_the_notebook(chapter):
    page = chapter.source.relative_to(ROOT).with_suffix("")
    shown = (ROOT / "_build/html" / page.with_suffix(".html")).read_text("utf-8")
    for place, number in KNOWN.captions.items():
        if place[0] == page.as_posix():
            assert re.search(rf"\b{number}\b", shown), f"{number}, line {place[1]}"
    for target in KNOWN.labels.values():
        address, _, anchor = target.url.removeprefix(KNOWN.site).partition("#")
        if address == f"{page.as_posix()}.html":
            assert f'id="{anchor}"' in shown, anchor


@pytest.mark.parametrize(("name", "stub", "solution"), list(each_exercise()))
def test_solution_passes_and_stub_fails(name, stub, solution, monkeypatch):
    assert stub is not None, "the exercise has no stub in the page"
    assert solution is not None, "the exercise has no solution in the page"
    with monkeypatch.context() as patch:
        unsolved = verdict_of(stub, patch)
    assert not unsolved.passed
    assert "not written yet" in unsolved.message
    with monkeypatch.context() as patch:
        assert verdict_of(solution, patch).passed


def test_every_checked_exercise_stands_in_a_page():
    in_pages = {name for c in BOOK for name in tagged(c, "exercise-stub")}
    in_package = {
        f"{module}/{task}" for module in exercises.modules() for task in exercises.tasks(module)
    }
    assert in_package == in_pages
