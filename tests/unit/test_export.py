"""Chapters as notebooks: what each construct of a page becomes, and what is an error."""

import re
from pathlib import Path

import nbformat
import pytest
from dl4cv.book import export, references
from dl4cv.book.chapters import Chapter
from small_book import FRONT_MATTER

FIGURE = """```{{code-cell}} ipython3
---
mystnb:
  image: {{alt: "Seen."}}
  figure: {{caption: "{caption}", name: {name}}}
tags: [hide-input]
---
1 + 1
```
"""
SITE = "https://somebody.github.io/a-book/"
REPOSITORY = "https://github.com/somebody/a-book"
BIB = r"""
@article{one, author = {Kynk{\"a}{\"a}nniemi, Tuomas}, title = {A}, year = 2019}
@article{two, author = {van den Oord, Aaron and B{\'e}zier, P.}, title = {A}, year = 2016}
@article{three, author = {A, B and C, D and E, F}, title = {A}, year = {2020}}
"""


@pytest.fixture
def book(tmp_path: Path):
    """Return a function that exports a page which follows another with a figure."""
    (tmp_path / "book/references").mkdir(parents=True)
    (tmp_path / "book/references/all.bib").write_text(BIB)
    (tmp_path / "_config.yml").write_text(
        f"title: A book\nrepository: {{url: {REPOSITORY}, branch: main}}\n"
    )
    (tmp_path / "_toc.yml").write_text(
        "root: book/index\nparts:\n  - chapters:\n      - file: book/preface\n"
        "  - numbered: 1\n    chapters:\n      - file: book/part/before\n"
        "      - file: book/part/here\n"
    )
    figures = [FIGURE.format(caption="A.", name=f"{name}-fig") for name in ("index", "preface")]
    (tmp_path / "book/index.md").write_text(f"{FRONT_MATTER}# Front\n\n{figures[0]}")
    (tmp_path / "book/preface.md").write_text(f"{FRONT_MATTER}# Preface\n\n{figures[1]}")
    (tmp_path / "book/part").mkdir()
    (tmp_path / "book/part/before.md").write_text(
        FRONT_MATTER
        + "(before)=\n# What came before\n\n"
        + FIGURE.format(caption="A curve.", name="before-fig_a")
        + "```{math}\n:label: before-eq\nx\n```\n"
        + "```{exercise} Try\n:label: before-ex_a\nDo.\n```\n"
    )
    (tmp_path / "code").mkdir()
    (tmp_path / "code/shown.py").write_text(
        'def shown(x):\n    """Return x.\n\n    Args:\n        x: y\n    """\n    return x\n'
    )

    def exported(body: str, **quoted: str) -> nbformat.NotebookNode:
        source = tmp_path / "book/part/here.md"
        source.write_text(FRONT_MATTER + "(here)=\n# Here\n\n" + body, "utf-8")
        known = references.read(tmp_path)
        return export.notebook(Chapter(source), known, quoted, tmp_path)

    return exported


@pytest.fixture
def text(book):
    """Return a function that exports a page and returns its Markdown below the title."""

    def exported(body: str, **quoted: str) -> str:
        cells = [c.source for c in book(body, **quoted).cells if c.cell_type == "markdown"]
        return "\n\n---\n\n".join(cells[1:]).removeprefix("# Here").strip()

    return exported


def test_a_notebook_begins_with_where_it_is_from_and_an_install(book):
    first, install = book("Text.\n").cells[:2]
    assert f"[A book]({SITE})" in first.source
    assert f"({SITE}book/part/here.html)" in first.source
    assert install.metadata == {"cellView": "form", "jupyter": {"source_hidden": True}}
    names: dict = {}
    exec(install.source, names)  # where the package is installed, no shell is asked
    assert f"git+{REPOSITORY}" in install.source


def test_a_missing_package_is_installed(book, monkeypatch):
    commands = []

    class Shell:
        def run_line_magic(self, *command):
            commands.append(command)

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(book("").cells[1].source, {"get_ipython": Shell})
    assert commands == [("pip", f"install -q git+{REPOSITORY}")]


def test_code_cells_stay_as_they_are(book):
    cells = book(FIGURE.format(caption="A.", name="here-fig")).cells[2:]
    assert [c.source for c in cells if c.cell_type == "code"] == ["1 + 1"]
    [code] = [c for c in cells if c.cell_type == "code"]
    assert code.metadata.tags == ["hide-input"]
    assert code.metadata.jupyter == {"source_hidden": True}


def test_a_caption_follows_its_cell_with_the_books_number(text):
    body = FIGURE.format(caption="A *fine* {numref}`before-fig_a`.", name="here-fig")
    url = f"{SITE}book/part/before.html#before-fig-a"
    assert text(body).endswith(f"**Fig. 2.1.** A *fine* [Fig. 1.1]({url}).")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("{numref}`before-fig_a`", f"[Fig. 1.1]({SITE}book/part/before.html#before-fig-a)"),
        ("{numref}`preface-fig`", f"[Fig. 2]({SITE}book/preface.html#preface-fig)"),
        ("{eq}`before-eq`", f"[(1.1)]({SITE}book/part/before.html#equation-before-eq)"),
        ("{ref}`before`", f"[What came before]({SITE}book/part/before.html#before)"),
        ("{ref}`the\npage <before>`", f"[the page]({SITE}book/part/before.html#before)"),
        ("{ref}`before-ex_a`", f"[Exercise 1.1]({SITE}book/part/before.html#before-ex_a)"),
        ("{doc}`before`", f"[What came before]({SITE}book/part/before.html)"),
        ("{doc}`it <../index>`", f"[it]({SITE}book/index.html)"),
        ("[it](../index.md)", f"[it]({SITE}book/index.html)"),
        ("[it](before.md#before)", f"[it]({SITE}book/part/before.html#before)"),
        ("{cite:t}`one`", f"[Kynkäänniemi (2019)]({SITE}book/bibliography.html#ref-one)"),
        (
            "{cite:p}`two,three`",
            f"([van den Oord and Bézier, 2016]({SITE}book/bibliography.html#ref-two); "
            f"[A et al., 2020]({SITE}book/bibliography.html#ref-three))",
        ),
        ("{glue:text}`here/a`", "93.1 %"),
        ("`{ref}` and ``a `b` c``", "`{ref}` and ``a `b` c``"),
        ("Get it from REPOSITORY.", f"Get it from {REPOSITORY}."),
        ("$a_i$ and $$ b $$", "$a_i$ and $$ b $$"),
    ],
)
def test_roles_become_text_and_links(text, written, read):
    assert text(f"See {written}, too.\n", **{"here/a": "93.1 %"}) == f"See {read}, too."


