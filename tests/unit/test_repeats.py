"""What a chapter measures with several seeds: written whole, and known to be stale."""

import json
from pathlib import Path

import pytest
from dl4cv.book import repeats
from dl4cv.book.chapters import Chapter

PAGE = """---
kernelspec:
  name: python3
---

# Tiny

```{{code-cell}} ipython3
:tags: [recipe]
{recipe}
```

```{{code-cell}} ipython3
raise RuntimeError("no part of the recipe")
```
"""
RECIPE = """def repeat(seed):
    return {"net": {"error": 1 / (3 + seed), "seed": seed}}"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch) -> Chapter:
    monkeypatch.delenv("DL4CV_BUDGET", raising=False)
    return write(tmp_path, RECIPE)


def write(folder: Path, recipe: str) -> Chapter:
    page = folder / "tiny.md"
    page.write_text(PAGE.format(recipe=recipe))
    return Chapter(page)


def test_each_seed_is_measured_and_kept(tiny):
    file = repeats.measure(tiny)
    assert file.name == "tiny.json"
    kept = json.loads(file.read_text())
    assert kept["seeds"] == [0, 1, 2]
    assert {"date", "machine", "torch", "recipe"} < kept.keys()
    assert kept["values"] == {"net": {"error": [0.3333, 0.25, 0.2], "seed": [0, 1, 2]}}
    assert repeats.problem(tiny) is None


def test_a_recipe_that_was_not_measured_is_a_problem(tiny):
    assert repeats.problem(tiny) == "tiny.json is missing; run `make repeat CHAPTER=tiny`"


def test_a_recipe_that_changed_is_a_problem(tiny):
    repeats.measure(tiny)
    changed = write(tiny.source.parent, RECIPE.replace("3 +", "4 +"))
    assert "was measured with another recipe" in repeats.problem(changed)


def test_what_no_cell_measures_any_more_is_a_problem(tiny):
    repeats.measure(tiny)
    tiny.source.write_text(tiny.source.read_text().replace("recipe]", "other]"))
    assert "has no recipe in the chapter" in repeats.problem(tiny)
    with pytest.raises(ValueError, match="no cell with the tag 'recipe'"):
        repeats.measure(tiny)


def test_a_recipe_that_fails_leaves_what_was_kept(tiny):
    file = repeats.measure(tiny)
    before = file.read_text()
    with pytest.raises(ZeroDivisionError):
        repeats.measure(write(tiny.source.parent, "def repeat(seed):\n    1 / 0"))
    assert file.read_text() == before


def test_only_the_books_own_budget_is_measured(tiny, monkeypatch):
    monkeypatch.setenv("DL4CV_BUDGET", "smoke")
    with pytest.raises(ValueError, match="the budget is smoke; expected book"):
        repeats.measure(tiny)
