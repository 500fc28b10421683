"""The book's machinery on a small book of its own: run, cache, notebooks, lint, new chapters."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml
from dl4cv.book import __main__ as cli
from dl4cv.book import build, execution, fingerprint, lint, new_chapter, outputs
from dl4cv.book.chapters import Chapter, chapters, pages
from small_book import CLAIM, HEAD

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


@pytest.fixture(autouse=True)
def light_probe(monkeypatch):
    """Spare the kernels the import of PyTorch that asks how much memory they took."""
    monkeypatch.setattr(execution, "PEAK_MEMORY", "print(1)")


@pytest.fixture
def book(tmp_path: Path):
    """Return a function that writes a book of one chapter with the given body."""
    return lambda body: write_book(tmp_path, tiny=body)[0]


def write_book(folder: Path, **bodies: str) -> list[Chapter]:
    """Write a book of chapters with the given bodies, in this order."""
    (folder / "book").mkdir(exist_ok=True)
    (folder / "requirements.txt").write_text("")
    if not (folder / "code").exists():
        (folder / "code").symlink_to(Path(build.__file__).parents[2])
    listed = "".join(f"      - file: book/{name}\n" for name in bodies)
    (folder / "_toc.yml").write_text(
        f"format: jb-book\nroot: book/index\nparts:\n  - caption: A\n    chapters:\n{listed}"
    )
    (folder / "_config.yml").write_text(
        "title: A book\nexecute:\n  execute_notebooks: cache\n"
        "repository: {url: https://github.com/somebody/a-book, branch: main}\n"
    )
    (folder / "book/index.md").write_text("# Front\n")
    for name, body in bodies.items():
        head = HEAD.replace("tiny", name)
        (folder / "book" / f"{name}.md").write_text(head + body, "utf-8")
    return [Chapter(folder / "book" / f"{name}.md") for name in bodies]


def refresh(chapter: Chapter, root: Path) -> tuple[nbformat.NotebookNode, outputs.ChapterReport]:
    """Bring one chapter up to date."""
    return outputs.refresh([chapter], outputs.OutputCache(root), root)[chapter]


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
    notebook, report = refresh(tiny, tmp_path)
    assert (report.state, report.cells) == ("executed", 2)
    assert report.runs == ["[run] tiny/net: trained now in 1.0 s"]
    assert [c["value"] for c in build.claims_of(tiny, notebook)] == [2.0]

    again, report = refresh(tiny, tmp_path)
    assert (report.state, report.because) == ("cached", [])
    assert build.claims_of(tiny, again) == build.claims_of(tiny, notebook)

    tiny.source.write_text(tiny.source.read_text("utf-8").replace("It is", "It was"), "utf-8")
    assert refresh(tiny, tmp_path)[1].state == "cached"

    real = fingerprint.of_chapter
    changed = {"dl4cv.optim": "new"}
    monkeypatch.setattr(fingerprint, "of_chapter", lambda path, root: real(path, root) | changed)
    _, report = refresh(tiny, tmp_path)
    assert (report.state, report.because) == ("executed", ["dl4cv.optim"])


def test_a_chapter_that_was_edited_while_it_ran_runs_again(book, tmp_path):
    tiny = book("")
    edit = f"open({str(tiny.source)!r}, 'a').write({cell('b = 1')!r})"
    tiny = book(cell(edit))
    before = tiny.source.read_text("utf-8")
    assert refresh(tiny, tmp_path)[1].cells == 1
    tiny.source.write_text(before, "utf-8")
    assert refresh(tiny, tmp_path)[1].state == "executed"


def test_a_failing_chapter_is_named_with_its_cell_and_loses_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JOBS", "3")
    good = cell("print(1)")
    written = write_book(
        tmp_path, one=good, two=good + cell("1 / 0") + good, three=good, four=cell("del nothing")
    )
    cache = outputs.OutputCache(tmp_path)
    with pytest.raises(execution.ChapterError) as failed:
        outputs.refresh(written, cache, tmp_path)
    message = str(failed.value)
    assert "two: cell 2 of 3 failed" in message
    assert "ZeroDivisionError" in message
    assert "four: cell 1 of 1 failed" in message
    assert "NameError" in message
    assert [cache.get(chapter) is not None for chapter in written] == [True, False, True, False]
    printed = capsys.readouterr().out
    assert "one: running, since its cells changed\n" in printed
    assert "two: cell 2 of 3 failed\n" in printed
    assert "three: 1 cells in" in printed


def meeting(mine: str, other: str) -> str:
    """Return code that goes on when both chapters have come to it."""
    return (
        f"import pathlib, time\npathlib.Path('{mine}.here').touch()\n"
        f"while not pathlib.Path('{other}.here').exists():\n    time.sleep(0.001)"
    )


def test_chapters_run_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBS", "2")
    monkeypatch.setattr(execution, "CELL_TIMEOUT", 60)
    written = write_book(tmp_path, one=cell(meeting("one", "two")), two=cell(meeting("two", "one")))
    done = outputs.refresh(written, outputs.OutputCache(tmp_path), tmp_path)
    assert [report.state for _, report in done.values()] == ["executed", "executed"]


def test_chapters_that_want_one_training_share_it(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBS", "2")
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path / "cache"))
    load = cell(f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nimport tiny")
    train = cell("_ = tiny.train()")
    written = write_book(
        tmp_path,
        one=load + cell(meeting("one", "two")) + train,
        two=load + cell(meeting("two", "one")) + train,
    )
    done = outputs.refresh(written, outputs.OutputCache(tmp_path), tmp_path)
    runs = sorted(report.runs[0].partition(" in ")[0] for _, report in done.values())
    assert runs == [
        "[run] test/tiny: from the run store, trained",
        "[run] test/tiny: trained now",
    ]


def test_a_kernel_has_one_thread_whatever_the_caller_has(book, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    names = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
    tiny = book(cell(f"import os\nprint([os.environ[name] for name in {names}])"))
    made = execution.execute(tiny)
    (printed,) = execution.outputs(made.notebook)
    assert printed.text == "['1', '1', '1']\n"


def test_the_dearest_chapter_starts_first(tmp_path):
    short, long, unknown, trained = write_book(
        tmp_path,
        short=cell("a = 1"),
        long=cell("b = 2"),
        unknown=cell("c = 3") * 4,
        trained=cell("d = 4"),
    )
    cache = outputs.OutputCache(tmp_path)
    for chapter, seconds in ((short, 1.0), (long, 300.0)):
        kept = {"report": {"seconds": seconds}}
        cache.put(chapter, execution.Execution(executed(chapter)), kept)
    line = "[run] trained/net: from the run store, trained in 200.5 s, peak 3 MiB"
    sibling = executed(trained)
    sibling.cells[1].outputs = [nbformat.v4.new_output("stream", text=f"{line}\n")]
    trained.notebook.write_text(nbformat.writes(sibling), "utf-8")
    order = outputs.dearest_first([short, trained, unknown, long], cache)
    assert order == [long, trained, unknown, short]

    written = short.source.read_text("utf-8").replace("a = 1", "a = 2")
    short.source.write_text(written, "utf-8")
    assert outputs.dearest_first([unknown, short], cache)[-1] == short, "what it cost before"


def executed(chapter: Chapter) -> nbformat.NotebookNode:
    """Return the chapter's cells as if they had run."""
    notebook = chapter.read()
    code = [c for c in notebook.cells if c.cell_type == "code"]
    for number, each in enumerate(code, start=1):
        each.execution_count = number
    return notebook