def test_only_quoted_values_are_kept(book):
    metadata = book("{glue:text}`here/a`", **{"here/a": "1", "here/b": "2"}).metadata
    assert metadata.dl4cv == {"quoted": {"here/a": "1"}}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("(here-sec)=\n## A section\n", "## A section"),
        ("```{math}\n:label: here-eq\na\n\n+ b\n```", "$$\na\n+ b\n\\tag{2.1}\n$$"),
        ("```{math}\na\n```", "$$\na\n$$"),
        (
            "```{literalinclude} ../../code/shown.py\n:pyobject: shown\n:language: python\n```",
            '```python\ndef shown(x):\n    """Return x."""\n    return x\n```\n\n'
            f"From [code/shown.py]({REPOSITORY}/blob/main/code/shown.py).",
        ),
        ("```{note}\nA {glue:text}`here/a`.\n\nB\n```", "> **Note.**\n>\n> A 1.\n>\n> B"),
        (":::{tip}\nA\n:::", "> **Tip.**\n>\n> A"),
        ("::::{container} links\n[A](before.md)\n::::", f"[A]({SITE}book/part/before.html)"),
        (
            ":::{table} A {glue:text}`here/a`\n:name: here-tab\n\n| a |\n|---|\n| b |\n:::",
            "**Table 2.1.** A 1\n\n| a |\n|---|\n| b |",
        ),
        ("```python\n{ref}`a`\n```", "```python\n{ref}`a`\n```"),
        ("- A\n\n  ```{math}\n  a\n  ```\n", "- A\n\n  $$\n  a\n  $$"),
    ],
)
def test_directives_become_markdown(text, written, read):
    assert text(written + "\n", **{"here/a": "1"}) == read


def test_an_exercise_and_its_solution_in_words(text):
    body = (
        ":::{exercise} Why {eq}`before-eq`?\n:label: here-ex\nSay.\n:::\n\n"
        "```{solution} here-ex\n:label: here-sol\n:class: dropdown\nSo.\n```\n"
    )
    title = f"Why [(1.1)]({SITE}book/part/before.html#equation-before-eq)?"
    assert text(body) == (
        f"**Exercise 2.1 ({title}).**\n\nSay.\n\n"
        "<details><summary>Solution to Exercise 2.1</summary>\n\nSo.\n\n</details>"
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("So.", "<details><summary>Solution to Exercise 2.1</summary>\n\nSo.\n\n</details>"),
        ("", "**Solution to Exercise 2.1**, in the folded cell below."),
    ],
)
def test_a_solution_in_code_is_a_folded_cell(book, words, shown):
    cells = book(
        "```{exercise-start} T\n:label: here-ex\n```\nDo.\n```{exercise-end}\n```\n"
        f"```{{solution-start}} here-ex\n:label: here-sol\n```\n{words}\n"
        "```{code-cell} ipython3\n:tags: [exercise-solution]\nx = 1\n```\n"
        "```{solution-end}\n```\nAfter.\n"
    ).cells
    before, code, after = cells[2:]
    assert before.source.endswith(shown)
    assert code.source == "x = 1"
    assert code.metadata.jupyter == {"source_hidden": True}
    assert after.source == "After."


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("```{tabs}\nA\n```", "directive {tabs} has no form"),
        ("A {kbd}`x`.", "role {kbd} has no form"),
        ("A {ref}`nowhere`.", "no page has the label 'nowhere'"),
        ("A {doc}`nowhere`.", "there is no page 'book/part/nowhere'"),
        ("A [link](nowhere.md).", "there is no page 'book/part/nowhere'"),
        ("A {cite:t}`nobody`.", "the bibliography has no 'nobody'"),
        ("A {glue:text}`here/none`.", "no run measured 'here/none'"),
        ("$$ a $$ (label)", "takes no label"),
    ],
)
def test_what_has_no_form_is_an_error_with_its_place(book, written, complaint):
    lines = (FRONT_MATTER + "(here)=\n# Here\n\n").count("\n")
    with pytest.raises(
        export.ExportError, match=rf"here\.md:{lines + 3}: .*{re.escape(complaint)}"
    ):
        book(f"A line.\n\n{written}\n")


def test_values_are_what_the_cells_recorded():
    output = nbformat.v4.new_output(
        "display_data",
        {export.GLUE: "'1,024'"},
        metadata={"scrapbook": {"name": "here/a"}},
    )
    cells = [nbformat.v4.new_markdown_cell(), nbformat.v4.new_code_cell(outputs=[output])]
    assert export.values(nbformat.v4.new_notebook(cells=cells)) == {"here/a": "1,024"}
