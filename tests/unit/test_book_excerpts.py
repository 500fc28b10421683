"""Included source: what of it a page and a notebook show."""

import ast
import textwrap
from pathlib import Path

import dl4cv
import pytest
from dl4cv.book.excerpts import WIDTH, excerpt
from hypothesis import given
from hypothesis import strategies as st

MODULE = '''
"""A module.

With a second paragraph.
"""


def twice(x):
    """Return two times ``x``.

    Args:
        x: a number.
    """
    return 2 * x  # doubled


@final
@slow
class Net:
    r"""A net
    over two lines.

    Source: somebody.
    """

    def forward(self, x):
        """Go forward.

        Shape: any.
        """
        text = """a

        b"""
        return x, text

    async def load(self):
        """Load."""


def bare():
    pass
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(MODULE, "utf-8")
    return path


def test_a_function_shows_its_body_and_one_line_of_docstring(module: Path):
    assert excerpt(module, "twice") == (
        'def twice(x):\n    """Return two times ``x``."""\n    return 2 * x  # doubled\n'
    )


def test_a_method_comes_without_its_class_indentation(module: Path):
    assert excerpt(module, "Net.forward").startswith(
        'def forward(self, x):\n    """Go forward."""\n    text = """a\n'
    )
    assert excerpt(module, "Net.load") == 'async def load(self):\n    """Load."""\n'


def test_a_class_keeps_its_decorators_and_cuts_each_docstring(module: Path):
    shown = excerpt(module, "Net")
    assert shown.startswith('@final\n@slow\nclass Net:\n    r"""A net\n    over two lines."""\n\n')
    assert "Source" not in shown
    assert "Shape" not in shown
    assert "b" in ast.parse(shown).body[0].body[1].body[1].value.value  # pyright: ignore
    assert shown.endswith('        """Load."""\n')


def test_what_has_no_docstring_is_shown_whole(module: Path):
    assert excerpt(module, "bare") == "def bare():\n    pass\n"


@pytest.mark.parametrize("name", ["none", "Net.none", "twice.x", ""])
def test_a_name_that_is_not_there_is_an_error(module: Path, name: str):
    with pytest.raises(ValueError, match=f"pyobject is '{name}'.*module.py"):
        excerpt(module, name)


def _without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.dump(tree)


def test_prose_is_wrapped_like_code(tmp_path: Path):
    words = "one two three four five six seven eight nine ten eleven twelve thirteen"
    (path := tmp_path / "module.py").write_text(
        f'''
def f(x):
    """Return {words} fifteen.

    Args:
        x: a number.
    """
    # Short.

    # Not {words}, fifteen
    # and sixteen.
    text = """
    # {words} {words}
    """
    return x, text
''',
        "utf-8",
    )
    assert excerpt(path, "f").splitlines() == [
        "def f(x):",
        f'    """Return {words}',
        '    fifteen."""',
        "    # Short.",
        "",
        f"    # Not {words},",
        "    # fifteen and sixteen.",
        '    text = """',
        f"    # {words} {words}",
        '    """',
        "    return x, text",
    ]


FILES = sorted(Path(dl4cv.__file__).parent.rglob("*.py"))


@given(st.data())
def test_an_excerpt_of_the_package_is_the_same_code(data: st.DataObject):
    path = data.draw(st.sampled_from(FILES))
    source = path.read_text("utf-8")
    nodes = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    if not nodes:
        return
    node = data.draw(st.sampled_from(nodes))
    whole = textwrap.dedent(ast.get_source_segment(source, node) or "")
    shown = excerpt(path, node.name)
    lines = shown.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(("def ", "class ")))
    assert _without_docstrings("\n".join(lines[start:])) == _without_docstrings(whole)
    assert "\n    Args:" not in shown
    comments = [line for line in lines if line.lstrip().startswith("# ")]
    docstrings = [line for line in lines if '"""' in line]
    assert max(map(len, comments + docstrings), default=0) <= WIDTH