def test_a_failing_cell_is_not_cached(book, tmp_path):
    tiny = book(cell("print(1)") + cell("1 / 0"))
    with pytest.raises(execution.ChapterError, match=r"(?s)tiny: cell 2 of 2.*ZeroDivisionError"):
        refresh(tiny, tmp_path)
    assert outputs.OutputCache(tmp_path).get(tiny) is None


def test_a_cell_that_hangs_is_stopped(book, monkeypatch):
    monkeypatch.setattr(execution, "CELL_TIMEOUT", 1)
    tiny = book(cell("import time; time.sleep(30)"))
    with pytest.raises(execution.ChapterError, match="cell 1 of 1 ran for over 1 s"):
        execution.execute(tiny)


def test_the_peak_of_memory_is_the_kernels(book, monkeypatch):
    monkeypatch.undo()
    held = bytes(1500 * 2**20)  # by the parent, which is not the kernel
    made = execution.execute(book(cell("a = bytes(300 * 2**20)")))
    assert 400 < made.peak_mib < len(held) / 2**20


def test_a_cell_that_ends_its_kernel_is_named(book):
    tiny = book(cell("a = 1") + cell("import os; os._exit(1)"))
    with pytest.raises(execution.ChapterError, match="cell 2 of 2 ended the kernel"):
        execution.execute(tiny)


def test_an_interrupt_ends_every_kernel(tmp_path):
    note = "import os, pathlib, time\npathlib.Path(f'{os.getpid()}.pid').touch()\ntime.sleep(100)"
    write_book(tmp_path, one=cell(note), two=cell(note), three=cell("a = 1"))
    code = (
        "from pathlib import Path\nfrom dl4cv.book import __main__ as cli\n"
        "cli.ROOT = Path.cwd()\ncli.main(['build'])"
    )
    command = [sys.executable, "-c", code]
    environment = os.environ | {"JOBS": "2"}
    running = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    while len(started := list(tmp_path.glob("book/*.pid"))) < 2:
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    try:
        _, error = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 1
    assert b"interrupted; what was finished is kept" in error
    for kernel in started:
        with pytest.raises(ProcessLookupError):
            os.kill(int(kernel.stem), 0)


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


