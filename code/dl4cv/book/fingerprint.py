"""When a page must run again: the digest of everything that its outputs depend on, part by part.

Every build needs it, so it imports neither PyTorch nor a chapter's modules: sources are parsed.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from dl4cv import budgets, provenance, storage
from dl4cv.book import machine

#: A fenced code cell of a MyST page: its options and its code.
_CELL = re.compile(
    r"^(?P<fence>`{3,}|~{3,})\{code-cell\}[^\n]*\n(?P<body>.*?)^(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_OPTIONS = re.compile(r"\A(?:---\n.*?^---\n|(?::[^\n]*\n)+)", re.MULTILINE | re.DOTALL)
_TAGS = re.compile(r"^:?tags:.*(?:\n\s+-.*)*", re.MULTILINE)


def of_chapter(path: Path, root: Path) -> dict[str, str]:
    """Return what the outputs of the page at ``path`` depend on; its prose is not part of it.

    Args:
        path: a page in MyST Markdown.
        root: the folder that holds ``requirements.txt`` and ``code/dl4cv``.

    Returns:
        A digest or a value for each dependency, by the name that a build gives it when it changed.
    """
    package = root / "code" / "dl4cv"
    cells = list(_cells(path.read_text("utf-8")))
    reached = set().union(*(_imports(code, package) for _, code in cells))
    exercises = f"exercises.{path.stem}"
    if (package / "exercises" / f"{path.stem}.py").is_file():
        reached.add(f"{package.name}.{exercises}")
    modules = provenance.modules_reached(sorted(reached), package)
    return {
        "its cells": storage.sha256(repr(cells).encode()),
        **modules,
        **_kept(path.stem, package),
        "requirements.txt": storage.sha256_of_file(root / "requirements.txt"),
        "Python": ".".join(map(str, sys.version_info[:2])),
        "the budget": str(budgets.current_budget()),
        "the device": machine.device(),
        "the processor": machine.processor(),
    }


def _kept(name: str, package: Path) -> dict[str, str]:
    """Return the digest of what the chapter measured over several seeds, if it did."""
    file = package / "evidence" / "kept" / f"{name}.json"
    return {file.name: storage.sha256_of_file(file)} if file.exists() else {}


def _cells(text: str) -> Iterator[tuple[str, str]]:
    """Yield tags and code of every code cell of a page."""
    for cell in _CELL.finditer(text):
        options = _OPTIONS.match(cell["body"])
        tags = _TAGS.search(options[0]) if options else None
        code = cell["body"][options.end() :] if options else cell["body"]
        yield tags[0] if tags else "", code.strip("\n")


def _imports(code: str, package: Path) -> set[str]:
    """Return the modules of the package that a cell imports; a cell that is no Python has none."""
    plain = re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.MULTILINE)
    try:
        return provenance.imports(plain, package)
    except SyntaxError:
        return set()
