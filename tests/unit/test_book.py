"""The book's machinery on a small book of its own: run, cache, notebooks, lint, new chapters."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from dl4cv.book import __main__ as cli
from dl4cv.book import build, execution, fingerprint, lint, new_chapter
from dl4cv.book.chapters import Chapter, chapters, pages

HEAD = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

(tiny)=
# Tiny

"""
CLAIM = """```{code-cell} ipython3
from dl4cv.evidence import claim

claim("tiny/two", 1 + 1, unit="count", at_least=2)
```

It is {glue:text}`tiny/two`.
"""
PICTURE = """```{code-cell} ipython3
---
mystnb:
  image: {alt: "A black square."}
  figure: {caption: "A square.", name: tiny-fig-square}
---
import torch
from dl4cv import plotting

plotting.show_images(torch.zeros(1, 1, 2, 2), columns=1)
```
"""


def cell(code: str) -> str:
    return f"```{{code-cell}} ipython3\n{code}\n```\n"


@pytest.fixture
def book(tmp_path: Path):
    """Return a function that writes a book of one chapter with the given body."""
    (tmp_path / "book").mkdir()
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "code").symlink_to(Path(build.__file__).parents[2])
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\n"
        "parts:\n  - caption: A\n    chapters:\n      - file: book/tiny\n"
    )
    (tmp_path / "book/index.md").write_text("# Front\n")
    (tmp_path / "_config.yml").write_text(
        "title: A book\nrepository: {url: https://github.com/somebody/a-book, branch: main}\n"
    )

    def write(body: str) -> Chapter:
        source = tmp_path / "book" / "tiny.md"
        source.write_text(HEAD + body, "utf-8")
        return Chapter(source)

    return write


def test_pages_follow_the_contents_and_chapters_have_cells(book, tmp_path):
    tiny = book(CLAIM)
    assert pages(tmp_path) == [tmp_path / "book/index.md", tiny.source]
    assert chapters(tmp_path) == [tiny]
    tiny.source.unlink()
    with pytest.raises(ValueError, match=r"do not exist: book/tiny\.md"):
        pages(tmp_path)


def test_a_chapter_is_run_once_and_again_only_when_something_it_reaches_changed(
    book, tmp_path, monkeypatch
):
    tiny = book(CLAIM + cell("print('[run] tiny/net: trained now in 1.0 s')"))
    cache = execution.OutputCache(tmp_path)
    notebook, report = execution.refresh(tiny, cache, tmp_path)
    assert (report.state, report.cells) == ("executed", 2)
    assert report.runs == ["[run] tiny/net: trained now in 1.0 s"]
    assert report.peak_mib > 1
    assert [c["value"] for c in build.claims_of(tiny, notebook)] == [2.0]

    again, report = execution.refresh(tiny, cache, tmp_path)
    assert (report.state, report.because) == ("cached", [])
    assert build.claims_of(tiny, again) == build.claims_of(tiny, notebook)

    tiny.source.write_text(tiny.source.read_text("utf-8").replace("It is", "It was"), "utf-8")
    assert execution.refresh(tiny, cache, tmp_path)[1].state == "cached"

    doctree = tmp_path / "_build/.doctrees/book/tiny.doctree"
    doctree.parent.mkdir(parents=True)
    doctree.touch()
    real = fingerprint.of_chapter
    changed = {"dl4cv.optim": "new"}
    monkeypatch.setattr(
        fingerprint,
        "of_chapter",
        lambda path, root: fingerprint.Fingerprint(real(path, root).parts | changed),
    )
    _, report = execution.refresh(tiny, cache, tmp_path)
    assert (report.state, report.because) == ("executed", ["dl4cv.optim"])
    assert not doctree.exists(), "Sphinx must read the page again"


def test_a_failing_cell_is_an_error_with_its_place_and_is_not_cached(book, tmp_path):
    tiny = book(cell("print(1)") + cell("1 / 0"))
    cache = execution.OutputCache(tmp_path)
    with pytest.raises(execution.ChapterError, match=r"(?s)tiny: cell 2 of 2.*ZeroDivisionError"):
        execution.refresh(tiny, cache, tmp_path)
    assert cache.get(tiny) is None


def test_a_cell_that_hangs_is_stopped(book, monkeypatch):
    monkeypatch.setattr(execution, "CELL_TIMEOUT", 1)
    tiny = book(cell("import time; time.sleep(30)"))
    with pytest.raises(execution.ChapterError, match="cell 1 of 1 ran for over 1 s"):
        execution.execute(tiny, lambda done, total: None)


def test_claiming_one_name_twice_is_an_error(book, tmp_path):
    output = nbformat.v4.new_output("display_data", {build.MIME_TYPE: {"name": "tiny/two"}})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output, output])])
    with pytest.raises(ValueError, match="tiny claims twice: tiny/two"):
        build.claims_of(Chapter(tmp_path / "tiny.md"), notebook)


