"""Lint for chapters: what a reader would trip over, found before the build."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, product
from pathlib import Path

import nbformat

from dl4cv.book import excerpts, repeats
from dl4cv.book.chapters import ROOT, Chapter, chapters

LONGEST_CELL = 30

#: The longest line of code that a page shows without a scroll bar.
LONGEST_LINE = excerpts.WIDTH

#: A call that lets the prose quote a number, and the number's name.
NAMED = re.compile(r"\b(?:claim|record|compare)\(\s*f?[\"']([^\"']+)[\"']")
HIDDEN = {"hide-input", "remove-input", "hide-cell", "remove-cell"}

#: Calls whose cell ends in a picture.
DRAWS = re.compile(r"plotting\.(figure|show_images|image_grid|animate|bars|image_row)\(")
LABEL = re.compile(r"^\(([^)\s]+)\)=$|^:(?:label|name): *(\S+)$", re.MULTILINE)
QUOTED = re.compile(r"\{glue:text\}`([^`]+)`")

#: A number that only a run can know: a percentage, a duration, "accuracy of 0.93".
TYPED_RESULT = re.compile(
    r"\b\d+(?:\.\d+)? ?(?:%(?! (?:confidence )?interval)|per ?cent"
    r"|percentage points|seconds|ms\b|s\b|times (?:as|faster))"
    r"|\b(?:accuracy|error|loss)(?: \w+){0,2} (?:of|is|was|at|to) \d+\.\d+"
)
CODE = re.compile(r"```.*?```|\$\$.*?\$\$|`[^`]*`", re.DOTALL)
FORMULA = re.compile(r"\$[^$]*\$")
#: A line that Markdown takes for an item of a list, were it in the middle of a formula.
ITEM = re.compile(r"\n *(?:[-+*]|\d+[.)]) ")
CODE_OR_MATH = re.compile(f"{CODE.pattern}|{FORMULA.pattern}", re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """One complaint, at a line of a chapter."""

    path: Path
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


def lint_all(root: Path = ROOT) -> list[Finding]:
    """Return every finding in every chapter."""
    return [finding for chapter in chapters(root) for finding in lint(chapter)]


def lint(chapter: Chapter) -> list[Finding]:
    """Return what is wrong with one chapter, in the order of its lines."""
    notebook = chapter.read()
    lines = notebook.metadata.source_map
    found: list[Finding] = []

    def complain(cell: int, rule: str, message: str) -> None:
        found.append(Finding(chapter.source, lines[cell] + 1, rule, message))

    labels: list[str] = []
    claimed: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            for rule, message in _code_problems(cell, chapter.name):
                complain(number, rule, message)
            claimed |= set(NAMED.findall(cell.source))
        else:
            for typed in TYPED_RESULT.findall(CODE_OR_MATH.sub("", cell.source)):
                complain(
                    number, "typed-number", f"{typed!r} is typed; claim it and quote the claim"
                )
            for formula in FORMULA.findall(CODE.sub("", cell.source)):
                if ITEM.search(formula):
                    complain(number, "formula", f"{formula!r} is cut by a line that begins a list")
            labels += [first or second for first, second in LABEL.findall(cell.source)]
        if name := cell.metadata.get("mystnb", {}).get("figure", {}).get("name"):
            labels.append(name)
    for label in labels:
        if label != chapter.name and not label.startswith(f"{chapter.name}-"):
            complain(0, "label", f"label {label!r} does not begin with {chapter.name!r} and a dash")
    found += _unknown_quotes(chapter, claimed)
    if problem := repeats.problem(chapter):
        complain(0, "repeats", problem)
    return found


def _code_problems(cell: nbformat.NotebookNode, chapter: str) -> Iterator[tuple[str, str]]:
    tags = set(cell.metadata.get("tags", []))
    length = len([line for line in cell.source.splitlines() if line.strip()])
    if length > LONGEST_CELL and not tags & HIDDEN:
        yield "cell-length", f"{length} lines; expected at most {LONGEST_CELL}"
    for line in cell.source.splitlines():
        if len(line) > LONGEST_LINE:
            yield "line-length", f"{len(line)} characters; expected at most {LONGEST_LINE}: {line}"
    for name in NAMED.findall(cell.source):
        if name != chapter and not name.startswith((f"{chapter}/", "{")):
            yield "claim-name", f"claim {name!r} does not begin with {chapter}/"
    if DRAWS.search(cell.source):
        render = cell.metadata.get("mystnb", {})
        if not str(render.get("image", {}).get("alt", "")).strip():
            yield "alt-text", "the cell draws a picture that has no alt text (mystnb: image: alt)"
        for key in ("caption", "name"):
            if not str(render.get("figure", {}).get(key, "")).strip():
                yield (
                    f"figure-{key}",
                    f"the cell draws a figure that has no {key} (mystnb: figure: {key})",
                )


def _unknown_quotes(chapter: Chapter, claimed: set[str]) -> Iterator[Finding]:
    # A name that a loop builds (an f-string with braces) matches what it can expand to. Below a
    # name stand its spread, its standard error, or the entries of a mapping that was recorded.
    patterns = [re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(name)) for name in claimed]
    for number, line in enumerate(chapter.source.read_text("utf-8").splitlines(), start=1):
        for name in QUOTED.findall(line):
            given = accumulate(name.split("/"), "{}/{}".format)
            if not any(re.fullmatch(*pair) for pair in product(patterns, given)):
                yield Finding(
                    chapter.source, number, "quote", f"{name!r} is quoted but never claimed"
                )
