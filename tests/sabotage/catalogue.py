"""The known ways to break the book, and what the outcome of each depends on."""

import json
import platform
import tomllib
from functools import cache
from pathlib import Path

from dl4cv import provenance, storage

ROOT = Path(__file__).resolve().parents[2]


def read() -> list[dict]:
    """Return every case of ``cases/``: its name, file, find, replace and tests."""
    files = sorted(Path(__file__).with_name("cases").glob("*.toml"))
    return [case for path in files for case in tomllib.loads(path.read_text("utf-8"))["case"]]


def digest(case: dict) -> str:
    """Return the SHA-256 of all that decides whether the tests of ``case`` notice its breakage.

    A unit test depends on itself, on the helpers beside it and on the modules of the package that
    these reach; any other test may read the whole book.
    """
    tests = [ROOT / word.partition("::")[0] for word in case["tests"]]
    files = [path for path in tests if path.is_file()]
    unit = ROOT / "tests" / "unit"
    if all(path.is_relative_to(unit) for path in files):
        files += [path for path in sorted(unit.glob("*.py")) if not path.name.startswith("test_")]
        names = set().union(*(provenance.imports(path.read_text("utf-8")) for path in files))
        reached = {**provenance.modules_reached(sorted(names)), **_data_of_the_package()}
    else:
        reached = _whole_book()
    parts = {
        "case": case,
        "harness": {name: storage.sha256_of_file(ROOT / name) for name in HARNESS},
        "files": [storage.sha256_of_file(path) for path in [*files, ROOT / case["file"]]],
        "reached": reached,
        "python": platform.python_version(),
    }
    return storage.sha256(json.dumps(parts, sort_keys=True).encode())


HARNESS = (
    "conftest.py",
    "pyproject.toml",
    "requirements.txt",
    "tests/sabotage/test_sabotage.py",
    "tests/sabotage/worker.py",
)


@cache
def _data_of_the_package() -> dict[str, str]:
    folder = ROOT / "code" / "dl4cv"
    return _digests(path for path in folder.rglob("*") if path.suffix not in (".py", ".pyc"))


@cache
def _whole_book() -> dict[str, str]:
    folders = [ROOT / name for name in ("book", "code", "tests/chapters")]
    return _digests(
        path for folder in folders for path in folder.rglob("*") if path.suffix != ".pyc"
    )


def _digests(paths) -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): storage.sha256_of_file(path)
        for path in sorted(paths)
        if path.is_file()
    }
