"""What a chapter can refer to: pages, labels with their numbers, and the bibliography.

Numbers are those of the built pages: what stands in a numbered chapter is counted within it, and
its number begins with the chapter's.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from docutils.nodes import make_id
from pybtex.database import Person, parse_file

from dl4cv.book import myst
from dl4cv.book.chapters import ROOT, chapter_numbers, pages

_HEADING = re.compile(r"^#+ +(.+?) *$")
_EXERCISES = ("exercise", "exercise-start")
_SOLUTIONS = ("solution", "solution-start")


@dataclass(frozen=True)
class Target:
    """Something on a page: what a reference to it reads like, and its address."""

    text: str
    url: str


@dataclass(frozen=True)
class Citation:
    """A source: its authors' family names as a text names them, its year, its entry's address."""

    authors: str
    year: str
    url: str


@dataclass
class References:
    """All that the book's pages may refer to.

    Attributes:
        title: of the book.
        site: the address of the published book, with a slash at its end.
        repository: the address of the repository.
        branch: the repository's branch that readers see.
        pages: by the path of their source below the book's root, without its suffix.
        labels: of sections, figures, tables, equations, exercises and solutions.
        captions: ``Fig. 2.3``, ``Table 2.1`` or ``Exercise 2.5``, by page and line of the
            directive.
        citations: by key.
    """

    title: str
    site: str
    repository: str
    branch: str
    pages: dict[str, Target] = field(default_factory=dict)
    labels: dict[str, Target] = field(default_factory=dict)
    captions: dict[tuple[str, int], str] = field(default_factory=dict)
    citations: dict[str, Citation] = field(default_factory=dict)

    def address(self, page: str, anchor: str = "") -> str:
        """Return the address of a published page, or of a place on it."""
        return f"{self.site}{page}.html" + (f"#{anchor}" if anchor else "")

    def file(self, path: str) -> str:
        """Return where readers see a file of the repository."""
        return f"{self.repository}/blob/{self.branch}/{path}"


def read(root: Path = ROOT) -> References:
    """Return what the pages of the book below ``root`` can refer to.

    Raises:
        ValueError: if the table of contents names a page that does not exist, or the repository's
            address is not one of GitHub.
    """
    # Imported here: the Sphinx extension imports what imports this module.
    from dl4cv.book.site.addresses import site_address

    config = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
    repository = config["repository"]["url"]
    own = config.get("sphinx", {}).get("config", {}).get("html_baseurl")
    found = References(
        title=config["title"],
        site=own or site_address(repository),
        repository=repository,
        branch=config["repository"]["branch"],
    )
    numbers = chapter_numbers(root)
    front: Counter[str] = Counter()  # what the pages without a number hold, all together
    for path in pages(root):
        name = path.relative_to(root).with_suffix("").as_posix()
        number = numbers.get(path)
        counts, prefix = (Counter(), f"{number}.") if number else (front, "")
        _add_page(found, name, path.read_text("utf-8"), counts, prefix)
    bibliography = found.address("book/bibliography")
    for file in sorted((root / "book" / "references").glob("*.bib")):
        for key, entry in parse_file(str(file)).entries.items():
            people = entry.persons.get("author") or entry.persons.get("editor") or []
            authors = _names([_family_name(person) for person in people])
            url = f"{bibliography}#{make_id(f'ref-{key}')}"
            found.citations[key] = Citation(authors, entry.fields.get("year", ""), url)
    return found


def _add_page(found: References, page: str, text: str, counts: Counter[str], prefix: str) -> None:
    waiting: list[str] = []  # labels of the heading below them

    def label(name: str | None, shown: str, anchor: str | None = None) -> None:
        if name:
            found.labels[name] = Target(shown, found.address(page, anchor or make_id(name)))

    for block in myst.page(text):
        if block.kind == "label":
            waiting.append(block.name)
        elif block.kind == "text" and (lines := [line for line in block.lines if line.strip()]):
            title = _HEADING.match(lines[0])
            for name in waiting:
                label(name, title[1] if title else name)
            waiting = []
            for heading in filter(None, map(_HEADING.match, lines)):
                found.pages.setdefault(page, Target(heading[1], found.address(page)))
        elif block.kind == "directive":
            caption = _caption(block)
            if caption is not None:
                kind, name = caption
                counts[kind] += 1
                found.captions[page, block.line] = shown = f"{kind} {prefix}{counts[kind]}"
                label(name, shown)
            elif block.name == "math" and "label" in block.options:
                counts["equation"] += 1
                name = block.options["label"]
                label(name, f"({prefix}{counts['equation']})", make_id(f"equation-{name}"))
            elif block.name in _EXERCISES and "nonumber" not in block.options:
                counts["Exercise"] += 1
                shown = f"Exercise {prefix}{counts['Exercise']}"
                found.captions[page, block.line] = shown
                name = block.options.get("label")
                label(name, shown, name)  # sphinx-exercise takes labels for ids as they are
            elif block.name in _SOLUTIONS:
                exercise = found.labels.get(block.argument)
                shown = f"Solution to {exercise.text}" if exercise else "Solution"
                name = block.options.get("label")
                label(name, shown, name)


def _caption(block: myst.Block) -> tuple[str, str | None] | None:
    """Return the kind and the name of what a directive gives a numbered caption, or None."""
    if block.name == "table" and block.argument:
        return "Table", block.options.get("name")
    figure = block.options.get("mystnb", {}).get("figure", {}) if block.name == "code-cell" else {}
    return ("Fig.", figure.get("name")) if figure.get("caption") else None


def _family_name(person: Person) -> str:
    return " ".join(map(str, person.rich_prelast_names + person.rich_last_names))


def _names(names: list[str]) -> str:
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
