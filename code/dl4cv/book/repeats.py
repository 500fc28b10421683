"""What a chapter measures over several seeds, where a build has time for one.

It is measured once, by ``make repeat CHAPTER=gans``, and kept beside the chapter as ``gans.json``.
The chapter's cells with the tag ``recipe`` define ``repeat(seed)``, which does everything anew and
returns numbers by two names, such as ``{"dcgan": {"frechet": 3.1}}``.
"""

import json
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from dl4cv import budgets, storage
from dl4cv.book.chapters import Chapter
from dl4cv.book.machine import machine

TAG = "recipe"
SEEDS = (0, 1, 2)


def measure(chapter: Chapter) -> Path:
    """Run the chapter's recipe with every seed, and write what it returns beside the chapter.

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
    exec(compile(recipe, str(chapter.source), "exec"), namespace)
    values: dict[str, dict[str, list[float]]] = {}
    for seed in SEEDS:
        start = time.perf_counter()
        for what, numbers in namespace["repeat"](seed).items():
            for mark, number in numbers.items():
                values.setdefault(what, {}).setdefault(mark, []).append(float(f"{number:.4g}"))
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    content = {
        "recipe": _digest(recipe),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "torch": version("torch"),
        "seeds": SEEDS,
        "values": values,
    }
    target = _file(chapter)
    storage.write_atomically(target, (json.dumps(content, indent=1) + "\n").encode())
    return target


def problem(chapter: Chapter) -> str | None:
    """Return what is wrong with a chapter's kept measurements, or None."""
    recipe, file = _recipe(chapter), _file(chapter)
    again = f"run `make repeat CHAPTER={chapter.name}`"
    if recipe and not file.exists():
        return f"{file.name} is missing; {again}"
    if recipe and json.loads(file.read_text("utf-8"))["recipe"] != _digest(recipe):
        return f"{file.name} was measured with another recipe; {again}"
    if file.exists() and not recipe:
        return f"{file.name} has no recipe in the chapter: no cell has the tag {TAG!r}"
    return None


def _recipe(chapter: Chapter) -> str:
    cells = [cell for cell in chapter.read().cells if TAG in cell.metadata.get("tags", [])]
    return "\n".join(cell.source for cell in cells)


def _digest(recipe: str) -> str:
    return storage.sha256(recipe.encode())


def _file(chapter: Chapter) -> Path:
    return chapter.source.with_suffix(".json")
