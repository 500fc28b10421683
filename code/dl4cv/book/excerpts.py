"""Excerpts: a function or class of the package as a chapter shows it."""

import ast
import io
import subprocess
import sys
import textwrap
import tokenize
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

#: The longest line that a page's code box shows without a scroll bar.
WIDTH = 88

_DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def excerpt(path: str | Path, pyobject: str) -> str:
    """Return the source of one object: its body, and of each docstring the summary alone.

    The chapter's prose explains the arguments; the file itself keeps the whole docstrings.
    A method comes without the indentation of its class. Code, docstrings and comments are wrapped
    at ``WIDTH`` characters.

    Args:
        path: a file of Python.
        pyobject: the name of a function or class in it, or ``Class.method``.

    Returns:
        Source code with a newline at its end.

    Raises:
        ValueError: if the file has no object of that name.
    """
    source = Path(path).read_text("utf-8")
    node = _find(ast.parse(source), pyobject)
    if node is None:
        raise ValueError(f"pyobject is {pyobject!r}; expected a function or class of {path}")
    lines = source.splitlines()
    # From the last docstring to the first, so that the line numbers before it stay true.
    for documented in reversed([n for n in ast.walk(node) if isinstance(n, _DOCUMENTED)]):
        if ast.get_docstring(documented, clean=False) is not None:
            _keep_summary(lines, documented.body[0])
    removed = len(source.splitlines()) - len(lines)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    assert node.end_lineno is not None
    return _wrapped(textwrap.dedent("\n".join(lines[first - 1 : node.end_lineno - removed])))


@cache
def _wrapped(source: str) -> str:
    """Return ``source`` as ruff lays it out in lines of ``WIDTH``, and its prose wrapped too."""
    ruff = Path(sys.executable).with_name("ruff")
    command = [ruff, "format", "--isolated", "--line-length", str(WIDTH), "-"]
    source = subprocess.run(
        command, input=source, capture_output=True, check=True, encoding="utf-8"
    ).stdout
    lines = source.splitlines()
    # From the last to the first, so that the line numbers before it stay true.
    for first, end, mark in sorted([*_docstrings(source), *_comments(source)], reverse=True):
        if max(map(len, lines[first:end])) > WIDTH:
            words = " ".join(line.strip().removeprefix(mark) for line in lines[first:end])
            start = lines[first][: -len(lines[first].lstrip())] + mark
            lines[first:end] = textwrap.wrap(
                words, WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False
            )
    return "\n".join(lines) + "\n"


def _docstrings(source: str) -> Iterator[tuple[int, int, str]]:
    """Yield the first line of each docstring, the line after it, and what its lines begin with."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            yield docstring.lineno - 1, docstring.end_lineno or docstring.lineno, ""


def _comments(source: str) -> Iterator[tuple[int, int, str]]:
    """Yield the same of each comment that has its lines to itself."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    starts = [
        token.start
        for token in tokens
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("# ")
    ]
    for _, run in groupby(enumerate(starts), lambda item: (item[1][0] - item[0], item[1][1])):
        rows = [row for _, (row, _) in run]
        yield rows[0] - 1, rows[-1], "# "


def _find(
    tree: ast.Module, name: str
) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    body = tree.body
    found = None
    for part in name.split("."):
        named = (node for node in body if isinstance(node, _DOCUMENTED) and node.name == part)
        found = next(named, None)
        if found is None:
            return None
        body = found.body
    return found


def _keep_summary(lines: list[str], docstring: ast.stmt) -> None:
    """Cut a docstring's lines after its first paragraph."""
    first, last = docstring.lineno - 1, docstring.end_lineno
    written = lines[first:last]
    blank = next((place for place, line in enumerate(written) if not line.strip()), None)
    if blank is not None:
        quotes = written[-1].rstrip()[-3:]
        lines[first:last] = [*written[: blank - 1], written[blank - 1] + quotes]
