"""The package declares what it imports, and runs without what builds the book."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from dl4cv.book.chapters import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
SOURCES = sorted((ROOT / "code/dl4cv").rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Return the modules of other distributions that a file imports anywhere."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            named.add(node.module or "")
    return {name for name in named if name.partition(".")[0] not in {"dl4cv", *STANDARD}}


STANDARD = sys.stdlib_module_names
PROVIDERS: dict[str, list[str]] = defaultdict(list, metadata.packages_distributions())


def declared(*groups: list[str]) -> set[str]:
    names = (re.split(r"[ ;<>=]", entry)[0] for group in groups for entry in group)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def is_declared(module: str, names: set[str]) -> bool:
    providers = PROVIDERS[module.partition(".")[0]]
    return bool(declared(providers) & names)


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: str(f.relative_to(ROOT / "code")))
def test_every_import_is_declared(file):
    groups = [PROJECT["dependencies"]]
    if file.is_relative_to(ROOT / "code/dl4cv/book"):
        groups.append(EXTRAS["book"])
    names = declared(*groups)
    assert [module for module in imported(file) if not is_declared(module, names)] == []


def test_everything_but_the_builder_imports_without_the_extra():
    needed = declared(PROJECT["dependencies"])
    extra = declared(EXTRAS["book"]) - needed
    blocked = [module for module, names in PROVIDERS.items() if module and declared(names) <= extra]
    assert "sphinx" in blocked
    modules = [
        ".".join(file.relative_to(ROOT / "code").with_suffix("").parts)
        for file in SOURCES
        if file.stem not in ("__init__", "__main__")
        and not file.is_relative_to(ROOT / "code/dl4cv/book")
    ]
    program = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"  # None there forbids the import
        f"for name in {modules!r}:\n    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_addresses_and_version_are_the_same_everywhere():
    repository = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    owner, name = repository.removeprefix("https://github.com/").split("/")
    assert PROJECT["urls"] == {
        "Homepage": f"https://{owner}.github.io/{name}/",
        "Repository": repository,
        "Issues": f"{repository}/issues",
    }
    assert citation["repository-code"] == repository
    assert citation["version"] == PROJECT["version"]
