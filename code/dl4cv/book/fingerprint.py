"""When a page must run again: the digest of everything that its outputs depend on, part by part.

Asked on every build, so nothing is imported to answer: sources are parsed, and the device is told
by what the system shows of it.
"""

import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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


@dataclass(frozen=True)
class Fingerprint:
    """What a page's outputs depend on.

    Attributes:
        parts: a digest or a value for each dependency, by what a build calls it when it changed.
    """

    parts: dict[str, str]

    @property
    def digest(self) -> str:
        """The SHA-256 of all parts."""
        return storage.sha256(repr(sorted(self.parts.items())).encode())


def of_chapter(path: Path, root: Path) -> Fingerprint:
    """Return what the outputs of the page at ``path`` depend on; its prose is not among it.

    Args:
        path: a page in MyST Markdown.
        root: the folder that holds ``requirements.txt`` and ``code/dl4cv``.
    """
    package = root / "code" / "dl4cv"
    cells = list(_cells(path.read_text("utf-8")))
    reached = set().union(*(_imports(code, package) for _, code in cells))
    exercises = f"exercises.{path.stem}"
    if (package / "exercises" / f"{path.stem}.py").is_file():
        reached.add(f"{package.name}.{exercises}")
    modules = provenance.modules_reached(sorted(reached), package)
    return Fingerprint(
        {
            "its cells": storage.sha256(repr(cells).encode()),
            **modules,
            **_measured_before(package, path),
            "requirements.txt": storage.sha256_of_file(root / "requirements.txt"),
            "Python": ".".join(map(str, sys.version_info[:2])),
            "the budget": str(budgets.current_budget()),
            "the device": _device(),
            "the processor": machine.processor(),
            "the number of threads": _threads(),
        }
    )


def _measured_before(package: Path, page: Path) -> dict[str, str]:
    """Return the digest of what the page measured over several seeds, if it did."""
    file = package / "evidence" / "kept" / f"{page.stem}.json"
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


@cache
def _device() -> str:
    """Return the accelerator that the system shows, without asking PyTorch, which is slow."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return "cpu"
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    models = [re.search(r"^Model:\s*(.+)$", card.read_text(), re.MULTILINE) for card in cards]
    if models:
        return ", ".join(model[1] for model in models if model)
    if Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists():
        return "cuda"
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return "mps" if apple else "cpu"


def _threads() -> str:
    return os.environ.get("OMP_NUM_THREADS") or str(machine.cores())
