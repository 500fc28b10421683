"""What a chapter measures over several seeds, where a build has time for one.

It is measured once, by ``make repeat CHAPTER=gans``, and kept in ``dl4cv/evidence/kept/gans.json``,
where ``evidence.repeats.load("gans")`` finds it. The chapter's cells with the tag ``recipe`` define
``repeat(seed)``, which measures everything with that seed and returns numbers by two names, such as
``{"dcgan": {"frechet": 3.1}}``.
"""

import ast
import io
import json
import time
import tokenize
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from dl4cv import budgets, provenance, storage
from dl4cv.book.chapters import Chapter
from dl4cv.book.machine import machine
from dl4cv.evidence import repeats

TAG = "recipe"
SEEDS = (0, 1, 2)
PACKAGE = Path(__file__).resolve().parents[1]


def measure(chapter: Chapter) -> Path:
    """Run the chapter's recipe with every seed, and write what it returns where chapters load it.

    Returns:
        The file that was written.

    Raises:
        ValueError: if the chapter has no recipe, or the budget is not the book's.
    """
    if not (recipe := _recipe(chapter)):
        raise ValueError(f"{chapter.source} has no cell with the tag {TAG!r}")
    if (budget := budgets.current_budget()) is not budgets.Budget.BOOK:
        raise ValueError(f"the budget is {budget}; expected {budgets.Budget.BOOK}")
    namespace: dict = {"__name__": "__main__"}  # so that runs are keyed by what the cells say
    # As a kernel does it, one statement after the other: compiled with its import in one piece,
    # `nn.Linear(2)` becomes other bytecode than without, and a training would have another key.
    for statement in ast.parse(recipe).body:
        exec(compile(ast.Module([statement], []), str(chapter.source), "exec"), namespace)
    values: dict[str, dict[str, list[float]]] = {}
    for seed in SEEDS:
        start = time.perf_counter()
        for what, numbers in namespace["repeat"](seed).items():
            for mark, number in numbers.items():
                values.setdefault(what, {}).setdefault(mark, []).append(float(f"{number:.4g}"))
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    content = {
        **_keys(recipe),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "torch": version("torch"),
        "seeds": SEEDS,
        "values": values,
    }
    target = file_of(chapter)
    storage.write_atomically(target, (json.dumps(content, indent=1) + "\n").encode())
    return target


def problem(chapter: Chapter) -> str | None:
    """Return what is wrong with a chapter's kept measurements, or None."""
    recipe, file = _recipe(chapter), file_of(chapter)
    again = f"run `make repeat CHAPTER={chapter.name}`"
    if recipe and not file.exists():
        return f"{file.name} is missing; {again}"
    if file.exists() and not recipe:
        return f"{file.name} has no recipe in the chapter: no cell has the tag {TAG!r}"
    if recipe:
        kept = json.loads(file.read_text("utf-8"))
        for what, digest in _keys(recipe).items():
            if kept.get(what) != digest:
                return f"{file.name} was measured with another {_WORDS[what]}; {again}"
    return None


def file_of(chapter: Chapter) -> Path:
    """Return where the chapter's measurements are kept, whether or not there are any."""
    return repeats.FOLDER / f"{chapter.name}.json"


_WORDS = {"recipe": "recipe", "modules": "state of the package that the recipe reaches"}


def _keys(recipe: str) -> dict[str, str]:
    """Return what decides whether a measurement is still the recipe's: its text, its modules'."""
    reached = provenance.modules_reached(sorted(provenance.imports(recipe)), parents=False)
    modules = "".join(f"{name}\n{_code(_source(name))}" for name in reached)
    return {"recipe": storage.sha256(recipe.encode()), "modules": storage.sha256(modules.encode())}


def _source(module: str) -> str:
    stem = PACKAGE.parent.joinpath(*module.split("."))
    file = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
    return file.read_text("utf-8")


def _code(source: str) -> str:
    """Return Python source without its comments, docstrings and empty lines.

    They change often, and a measurement of many minutes does not depend on them.
    """
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            assert docstring.end_lineno is not None
            lines[docstring.lineno - 1 : docstring.end_lineno] = [""] * (
                docstring.end_lineno - docstring.lineno + 1
            )
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _recipe(chapter: Chapter) -> str:
    cells = [cell for cell in chapter.read().cells if TAG in cell.metadata.get("tags", [])]
    return "\n".join(cell.source for cell in cells)
