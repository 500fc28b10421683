"""Fetching out of a Debian package, and the commands that pip and apt are run by."""

import itertools
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from dl4cv.data import cache
from dl4cv.fetch import package_managers, published
from dl4cv.fetch.download import SourceError
from dl4cv.fetch.sources import FetchError
from fetching import kept, make, plain

pytestmark = pytest.mark.usefixtures("home")


class Clock:
    """Time that passes in steps of ``step`` seconds, one at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def apt(tmp_path: Path, monkeypatch):
    """A make-believe apt that knows a package once its lists are there and notes what was asked."""
    dataset, packed = make(published.DebianPackage("dataset-tiny", Path("usr/share/tiny")))
    programs, inside = tmp_path / "programs", tmp_path / "package" / "usr" / "share" / "tiny"
    programs.mkdir()
    inside.mkdir(parents=True)
    for name, content in packed.items():
        (inside / name).write_bytes(content)
    lists, log = tmp_path / "lists", tmp_path / "log"
    scripts = {
        "apt-cache": f'test -e "{lists}"',
        "apt-get": f"""echo "$@" >> "{log}"
            case $1 in
                update) touch "{lists}" ;;
                download) touch dataset-tiny_1_all.deb ;;
            esac""",
        "dpkg-deb": f'cp -r "{tmp_path / "package"}" "$3"',
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return dataset, packed, lists, log


@pytest.mark.parametrize(
    ("user", "listed", "asked"),
    [(0, True, ["download"]), (0, False, ["update", "download"]), (1000, True, ["download"])],
)
def test_a_debian_package_is_unpacked_not_installed(user, listed, asked, apt, monkeypatch, home):
    dataset, packed, lists, log = apt
    monkeypatch.setattr(os, "geteuid", lambda: user)
    if listed:
        lists.touch()
    images, _ = cache.load(dataset, "train")
    np.testing.assert_array_equal(images[:, 0], plain(packed, "train-images"))
    assert [line.split()[0] for line in log.read_text().splitlines()] == asked
    assert ("Sandbox::User=root" in log.read_text()) == (user == 0)
    assert kept(home) == {"train.safetensors", "test.safetensors"}


def test_a_user_who_may_not_update_the_lists_is_told(apt, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(FetchError, match="`apt-get update` as root may help"):
        cache.load(apt[0], "train")


def test_a_machine_without_apt_says_so(monkeypatch, tmp_path: Path):
    dataset, _ = make(published.DebianPackage("dataset-tiny", Path("usr/share/tiny")))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="this machine has no apt-get"):
        cache.load(dataset, "train")


HELD = """E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)
E: Unable to lock directory /var/lib/apt/lists/"""


def held_until_released(programs: Path) -> Path:
    """Let apt-get fail while the file that is returned is there."""
    lock, real = programs / "held", programs / "real-apt-get"
    lock.touch()
    (programs / "apt-get").rename(real)
    script = (
        f'#!/bin/sh\ntest ! -e "{lock}" || {{ echo "{HELD}" >&2; exit 100; }}\nexec "{real}" "$@"'
    )
    (programs / "apt-get").write_text(script)
    (programs / "apt-get").chmod(stat.S_IRWXU)
    return lock


def test_apts_lock_is_waited_for(apt, tmp_path: Path, monkeypatch, capsys):
    dataset, packed, _, _ = apt
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    lock = held_until_released(tmp_path / "programs")
    clock = Clock(step=0)
    clock.sleep = lambda _: lock.unlink()
    monkeypatch.setattr(package_managers, "time", clock)
    images, _ = cache.load(dataset, "train")
    np.testing.assert_array_equal(images[:, 0], plain(packed, "train-images"))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "apt: another process holds its lock; trying again in 5 s"
    assert said[1].startswith("Tiny: fetched from Debian's package dataset-tiny")


def test_a_lock_that_is_never_released_is_an_error(apt, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    held_until_released(tmp_path / "programs")
    monkeypatch.setattr(package_managers, "LOCK_SECONDS", 0)
    with pytest.raises(FetchError, match="apt-get failed with 100: E: Unable to lock directory"):
        cache.load(apt[0], "train")


def test_a_failed_command_gives_its_last_word(tmp_path: Path):
    with pytest.raises(SourceError, match="sh failed with 3: E: no such thing"):
        package_managers.run(
            ["sh", "-c", "echo start; echo 'E: no such thing' >&2; exit 3"], tmp_path
        )
    with pytest.raises(SourceError, match="no reason given"):
        package_managers.run(["false"], tmp_path)


def ends(pid: int) -> bool:
    """Return whether the process ``pid`` is gone, or waits to be collected, within seconds."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return False


SLEEPER = "sleep 60 & echo $! > child; wait"


def has_child(folder: Path) -> bool:
    return (folder / "child").exists() and (folder / "child").read_text() != ""


def test_a_command_that_stands_still_is_killed_with_its_children(tmp_path: Path, monkeypatch):
    clock = Clock(step=0)
    monkeypatch.setattr(package_managers, "time", clock)
    size_of = package_managers._bytes_below

    def bytes_below(folder: Path) -> int:
        clock.step = 1 if has_child(folder) else 0
        return size_of(folder)

    monkeypatch.setattr(package_managers, "_bytes_below", bytes_below)
    with pytest.raises(SourceError, match=r"nothing came through sh for (9|20) s"):
        package_managers.run(["sh", "-c", SLEEPER], tmp_path)
    assert clock.now < 2 * package_managers.STALL_SECONDS
    assert ends(int((tmp_path / "child").read_text()))


def test_a_command_that_goes_on_slowly_is_left_alone(tmp_path: Path, monkeypatch):
    clock = Clock(step=package_managers.START_SECONDS / 4)
    monkeypatch.setattr(package_managers, "time", clock)
    sizes = itertools.count()

    def bytes_below(folder: Path) -> int:
        if clock.now > 2 * package_managers.STALL_SECONDS:
            (folder / "enough").touch()
        return next(sizes)

    monkeypatch.setattr(package_managers, "_bytes_below", bytes_below)
    package_managers.run(["sh", "-c", "until test -e enough; do sleep 0.01; done"], tmp_path)


def test_an_interrupt_ends_the_command(tmp_path: Path, monkeypatch):
    def interrupted(*_: object) -> None:
        while not has_child(tmp_path):
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(package_managers, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        package_managers.run(["sh", "-c", SLEEPER], tmp_path)
    assert ends(int((tmp_path / "child").read_text()))
