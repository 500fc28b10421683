"""The static import graph of the package: which of its modules a name or a program reaches.

Nothing is imported to find out: the files are parsed, so that a build can ask before it starts
anything heavy.
"""

import ast
import importlib.util
import uuid
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from dl4cv import storage

#: The folder of the package that these functions look at unless told otherwise.
PACKAGE = Path(__file__).resolve().parents[1]


def modules_reached(
    names: Iterable[str], package: Path = PACKAGE, *, parents: bool = True
) -> dict[str, str]:
    """Return the modules of the package that ``names`` import, directly or through others.

    A module reaches what its source imports anywhere, in a function too. What is imported by a
    computed name is not seen.

    Args:
        names: dotted names of modules, such as ``dl4cv.training``.
        package: the folder ``dl4cv`` to look in.
        parents: whether a module reaches the packages above it, whose ``__init__`` runs before it
            but need not lend it anything.

    Returns:
        The SHA-256 of each module's source by its dotted name, the given ones included, sorted.

    Raises:
        ValueError: if one of ``names`` is no module of the package.
    """
    waiting = list(names)
    for name in waiting:
        if _file(name, package) is None:
            raise ValueError(f"{name!r} is no module below {package}")
    reached: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        file = _file(name, package)
        if name in reached or file is None:
            continue
        source = file.read_bytes()
        reached[name] = storage.sha256(source)
        inside = name if file.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imported(source.decode(), inside, package.name)
        if parents:
            waiting.append(name.rpartition(".")[0])
    return dict(sorted(reached.items()))


def imports(source: str, package: Path = PACKAGE) -> set[str]:
    """Return the modules of the package that ``source``, a program, imports by itself.

    Raises:
        SyntaxError: if ``source`` is not Python.
    """
    named = _imported(source, "", package.name)
    return {name for name in named if _file(name, package) is not None}


def running(names: Iterable[str]) -> dict[str, str]:
    """Return the digests of the modules that ``names`` reach, as this process runs them."""
    reached = modules_reached(names, parents=False)
    return {
        name: digest if _AT_START.get(name) == digest else digest + _UNSURE
        for name, digest in reached.items()
    }


def _all_modules() -> dict[str, str]:
    """Return the SHA-256 of the source of every module of the package, by dotted name."""
    digests: dict[str, str] = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        digests[name] = storage.sha256(file.read_bytes())
    return digests


#: The package's sources when this process began. A file that was edited since may or may not be
#: what the process runs, so then its digest is one that no other process will ever have.
_AT_START = _all_modules()
_UNSURE = f" edited while process {uuid.uuid4()} ran"


def _file(name: str, package: Path) -> Path | None:
    """Return the source file of the module ``name``, or None if there is no such module."""
    first, *rest = name.split(".")
    if first != package.name:
        return None
    stem = package.joinpath(*rest)
    candidates = [stem / "__init__.py", stem.with_suffix(".py")]
    return next((file for file in candidates if file.is_file()), None)


@lru_cache(maxsize=1024)
def _imported(source: str, inside: str, top: str) -> frozenset[str]:
    """Return every dotted name below ``top`` that ``source`` may import.

    ``from a import b`` gives both ``a`` and ``a.b``, since ``b`` may be a module.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # ``import a.b`` binds ``a``; ``import a.b as c`` binds ``a.b`` alone.
                prefixes = accumulate(alias.name.split("."), "{}.{}".format)
                names |= {alias.name} if alias.asname else set(prefixes)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), inside)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(name for name in names if name.split(".")[0] == top)
