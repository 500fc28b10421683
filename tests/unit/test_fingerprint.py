"""A page's fingerprint changes exactly when something that its outputs depend on changes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dl4cv import provenance
from dl4cv.book import fingerprint

MODULES = {
    "__init__.py": "",
    "runtime.py": "import torch\n",
    "losses.py": "from dl4cv import runtime\n",
    "optim.py": "import math\n",
    "lone.py": "",
    "training/__init__.py": "from dl4cv.training.fit import fit\n",
    "training/fit.py": "from . import runs\nfrom .. import runtime\nfit = 1\n",
    "training/runs.py": "def save():\n    import dl4cv.storage as storage\n",
    "storage.py": "",
    "exercises/__init__.py": "",
    "exercises/sgd.py": "from dl4cv.losses import softmax_loss\n",
}

SGD = """---
kernelspec:
  name: python3
---

# Optimization

Some prose.

```{code-cell} ipython3
:tags: [hide-input]

from dl4cv import optim
```

````{code-cell}
---
mystnb:
  figure: {caption: "A caption.", name: sgd-fig}
tags:
  - exercise-stub
---
%matplotlib inline
from dl4cv import training as engine
````
"""

TENSORS = "```{code-cell} ipython3\nimport dl4cv.runtime\nx = 1\n```\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, source in MODULES.items():
        file = tmp_path / "code/dl4cv" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    (tmp_path / "requirements.txt").write_text("torch==2.14.1\n")
    (tmp_path / "sgd.md").write_text(SGD)
    (tmp_path / "tensors.md").write_text(TENSORS)
    return tmp_path


def parts(root: Path, chapter: str) -> dict[str, str]:
    return fingerprint.of_chapter(root / f"{chapter}.md", root)


def changed(root: Path, chapter: str, file: str, edit: tuple[str, str] = ("", "")) -> set[str]:
    """Return which parts of a chapter's fingerprint an edit of ``file`` changes."""
    before = parts(root, chapter)
    text = (root / file).read_text()
    (root / file).write_text(text.replace(*edit) if any(edit) else f"{text}# edited\n")
    return {key for key, _ in before.items() ^ parts(root, chapter).items()}


def test_reaches_what_is_imported_in_every_way_and_nothing_else(root: Path):
    reached = {name for name in parts(root, "sgd") if name.startswith("dl4cv")}
    expected = "runtime losses optim training training.fit training.runs storage exercises"
    expected = {"dl4cv", "dl4cv.exercises.sgd", *(f"dl4cv.{name}" for name in expected.split())}
    assert reached == expected
    assert {n for n in parts(root, "tensors") if n.startswith("dl4cv")} == {
        "dl4cv",
        "dl4cv.runtime",
    }


@pytest.mark.parametrize(
    ("module", "chapters"),
    [
        ("optim", {"sgd"}),
        ("losses", {"sgd"}),
        ("training/runs", {"sgd"}),
        ("storage", {"sgd"}),
        ("exercises/sgd", {"sgd"}),
        ("runtime", {"sgd", "tensors"}),
        ("lone", set()),
    ],
)
def test_an_edited_module_changes_exactly_the_chapters_that_reach_it(root, module, chapters):
    name = f"dl4cv.{module.replace('/', '.')}"
    before = {chapter: parts(root, chapter) for chapter in ("sgd", "tensors")}
    file = root / "code/dl4cv" / f"{module}.py"
    file.write_text(file.read_text() + "# edited\n")
    for chapter, was in before.items():
        now = parts(root, chapter)
        assert {key for key in now if now[key] != was[key]} == ({name} & set(was))
        assert (name in was) == (chapter in chapters)


@pytest.mark.parametrize("edit", [("Some prose.", "Other prose."), ("A caption.", "Another.")])
def test_prose_and_captions_change_nothing(root: Path, edit):
    assert changed(root, "sgd", "sgd.md", edit) == set()


@pytest.mark.parametrize(
    ("chapter", "edit", "names"),
    [
        ("tensors", ("x = 1", "x = 2"), {"its cells"}),
        ("sgd", ("hide-input", "hide-output"), {"its cells"}),
        ("sgd", ("exercise-stub", "exercise-solution"), {"its cells"}),
        ("tensors", ("x = 1", "from dl4cv import lone"), {"its cells", "dl4cv.lone"}),
    ],
)
def test_code_and_tags_count(root: Path, chapter, edit, names):
    assert changed(root, chapter, f"{chapter}.md", edit) == names


def test_what_was_measured_before_counts(root: Path):
    kept = "code/dl4cv/evidence/kept/sgd.json"
    (root / kept).parent.mkdir(parents=True)
    (root / kept).write_text("{}")
    assert changed(root, "sgd", kept) == {"sgd.json"}
    assert changed(root, "tensors", kept) == set()


def test_the_pins_count(root: Path):
    assert changed(root, "tensors", "requirements.txt") == {"requirements.txt"}


@pytest.mark.parametrize(
    ("variable", "value", "counts"),
    [("DL4CV_BUDGET", "smoke", {"the budget"}), ("OMP_NUM_THREADS", "7", set())],
)
def test_the_budget_counts_and_threads_do_not(root: Path, monkeypatch, variable, value, counts):
    before = parts(root, "tensors")
    monkeypatch.setenv(variable, value)
    after = parts(root, "tensors")
    assert {key for key in before if before[key] != after[key]} == counts


def test_a_cell_that_is_no_python_is_not_an_error(root: Path):
    (root / "tensors.md").write_text("```{code-cell} ipython3\ndef (\n```\n")
    assert "dl4cv.runtime" not in parts(root, "tensors")


def test_imports_neither_torch_nor_the_modules():
    code = (
        "import sys; from dl4cv import provenance\n"
        "reached = provenance.modules_reached(['dl4cv.training', 'dl4cv.plotting'])\n"
        "assert 'dl4cv.runtime' in reached, reached\n"
        "assert not {'torch', 'dl4cv.training', 'dl4cv.runtime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_the_real_package_is_read_quickly():
    began = time.process_time()
    provenance.modules_reached(provenance.modules_reached(["dl4cv.training"]))
    assert time.process_time() - began < 0.3


def test_an_unknown_module_is_an_error():
    with pytest.raises(ValueError, match=r"dl4cv\.nowhere"):
        provenance.modules_reached(["dl4cv.nowhere"])
