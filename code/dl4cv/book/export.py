"""Chapters as notebooks that read well wherever they are opened: CommonMark with formulas.

MyST's roles and directives mean nothing to Colab, JupyterLab and GitHub. So numbers that a run
measured are filled in, references and citations become links to the published page, included
source becomes a block of code, and what has no counterpart is an error, never a raw mark.
"""

import ast
import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import nbformat

from dl4cv.book import excerpts, myst
from dl4cv.book.chapters import ROOT, Chapter
from dl4cv.book.references import Citation, References, Target

T = TypeVar("T")

GLUE = "application/papermill.record/text/plain"

#: A role or a code span: both end in the same number of backticks as they begin with.
_SPAN = re.compile(
    r"(?P<role>\{[\w:-]+\})?(?<!`)(?P<ticks>`+)(?!`)(?P<body>.+?)(?<!`)(?P=ticks)(?!`)", re.DOTALL
)
_TITLED = re.compile(r"^(?P<title>.+?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)
_LINK = re.compile(r"\]\((?P<path>[^)\s:#]+)\.md(?P<anchor>#[\w-]+)?\)")
#: Tags of cells whose code a reader opens only to look.
_FOLDING = {"hide-input", "hide-cell", "remove-input", "exercise-solution"}
_ADMONITIONS = {"attention", "caution", "danger", "hint", "important", "note", "tip", "warning"}

#: Colab folds a cell of this form, JupyterLab one whose source is hidden.
_FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}

INSTALL = """\
# @title Install the book's package where it is missing
import importlib.util

if importlib.util.find_spec("dl4cv") is None:
    get_ipython().run_line_magic("pip", "install -q git+{repository}")"""


class ExportError(ValueError):
    """A page holds something that a notebook cannot show; the message names page and line."""


def values(executed: nbformat.NotebookNode) -> dict[str, str]:
    """Return what the cells of an executed chapter let its prose quote, by name."""
    found = {}
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            if GLUE in output.get("data", {}):
                name = output.metadata["scrapbook"]["name"]
                found[name] = str(ast.literal_eval(output.data[GLUE]))
    return found


def notebook(
    chapter: Chapter, references: References, quoted: Mapping[str, str], root: Path = ROOT
) -> nbformat.NotebookNode:
    """Return ``chapter`` as a notebook without outputs.

    It holds the chapter's code cells as they are, after one that installs the package where it is
    missing. The values that its text quotes are kept in its metadata, so that the same notebook
    can be made again from the sources alone.

    Args:
        chapter: the page.
        references: what it may refer to.
        quoted: the measured values by name.
        root: the folder of the book.

    Raises:
        ExportError: if the page holds a role, a directive or a reference that is not known, or
            quotes a value that is not among ``quoted``.
    """
    writer = _Writer(chapter, references, quoted, root)
    source = chapter.read()
    code = (cell for cell in source.cells if cell.cell_type == "code")
    install = INSTALL.format(repository=references.repository)
    cells = [writer.opening(), nbformat.v4.new_code_cell(install, metadata=_FOLDED)]
    text: list[myst.Block] = []
    for block in myst.page(chapter.source.read_text("utf-8")):
        if block.name != "code-cell":
            text.append(block)
            continue
        cells += [*writer.text(text), writer.code(next(code)), *writer.caption(block)]
        text = []
    cells += writer.text(text)
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": source.metadata.kernelspec,
            "language_info": {"name": "python"},
            "dl4cv": {"quoted": dict(sorted(writer.used.items()))},
        },
    )


