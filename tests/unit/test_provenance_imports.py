"""A reader's own module counts with all that it reaches, whatever way it is imported."""

import importlib
import sys
from pathlib import Path

import pytest
from dl4cv import provenance

#: A function that ends up in ``deep``, two modules away, by the ways in which one can import.
OUTER = [
    "import mine\ndef f(): return mine.f()",
    "import mine as m\ndef f(): return m.f()",
    "from mine import f as g\ndef f(): return g()",
    "from mine import f",
    "from mine import *",
    "def f():\n import mine\n return mine.f()",
    "def f():\n from mine import f as g\n return g()",
    "import mine\nf = lambda: [mine.f() for _ in 'a']",
    "import mine\nclass f:\n def __call__(self): return mine.f()",
    "import functools, mine\nf = functools.partial(mine.f)",
    "import functools, mine\nf = functools.cache(mine.f)",
]
INNER = [
    "import helpers\ndef f(): return helpers.g()",
    "from helpers import g\ndef f(): return g()",
    "from helpers import g as h\nf = lambda: h()",
    "def f():\n import helpers as h\n return h.g()",
    "def f():\n from helpers import g\n return g()",
]
PACKAGES = [
    ("import mine.sub\ndef f(): return mine.sub.f()", "from . import deep\ndef f(): return deep.k"),
    ("from mine import sub\ndef f(): return sub.f()", "from .deep import k\ndef f(): return k"),
    ("from mine.sub import f", "from .deep import g\ndef f(): return g()"),
    (
        "def f():\n from mine import sub\n return sub.f()",
        "def f():\n from .deep import g\n return g()",
    ),
    (
        "def f():\n import mine.sub as s\n return s.f()",
        "def f():\n from . import deep\n return deep",
    ),
    (
        "import mine.sub as s\ndef f(): return s.f()",
        "import mine.deep\ndef f(): return mine.deep.k",
    ),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def digest(cell: str) -> str:
    """Return the digest of a cell's ``f`` in a session that imports everything again."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("mine", "helpers", "deep")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    space = {"__name__": "__main__"}
    exec(cell, space)
    return provenance.Hasher().digest(space["f"])


def assert_notices(cell: str, file: Path, edit: tuple[str, str]) -> None:
    before = digest(cell)
    assert digest(cell) == before
    file.write_text(file.read_text().replace(*edit))
    assert digest(cell) != before


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("outer", OUTER)
def test_an_edit_two_modules_away_is_noticed(folder: Path, outer, inner):
    (folder / "mine.py").write_text(inner)
    (folder / "helpers.py").write_text("from deep import k\ndef g(): return k")
    (folder / "deep.py").write_text("k = 1")
    assert_notices(outer, folder / "deep.py", ("1", "2"))


@pytest.mark.parametrize(("outer", "inner"), PACKAGES)
def test_an_edit_within_a_package_is_noticed(folder: Path, outer, inner):
    (folder / "mine").mkdir()
    (folder / "mine/__init__.py").write_text("")
    (folder / "mine/sub.py").write_text(inner)
    (folder / "mine/deep.py").write_text("k = 1\ndef g(): return k")
    assert_notices(outer, folder / "mine/deep.py", ("1", "2"))


def test_a_module_edited_but_not_loaded_again_is_neither_the_old_nor_the_new(folder: Path):
    (folder / "mine.py").write_text("def f(): return 1")
    cell = "import mine\ndef f(): return mine.f()"
    old = digest(cell)
    (folder / "mine.py").write_text("def f(): return 2")
    space = {"__name__": "__main__"}
    exec(cell, space)  # Python goes on with the module that it has
    between = provenance.Hasher().digest(space["f"])
    assert len({old, between, digest(cell)}) == 3


def test_what_a_module_holds_besides_is_no_error(folder: Path):
    (folder / "mine.py").write_text("import threading\nlock = threading.Lock()\nk = 1")
    assert_notices("import mine\ndef f(): return mine.k", folder / "mine.py", ("k = 1", "k = 2"))


def test_modules_that_import_each_other_end(folder: Path):
    (folder / "mine.py").write_text("import helpers\ndef f(): return helpers.g()")
    (folder / "helpers.py").write_text("import mine\ndef g(): return 1 or mine.f()")
    assert_notices("import mine\ndef f(): return mine.f()", folder / "helpers.py", ("1", "2"))


def test_a_module_that_is_missing_is_no_error_here():
    assert digest("def f():\n import mine_is_missing") == digest(
        "def f():\n import mine_is_missing"
    )
