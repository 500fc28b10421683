"""What a chapter measures with several seeds: written whole, known to be stale, and loaded."""

from pathlib import Path

import pytest
from dl4cv.book import repeats
from dl4cv.book.chapters import ROOT, Chapter, chapters
from dl4cv.evidence import repeats as kept

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
RECIPE = """from dl4cv import storage


def repeat(seed):
    return {"net": {"error": 1 / (3 + seed), "seed": seed}}"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch) -> Chapter:
    monkeypatch.delenv("DL4CV_BUDGET", raising=False)
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    return write(tmp_path, RECIPE)


def write(folder: Path, recipe: str) -> Chapter:
    page = folder / "tiny.md"
    page.write_text(PAGE.format(recipe=recipe))
    return Chapter(page)


def test_each_seed_is_measured_and_loaded(tiny, capsys):
    assert repeats.measure(tiny) == kept.FOLDER / "tiny.json"
    capsys.readouterr()
    found = kept.load("tiny")
    assert found.seeds == [0, 1, 2]
    assert found.values == {"net": {"error": [0.3333, 0.25, 0.2], "seed": [0, 1, 2]}}
    machine = found.machine
    assert capsys.readouterr().out == (
        f"measured on {found.date} with seeds 0, 1, 2, "
        f"by {machine['cores']} cores of {machine['processor']}\n"
    )
    assert repeats.problem(tiny) is None


def test_what_was_never_measured_cannot_be_loaded(tiny):
    repeats.measure(tiny)
    with pytest.raises(ValueError, match="name is 'none'; expected one of: tiny"):
        kept.load("none")


def test_a_recipe_that_was_not_measured_is_a_problem(tiny):
    assert repeats.problem(tiny) == "tiny.json is missing; run `make repeat CHAPTER=tiny`"


def test_a_recipe_that_changed_is_a_problem(tiny):
    repeats.measure(tiny)
    changed = write(tiny.source.parent, RECIPE.replace("3 +", "4 +"))
    assert "was measured with another recipe" in repeats.problem(changed)


def test_a_module_that_the_recipe_reaches_and_that_changed_is_a_problem(tiny, monkeypatch):
    repeats.measure(tiny)
    source = repeats._source
    monkeypatch.setattr(repeats, "_source", lambda name: f"{source(name)}\n# done\n")
    assert repeats.problem(tiny) is None, "a comment changes nothing"
    monkeypatch.setattr(repeats, "_source", lambda name: f"{source(name)}\nx = 1\n")
    assert "was measured with another state of the package" in repeats.problem(tiny)


def test_code_is_what_is_left_without_comments_docstrings_and_empty_lines():
    source = '''"""Doc."""

import a  # why


class A:
    """Doc.

    More.
    """

    def f(self):
        """Doc."""
        return "# no comment"  # one
'''
    assert repeats._code(source).splitlines() == [
        "import a",
        "class A:",
        "    def f(self):",
        '        return "# no comment"',
    ]


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


def test_a_training_has_the_key_that_a_notebook_gives_it(tiny):
    recipe = """from torch import nn

from dl4cv import provenance


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)


def repeat(seed):
    return {"key": {"is": int(provenance.Hasher().digest(Net)[:8], 16)}}"""
    repeats.measure(write(tiny.source.parent, recipe))
    [in_a_recipe] = set(kept.load("tiny").values["key"]["is"])
    assert in_a_recipe == float(f"{key_in_a_kernel(recipe):.4g}")


def key_in_a_kernel(recipe: str) -> int:
    import nbformat
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(code) for code in (recipe, "repeat(0)['key']['is']")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    quiet = ["--IPKernelApp.log_level=ERROR"]
    NotebookClient(notebook, kernel_name="python3", extra_arguments=quiet).execute()
    return int(notebook.cells[-1].outputs[0].data["text/plain"])


def test_whatever_is_kept_belongs_to_a_chapter():
    names = {chapter.name for chapter in chapters(ROOT)}
    kept_files = {path.stem for path in kept.FOLDER.glob("*.json")}
    assert kept_files
    assert kept_files <= names


@pytest.mark.parametrize("name", sorted(path.stem for path in kept.FOLDER.glob("*.json")))
def test_what_is_kept_has_a_number_for_each_seed(name):
    found = kept.load(name)
    assert {len(each) for marks in found.values.values() for each in marks.values()} == {
        len(found.seeds)
    }
