"""What a build prints while chapters run, on a terminal and in a log."""

import sys

from dl4cv.book.progress import Progress


def run(progress: Progress) -> None:
    with progress:
        progress.say("gans: running")
        progress.at("gans", 12, 41)
        progress.at("vae", 3, 35)
        progress.ended("gans", "gans: 41 cells in 1.0 s")


def test_a_log_gets_a_line_as_a_chapter_starts_and_ends(capsys):
    run(Progress(15))
    assert capsys.readouterr().out == "gans: running\ngans: 41 cells in 1.0 s\n"


def test_a_terminal_shows_all_that_run_and_keeps_the_lines_above(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run(Progress(15))
    shown = capsys.readouterr().out.split("\r\x1b[K")
    assert "gans 12/41 · vae 3/35 · 0 of 15 done" in shown
    assert shown[-2:] == ["gans: 41 cells in 1.0 s\nvae 3/35 · 1 of 15 done", ""]


def test_a_narrow_terminal_cuts_the_line(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    run(Progress(15))
    assert "\r\x1b[Kgans 12/41 · vae 3/\r" in capsys.readouterr().out
