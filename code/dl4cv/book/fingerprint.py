"""When a page must run again: the digest of everything that its outputs depend on, part by part.

Every build needs it, so it imports neither PyTorch nor a chapter's modules: sources are parsed.
"""

import re
import sys
from pathlib import Path

from dl4cv import budgets, provenance, storage
from dl4cv.book import machine, myst


def of_chapter(path: Path, root: Path) -> dict[str, str]:
    """Return what the outputs of the page at ``path`` depend on; its prose is not part of it.

    Args:
        path: a page in MyST Markdown.
        root: the folder that holds ``requirements.txt`` and ``code/dl4cv``.

    Returns:
        A digest or a value for each dependency, by the name that a build gives it when it changed.
    """
    package = root / "code" / "dl4cv"
    blocks = myst.page(path.read_text("utf-8"))
    cells = [
        (block.options.get("tags"), "\n".join(block.lines).strip("\n"))
        for block in blocks
        if block.name == "code-cell"
    ]
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


def _imports(code: str, package: Path) -> set[str]:
    """Return the modules of the package that a cell imports; a cell that is no Python has none."""
    plain = re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.MULTILINE)
    try:
        return provenance.imports(plain, package)
    except SyntaxError:
        return set()