class _Writer:
    """Writes one chapter's blocks as CommonMark, from the first cell to the last."""

    def __init__(
        self, chapter: Chapter, references: References, quoted: Mapping[str, str], root: Path
    ) -> None:
        self.used: dict[str, str] = {}
        self._path = chapter.source
        self._page = chapter.source.relative_to(root).with_suffix("").as_posix()
        self._references = references
        self._quoted = quoted
        self._root = root
        self._solution = ""  # the title of the solution that is open, which code cells may cut
        self._directives: dict[str, Callable[[myst.Block], str]] = {
            "container": self._inside,
            "exercise": self._exercise,
            "exercise-start": self._exercise,
            "exercise-end": lambda block: "",
            "literalinclude": self._excerpt,
            "math": self._formula,
            "solution": self._whole_solution,
            "table": self._table,
            **dict.fromkeys(_ADMONITIONS, self._admonition),
        }
        self._roles: dict[str, Callable[[str, int], str]] = {
            "cite:p": self._parenthetical,
            "cite:t": self._textual,
            "doc": self._document,
            "eq": self._label,
            "glue:text": self._measured,
            "numref": self._label,
            "ref": self._label,
        }

    def opening(self) -> nbformat.NotebookNode:
        """Return the cell that says where this notebook is from."""
        book, page = self._references, self._references.address(self._page)
        return nbformat.v4.new_markdown_cell(
            f"A chapter of [{book.title}]({book.site}) as a notebook. "
            f"[Read it as a web page]({page})."
        )

    def code(self, cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
        """Return a code cell, folded if the page folds it or if it solves an exercise."""
        tags = cell.metadata.get("tags", [])
        metadata = {"tags": tags} if tags else {}
        if _FOLDING & set(tags):
            metadata |= _FOLDED
        return nbformat.v4.new_code_cell(cell.source, metadata=metadata)

    def caption(self, block: myst.Block) -> list[nbformat.NotebookNode]:
        """Return a cell with the caption of a code cell's figure, if it has one."""
        number = self._references.captions.get((self._page, block.line))
        if number is None:
            return []
        caption = block.options["mystnb"]["figure"]["caption"]
        text = f"**{number}.** {self._inline(caption, block.line)}"
        return [nbformat.v4.new_markdown_cell(text)]

    def text(self, blocks: list[myst.Block]) -> list[nbformat.NotebookNode]:
        """Return a cell with what stands between two code cells, if that is anything."""
        parts: list[str] = []
        folded: list[str] = []
        for block in blocks:
            if block.name == "solution-start":
                self._solution = self._solution_title(block)
            elif block.name == "solution-end":
                parts.append(_details(self._solution, folded))
                folded, self._solution = [], ""
            else:
                (folded if self._solution else parts).append(self._block(block))
        if self._solution:  # it goes on in the code cell below
            lone = f"**{self._solution}**, in the folded cell below."
            parts.append(_details(self._solution, folded) or lone)
        text = _joined(parts)
        return [nbformat.v4.new_markdown_cell(text)] if text else []

    def _block(self, block: myst.Block) -> str:
        if block.kind == "text":
            return self._inline("\n".join(block.lines), block.line)
        if block.kind == "verbatim":
            if "$$" in block.lines[0] and not block.lines[-1].rstrip().endswith("$$"):
                raise self._error(block.line, "a formula between $$ takes no label; use {math}")
            return "\n".join(block.lines).replace("REPOSITORY", self._references.repository)
        if block.kind == "label":
            return ""
        if block.name not in self._directives:
            raise self._error(block.line, f"directive {{{block.name}}} has no form in a notebook")
        lines = self._directives[block.name](block).split("\n")
        return "\n".join(block.indent + line if line else "" for line in lines)

    def _inside(self, block: myst.Block) -> str:
        return _joined([self._block(inner) for inner in myst.blocks(block.lines, block.body_line)])

    def _formula(self, block: myst.Block) -> str:
        lines = [line for line in block.lines if line.strip()]
        if "label" in block.options:
            number = self._target(block.options["label"], block.line).text
            lines.append(f"\\tag{{{number.strip('()')}}}")
        return "\n".join(["$$", *lines, "$$"])

    def _excerpt(self, block: myst.Block) -> str:
        file = (self._path.parent / block.argument).resolve()
        path = file.relative_to(self._root.resolve()).as_posix()
        code = excerpts.excerpt(file, block.options["pyobject"])
        return f"```python\n{code}```\n\nFrom [{path}]({self._references.file(path)})."

    def _exercise(self, block: myst.Block) -> str:
        number = self._references.captions.get((self._page, block.line), "Exercise")
        title = f" ({self._inline(block.argument, block.line)})" if block.argument else ""
        return _joined([f"**{number}{title}.**", self._inside(block)])

    def _whole_solution(self, block: myst.Block) -> str:
        return _details(self._solution_title(block), [self._inside(block)])

    def _solution_title(self, block: myst.Block) -> str:
        return f"Solution to {self._target(block.argument, block.line).text}"

    def _table(self, block: myst.Block) -> str:
        number = self._references.captions.get((self._page, block.line))
        caption = f"**{number}.** {self._inline(block.argument, block.line)}" if number else ""
        return _joined([caption, self._inside(block)])

    def _admonition(self, block: myst.Block) -> str:
        title = f"**{block.name.capitalize()}.**"
        argument = self._inline(block.argument, block.line)
        inside = _joined([title, argument, self._inside(block)])
        return "\n".join(f"> {line}".rstrip() for line in inside.split("\n"))

    def _inline(self, text: str, line: int) -> str:
        """Return running text with its roles and links written out."""

        def place(match: re.Match[str]) -> int:
            return line + match.string.count("\n", 0, match.start())

        def written(match: re.Match[str]) -> str:
            if not match["role"]:
                return match[0]
            role, here = match["role"][1:-1], place(match)
            if role not in self._roles:
                raise self._error(here, f"role {{{role}}} has no form in a notebook")
            return self._roles[role](" ".join(match["body"].split()), here)

        def linked(match: re.Match[str]) -> str:
            page = self._page_at(match["path"], place(match))
            return f"]({page.url}{match['anchor'] or ''})"

        text = _SPAN.sub(written, _LINK.sub(linked, text))
        return text.replace("REPOSITORY", self._references.repository)

    def _measured(self, name: str, line: int) -> str:
        self.used[name] = self._known(self._quoted, name, line, "no run measured {!r}")
        return self.used[name]

    def _label(self, body: str, line: int) -> str:
        return self._link(body, line, self._target)

    def _document(self, body: str, line: int) -> str:
        return self._link(body, line, self._page_at)

    def _link(self, body: str, line: int, find: Callable[[str, int], Target]) -> str:
        titled = _TITLED.match(body)
        target = find(titled["target"] if titled else body, line)
        return f"[{titled['title'] if titled else target.text}]({target.url})"

    def _parenthetical(self, keys: str, line: int) -> str:
        cited = self._citations(keys, line)
        return "(" + "; ".join(f"[{c.authors}, {c.year}]({c.url})" for c in cited) + ")"

    def _textual(self, keys: str, line: int) -> str:
        return ", ".join(f"[{c.authors} ({c.year})]({c.url})" for c in self._citations(keys, line))

    def _citations(self, keys: str, line: int) -> list[Citation]:
        known = self._references.citations
        return [
            self._known(known, key.strip(), line, "the bibliography has no {!r}")
            for key in keys.split(",")
        ]

    def _target(self, label: str, line: int) -> Target:
        return self._known(self._references.labels, label, line, "no page has the label {!r}")

    def _page_at(self, path: str, line: int) -> Target:
        page = posixpath.normpath(posixpath.join(posixpath.dirname(self._page), path))
        return self._known(self._references.pages, page, line, "there is no page {!r}")

    def _known(self, known: Mapping[str, T], name: str, line: int, complaint: str) -> T:
        if name not in known:
            raise self._error(line, complaint.format(name))
        return known[name]

    def _error(self, line: int, what: str) -> ExportError:
        return ExportError(f"{self._page}.md:{line}: {what}")


def _joined(parts: list[str]) -> str:
    """Return paragraphs with one empty line between two of them."""
    return "\n\n".join(text for part in parts if (text := part.strip("\n")))


def _details(title: str, inside: list[str]) -> str:
    text = _joined(inside)
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>" if text else ""
