"""Break the code in known ways, one at a time, and demand that a test turns red.

Each file in ``cases/`` lists breakages: a text that stands once in a file, what replaces it, and
the tests that must notice. A case whose tests are red before the breakage proves nothing, so every
set of tests is first seen green on the untouched copy. A case that was caught is not run again
until something that its outcome depends on changes (see ``catalogue.digest``).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import catalogue
import pytest
from catalogue import ROOT
from dl4cv import storage

CASES = {case["name"]: case for case in catalogue.read()}
WORKERS = os.cpu_count() or 1
QUIET = ["-x", "-q", "-p", "no:cacheprovider"]


@dataclass(frozen=True)
class Outcome:
    """The exit status of a pytest run, and what it printed."""

    status: int
    printed: str


class Worker:
    """A copy of the checkout to break, and a process that runs tests in it."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        leave = (".git", ".venv", "_build", "*.egg-info", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*leave))
        # The copy's package must win over the installed one; no stale bytecode may hide a change;
        # and the workers share the cores.
        own = {
            "PYTHONPATH": str(tree / "code"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            cwd=tree,
            env=os.environ | own,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, tests: list[str]) -> Outcome:
        """Run ``tests`` on the copy as it stands."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([*QUIET, *tests]) + "\n")
        self._process.stdin.flush()
        status, log = json.loads(self._process.stdout.readline())
        printed = Path(log).read_text("utf-8", errors="replace")
        Path(log).unlink()
        return Outcome(status, printed)

    def run_broken(self, case: dict) -> Outcome:
        """Run a case's tests with its breakage in place, and mend it again."""
        file = self.tree / case["file"]
        whole = file.read_text("utf-8")
        assert whole.count(case["find"]) == 1, f"{case['find']!r} must stand once in {file}"
        file.write_text(whole.replace(case["find"], case["replace"]), "utf-8")
        try:
            return self.run(case["tests"])
        finally:
            file.write_text(whole, "utf-8")

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()


def kept(case: dict) -> Path:
    """Return the file that says that ``case``, as things stand, was caught."""
    return storage.cache_dir() / "sabotage" / catalogue.digest(case)


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict, dict]]:
    """The selected cases' tests on the untouched copy, and each case broken: done or under way."""
    selected = {item.callspec.params["name"] for item in request.session.items}
    chosen = {name for name in selected if not kept(CASES[name]).exists()}
    workers = [
        Worker(tmp_path_factory.mktemp("sabotage") / "tree")
        for _ in range(min(WORKERS, len(chosen)))
    ]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def on_a_worker(task) -> Outcome:
        worker = idle.get()
        try:
            return task(worker)
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(WORKERS) as pool:
        untouched: dict[tuple, Future[Outcome]] = {}
        broken: dict[str, Future[Outcome]] = {}
        for name in sorted(chosen, key=list(CASES).index):
            case = CASES[name]
            tests = tuple(case["tests"])
            if tests not in untouched:
                untouched[tests] = pool.submit(on_a_worker, lambda w, t=tests: w.run(list(t)))
            broken[name] = pool.submit(on_a_worker, lambda w, c=case: w.run_broken(c))
        yield untouched, broken
    for worker in workers:
        worker.stop()


@pytest.mark.parametrize("name", CASES)
def test_breakage_is_caught(name: str, outcomes):
    untouched, broken = outcomes
    if name not in broken:
        return  # caught before, and nothing that matters has changed since
    green = untouched[tuple(CASES[name]["tests"])].result()
    assert green.status == 0, f"red before anything was broken:\n{green.printed}"
    red = broken[name].result()
    # 1 is "tests ran and some failed"; any other status is not a test that noticed.
    assert red.status == 1, f"still exit status {red.status}:\n{red.printed}"
    storage.write_atomically(kept(CASES[name]), name.encode())