def test_build_writes_claims_report_and_summary(tmp_path, monkeypatch, capsys):
    write_book(tmp_path, tiny=CLAIM, again=CLAIM.replace("tiny", "again"))
    monkeypatch.setattr(build, "_sphinx", lambda root: None)
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    cli.main(["build"])
    claims = json.loads((tmp_path / "_build/claims.json").read_text())
    assert [(c["name"], c["chapter"], c["holds"]) for c in claims] == [
        ("tiny/two", "tiny", True),
        ("again/two", "again", True),
    ]
    file = tmp_path / "_build/build-report.json"
    report = json.loads(file.read_text())
    assert list(report["chapters"]) == ["tiny", "again"], "in reading order"
    tiny = report["chapters"]["tiny"]
    assert tiny["state"] == "executed"
    assert sum(tiny["split"].values()) == pytest.approx(tiny["seconds"], abs=0.05)
    assert report["machine"]["cores"] >= 1
    dearest = report["dearest_cells"]
    assert {(c["chapter"], c["cell"]) for c in dearest} == {("tiny", 1), ("again", 1)}
    assert dearest[0]["seconds"] >= dearest[1]["seconds"]
    assert dearest[0]["line"] == "from dl4cv.evidence import claim"
    printed = capsys.readouterr().out
    assert "tiny: running, since its cells changed" in printed
    assert "1 of 1 hold" in printed
    assert "_build/html/index.html" in printed

    before = file.read_bytes()
    cli.main(["build"])
    assert file.read_bytes() == before, "else Sphinx would write pages again"

    del report["chapters"]["again"]  # as if another command had run it since
    file.write_text(json.dumps(report))
    cli.main(["build"])
    assert list(json.loads(file.read_text())["chapters"]) == ["tiny", "again"]


def test_pages_are_written_again_only_when_something_changed(tmp_path, monkeypatch):
    [tiny, _] = write_book(tmp_path, tiny=CLAIM, again=CLAIM.replace("tiny", "again"))
    page = tmp_path / "_build/html/index.html"
    page.parent.mkdir(parents=True)
    seen = fake_sphinx(tmp_path, monkeypatch, f"touch {page}")

    def writes() -> bool:
        seen.unlink(missing_ok=True)
        build.build(tmp_path)
        return seen.exists()

    assert writes()
    assert not writes()
    tiny.source.write_text(tiny.source.read_text("utf-8") + "\nMore prose.\n", "utf-8")
    assert writes()
    page.unlink()
    assert writes()
    build.build_chapter(tiny, tmp_path)  # which leaves pages without their outputs
    assert writes()
    assert not writes()
    fake_sphinx(tmp_path, monkeypatch, "exit 1")
    tiny.source.write_text(tiny.source.read_text("utf-8") + "\nStill more.\n", "utf-8")
    for _ in range(2):
        with pytest.raises(SystemExit):
            build.build(tmp_path)


def test_chapter_runs_one_and_leaves_the_others_as_they_are(tmp_path, monkeypatch, capsys):
    mine = CLAIM.replace("tiny", "one")
    one, two, three = write_book(tmp_path, one=mine, two=cell("1 / 0"), three=cell("b"))
    cache = outputs.OutputCache(tmp_path)
    cache.put(three, execution.Execution(executed(three)), {})
    seen = fake_sphinx(tmp_path, monkeypatch, f"echo '{two.source}:3: WARNING: nothing glued'")
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    cli.main(["chapter", "one"])
    assert cache.get(one) is not None
    assert cache.get(two) is None
    claims = json.loads((tmp_path / "_build/claims.json").read_text())
    assert [claim["name"] for claim in claims] == ["one/two"], "the page links to the ledger"
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].endswith("_build/html/book/one.html")
    assert "nothing glued" not in printed, "two has no outputs, and needs none"
    assert "-W" not in seen.read_text()
    config = yaml.safe_load((tmp_path / "_build/partial.yml").read_text())
    assert config["execute"] == {
        "execute_notebooks": "cache",
        "exclude_patterns": ["book/two.md"],
    }
    with pytest.raises(SystemExit, match="name is 'four'; expected one of: one, two, three"):
        cli.main(["chapter", "four"])


def fake_sphinx(folder: Path, monkeypatch, script: str) -> Path:
    """Put ``script`` in the place of jupyter-book; return the file that will hold its arguments."""
    (folder / "_build").mkdir(exist_ok=True)
    seen = folder / "arguments"
    programs = {
        "jupyter-book": f"echo $@ > {seen}\n{script}\n",
        "python": f'exec {sys.executable} "$@"\n',  # kernels start with the same one
    }
    for name, lines in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{lines}")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(build.sys, "executable", str(folder / "python"))
    return seen


def test_sphinx_failure_shows_its_warnings_stops_and_comes_again(tmp_path, monkeypatch, capsys):
    page = tmp_path / "book/page.md"
    script = f"echo fine\nprintf '\\033[91m{page}:3: WARNING: no such label\\n'\nexit 1"
    seen = fake_sphinx(tmp_path, monkeypatch, script)
    doctree = tmp_path / "_build/.doctrees/book/page.doctree"
    doctree.parent.mkdir(parents=True)
    doctree.touch()
    with pytest.raises(SystemExit, match="Sphinx did not finish"):
        build._sphinx(tmp_path)
    printed = capsys.readouterr().out
    assert f"{page}:3: WARNING: no such label" in printed
    assert "fine" not in printed
    assert "-W" in seen.read_text()
    assert not doctree.exists(), "else a second build would find nothing to read, and pass"


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
    assert outputs.OutputCache(tmp_path).get(tiny) is None
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
