"""``python -m dl4cv.data``, and what it shows on a terminal."""

import sys
from dataclasses import replace

import pytest
from dl4cv.data import __main__ as command
from dl4cv.data import cache, registry
from dl4cv.fetch import published
from fetching import DEAD, Server, make, put

pytestmark = pytest.mark.usefixtures("home")


def test_the_command_fetches_all_and_says_where_each_is(server: Server, home, monkeypatch, capfd):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    monkeypatch.setattr(registry, "DATASETS", {"tiny": dataset})
    assert command.main() == 0
    assert capfd.readouterr().out.startswith(f"Tiny: fetched from {server.url} in ")
    assert command.main() == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"Tiny: already there in {home}, checked in ")
    assert out.count("\n") == 1
    assert err == ""


def test_the_command_goes_on_after_a_failure_and_tells_it(server: Server, monkeypatch, capfd):
    dataset, packed = make()
    lost = replace(dataset, name="lost", title="Lost", sources=(published.Mirror(f"{DEAD}/"),))
    dataset = replace(dataset, sources=(put(packed, server),))
    monkeypatch.setattr(registry, "DATASETS", {"lost": lost, "tiny": dataset})
    assert command.main() == 1
    out, err = capfd.readouterr()
    assert err.startswith("Lost is not in the cache and could not be fetched.")
    assert out.startswith("Tiny: fetched from")


def test_the_command_can_be_interrupted(monkeypatch, capfd):
    def interrupted(_: registry.DataSet) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "fetch", interrupted)
    assert command.main() == 130
    assert "interrupted; the same command goes on" in capfd.readouterr().err


def test_progress_shows_on_a_terminal(server: Server, monkeypatch, capfd):
    dataset, packed = make()
    dataset = replace(dataset, sources=(put(packed, server),))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    cache.load(dataset, "train")
    shown = capfd.readouterr().err
    assert "\rtrain-images.gz:   0%" in shown
    assert shown.endswith(" \r")
