"""A function of a reader's own module counts with all that it reaches; the module is refused."""

import importlib
import sys
from pathlib import Path

import pytest
from dl4cv import provenance

#: A function that ends up in ``deep``, two modules away, by names that were imported.
OUTER = [
    "from mine import f as g\ndef f(): return g()",
    "from mine import f",
    "from mine import *",
    "from mine import f as g\nf = lambda: [g() for _ in 'a']",
    "from mine import f as g\nclass f:\n def __call__(self): return g()",
    "import functools, mine\nf = functools.partial(mine.f)",
]
INNER = [
    "from helpers import g\ndef f(): return g()",
    "from helpers import g as h\nf = lambda: h()",
    "from helpers import K\nclass f:\n def __call__(self): return K.k",
]
#: What refers to a module as a whole, and what an error says of it.
REFUSED = [
    ("import helpers\ndef f(): return helpers.g()", "f → helpers is a module"),
    ("import helpers as h\nf = lambda: [h.g() for _ in 'a']", "f → h is a module"),
    ("import helpers\nclass f:\n def g(self): return helpers.g()", "f → g → helpers is a module"),
    ("def f():\n import helpers\n return helpers.g()", "f imports helpers"),
    ("def f():\n from helpers import g\n return g()", "f imports helpers"),
    ("def f():\n def g():\n  import helpers\n return g", "f imports helpers"),
    ("from mine import f", "f → helpers is a module"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def digest(cell: str) -> str:
    """Return the digest of a cell's ``f`` in a session that imports everything again."""
    for name in [name for name in sys.modules if name in ("mine", "helpers", "deep")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    space = {"__name__": "__main__"}
    exec(cell, space)
    return provenance.Hasher().digest(space["f"], "f")


def write_modules(folder: Path, mine: str) -> None:
    (folder / "mine.py").write_text(mine)
    (folder / "helpers.py").write_text("from deep import k\nclass K: k = k\ndef g(): return k")
    (folder / "deep.py").write_text("k = 1")


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("outer", OUTER)
def test_an_edit_two_modules_away_is_noticed(folder: Path, outer, inner):
    write_modules(folder, inner)
    before = digest(outer)
    assert digest(outer) == before
    (folder / "deep.py").write_text("k = 2")
    assert digest(outer) != before


@pytest.mark.parametrize(("cell", "what"), REFUSED)
def test_a_module_of_the_readers_own_is_refused_by_its_name(folder: Path, cell, what):
    write_modules(folder, "import helpers\ndef f(): return helpers.g()")
    with pytest.raises(TypeError, match=f"{what}, which cannot be hashed; import "):
        digest(cell)


def test_what_a_module_holds_besides_does_not_count(folder: Path):
    (folder / "mine.py").write_text("import threading\nlock = threading.Lock()\ndef f(): return 1")
    assert digest("from mine import f") == digest("def f(): return 1")