@pytest.mark.parametrize(
    ("body", "rule", "about"),
    [
        (cell("\n".join(f"a{i} = {i}" for i in range(31))), "cell-length", "31 lines"),
        (cell("plotting.figure()"), "alt-text", "no alt text"),
        (cell("plotting.show_images(x, columns=2)"), "figure-caption", "no caption"),
        (cell("plotting.show_images(x, columns=2)"), "figure-name", "no name"),
        (cell('claim("other/a", 1, unit="number", at_least=1)'), "claim-name", "tiny/"),
        ("We reach 93.1 % here.\n", "typed-number", "93.1 %"),
        ("It took 12.5 seconds.\n", "typed-number", "12.5 seconds"),
        ("an accuracy of 0.93 is reached\n", "typed-number", "accuracy of 0.93"),
        ("(other-sec)=\n## S\n", "label", "'other-sec'"),
        ("It is $a^2\n+ b^2$ and $c$.\n", "formula", "begins a list"),
        ("It is {glue:text}`tiny/none`.\n", "quote", "'tiny/none' is quoted but never claimed"),
    ],
)
def test_lint_finds(book, body, rule, about):
    findings = [f for f in lint.lint(book(body)) if f.rule == rule]
    assert len(findings) == 1
    assert about in findings[0].message
    assert findings[0].line > 1


def test_lint_accepts_what_is_right(book, tmp_path):
    looped = cell('for name in names:\n    claim(f"tiny/{name}/a", 1, unit="number", at_least=1)')
    hidden = ":tags: [hide-input]\n\n" + "\n".join(f"a{i} = {i}" for i in range(31))
    body = (
        CLAIM
        + PICTURE
        + looped
        + cell(hidden)
        + "Quote {glue:text}`tiny/x/a/spread`, `5 %`, $3\\%$.\n\n- A list with $a$\n- and $b$.\n"
    )
    assert lint.lint(book(body)) == []
    assert lint.lint_all(tmp_path) == []


def test_a_new_chapter_passes_lint_runs_and_checks(book, tmp_path):
    book(CLAIM)
    (tmp_path / "book/part").mkdir()
    (tmp_path / "book/part/one.md").write_text(HEAD.replace("tiny", "one"))
    contents = tmp_path / "_toc.yml"
    contents.write_text(contents.read_text() + "      - file: book/part/one\n")
    (tmp_path / "code").unlink()
    page, exercise, _ = new_chapter.write(tmp_path, part="part", name="mlp", title="Many layers")
    assert pages(tmp_path)[-1] == page
    assert lint.lint(Chapter(page)) == []
    names: dict = {}
    exec(exercise.read_text(), names)
    (case,) = names["EXERCISES"]["mean_pixel"].cases()
    assert (case.arguments[0].flatten(1).mean(1) - case.expected).abs().max() < 1e-6

    with pytest.raises(FileExistsError, match="is there already"):
        new_chapter.write(tmp_path, part="part", name="mlp", title="Many layers")
    with pytest.raises(ValueError, match="name is 'a b'; expected"):
        new_chapter.write(tmp_path, part="part", name="a b", title="")
    with pytest.raises(ValueError, match="lists no chapter below book/nowhere/"):
        new_chapter.write(tmp_path, part="nowhere", name="x", title="")


def test_build_writes_claims_report_and_summary(book, tmp_path, monkeypatch, capsys):
    book(CLAIM)
    monkeypatch.setattr(build, "_sphinx", lambda root: None)
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    cli.main(["build"])
    claims = json.loads((tmp_path / "_build/claims.json").read_text())
    assert [(c["name"], c["chapter"], c["holds"]) for c in claims] == [("tiny/two", "tiny", True)]
    report = json.loads((tmp_path / "_build/build-report.json").read_text())
    assert report["chapters"]["tiny"]["state"] == "executed"
    assert report["machine"]["cores"] >= 1
    printed = capsys.readouterr().out
    assert "tiny: running, since its cells changed" in printed
    assert "1 of 1 hold" in printed
    assert "_build/html/index.html" in printed


def test_sphinx_failure_shows_its_warnings_and_stops(tmp_path, monkeypatch, capsys):
    (tmp_path / "_build").mkdir()
    fake = tmp_path / "jupyter-book"
    fake.write_text("#!/bin/sh\necho fine\necho 'page.md:3: WARNING: no such label'\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(build.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SystemExit, match="Sphinx did not finish"):
        build._sphinx(tmp_path)
    printed = capsys.readouterr().out
    assert "page.md:3: WARNING: no such label" in printed
    assert "fine" not in printed


def test_commands_report_findings_and_errors_in_words(book, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    tiny = book(CLAIM + "We reach 93.1 %.\n")
    with pytest.raises(SystemExit, match=r"tiny\.md:\d+: typed-number"):
        cli.main(["lint"])
    tiny = book(CLAIM)
    cli.main(["lint"])
    tiny = book(CLAIM.replace("1 + 1", "1"))
    cli.main(["smoke"])  # a claim out of its band passes, and the caller's budget stays
    assert os.environ.get("DL4CV_BUDGET") != "smoke"
    tiny = book(CLAIM)
    cli.main(["notebooks"])
    assert capsys.readouterr().out.splitlines()[-1] == "wrote book/tiny.ipynb"
    assert tiny.notebook.exists()
    book(cell("1 / 0"))
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        cli.main(["build"])
    monkeypatch.setattr(build, "build", lambda root: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit, match="what was finished is kept"):
        cli.main(["build"])
