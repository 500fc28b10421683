"""Siblings and downloads of a small book: what they hold, and what the guard sees."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from dl4cv.book import build, downloads, notebooks, outputs, references
from dl4cv.book.chapters import Chapter
from small_book import CLAIM, HEAD

PAGE = (
    HEAD
    + CLAIM
    + """
```{code-cell} ipython3
---
mystnb:
  image: {alt: "A black square."}
  figure: {caption: "A square.", name: tiny-fig-square}
---
from PIL import Image

Image.new("L", (2, 2))
```

```{code-cell} ipython3
print("hello")
```

```{code-cell} ipython3
"a value"
```
"""
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Return a small book whose only chapter was run and exported."""
    root = tmp_path_factory.mktemp("tiny")
    (root / "book").mkdir()
    (root / "requirements.txt").write_text("")
    (root / "code").symlink_to(Path(build.__file__).parents[2])
    (root / "_config.yml").write_text(
        "title: A book\nrepository: {url: https://github.com/somebody/a-book, branch: main}\n"
    )
    (root / "_toc.yml").write_text("root: book/index\nparts: [{chapters: [{file: book/tiny}]}]\n")
    (root / "book/index.md").write_text("# Front\n")
    (root / "book/tiny.md").write_text(PAGE)
    assert notebooks.write_all(root) == [root / "book/tiny.ipynb"]
    return root


@pytest.fixture
def tiny(root: Path):
    """Return the chapter; what a test does to its files is undone."""
    files = [root / "book/tiny.md", root / "book/tiny.ipynb", root / "_config.yml"]
    before = [file.read_bytes() for file in files]
    yield Chapter(files[0])
    for file, content in zip(files, before, strict=True):
        file.write_bytes(content)


def problems(chapter: Chapter, least: int = 3) -> list[str]:
    root = chapter.source.parents[1]
    return notebooks.problems(chapter, references.read(root), root, least)


def read(chapter: Chapter) -> nbformat.NotebookNode:
    return nbformat.read(chapter.notebook, as_version=4)


def kinds(notebook: nbformat.NotebookNode) -> set[str]:
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return {kind for out in outputs for kind in out.get("data", {"stream": 0})}


def test_a_sibling_is_valid_fresh_and_holds_text_alone(tiny):
    nbformat.validate(read(tiny))
    assert problems(tiny) == []
    assert kinds(read(tiny)) == {"text/plain", "stream"}


def test_nothing_is_written_when_nothing_changed(root):
    assert notebooks.write_all(root) == []


def test_a_sibling_shows_what_was_measured(tiny):
    assert "It is 2." in [cell.source for cell in read(tiny).cells]


def test_a_missing_sibling_is_a_problem(tiny):
    tiny.notebook.unlink()
    assert problems(tiny) == ["tiny.ipynb is missing; run `make notebooks`"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('print("hello")', 'print("hallo")'),
        ("It is", "It was"),
        ("A square.", "Black."),
        ("{glue:text}`tiny/two`", "{glue:text}`tiny/three`"),
        (
            '```{code-cell} ipython3\nprint("hello")',
            '```{code-cell} ipython3\n:tags: [hide-input]\nprint("hello")',
        ),
    ],
)
def test_a_sibling_of_another_page_is_stale(tiny, before, after):
    page = tiny.source.read_text()
    assert page.count(before) == 1
    tiny.source.write_text(page.replace(before, after))
    [problem] = problems(tiny)
    assert problem.startswith("tiny.ipynb is stale; run `make notebooks`")


def test_a_sibling_of_a_book_that_moved_is_stale(tiny):
    config = tiny.source.parents[1] / "_config.yml"
    config.write_text(config.read_text().replace("somebody", "another"))
    assert problems(tiny) == ["tiny.ipynb is stale; run `make notebooks`"]


def test_another_measured_value_is_not_staleness(tiny):
    text = tiny.notebook.read_text().replace("It is 2.", "It is 3.")
    tiny.notebook.write_text(text.replace('"tiny/two": "2"', '"tiny/two": "3"'))
    assert problems(tiny) == []


def test_a_value_typed_by_hand_is_staleness(tiny):
    tiny.notebook.write_text(tiny.notebook.read_text().replace("It is 2.", "It is 3."))
    assert problems(tiny) == ["tiny.ipynb is stale; run `make notebooks`"]


def test_a_sibling_that_was_not_run_in_order_is_a_problem(tiny):
    found = read(tiny)
    found.cells[1].execution_count = None
    nbformat.write(found, tiny.notebook)
    assert problems(tiny) == ["tiny.ipynb was not executed from top to bottom"]


def test_a_sibling_that_compares_too_little_is_a_problem(tiny):
    assert problems(tiny, least=9) == ["tiny.ipynb compares 4 cells; expected 9"]


def test_a_download_keeps_pictures_and_leaves_out_what_is_for_the_build(root):
    chapter = Chapter(root / "book/tiny.md")
    found = outputs.OutputCache(root).get(chapter)
    assert found
    known = references.read(root)
    made = notebooks.executed_as(chapter, found[0], known, notebooks.visible, root)
    nbformat.validate(made)
    assert kinds(made) >= {"text/plain", "stream", "image/png"}
    assert not any("dl4cv" in kind or "papermill" in kind for kind in kinds(made))


def test_the_download_button_finds_the_chapter_as_it_was_run(root, tmp_path):
    pages = {"book/index": root / "book/index.md", "book/tiny": root / "book/tiny.md"}
    app = SimpleNamespace(
        builder=SimpleNamespace(format="html"),
        srcdir=root,
        outdir=tmp_path,
        env=SimpleNamespace(found_docs=set(pages), doc2path=pages.get),
    )
    downloads.write_notebooks(app, RuntimeError("the build failed"))
    assert list(tmp_path.iterdir()) == []
    downloads.write_notebooks(app, None)
    [written] = tmp_path.rglob("*.ipynb")
    assert written == tmp_path / "_sources/book/tiny.ipynb"
    assert "image/png" in kinds(nbformat.read(written, as_version=4))
