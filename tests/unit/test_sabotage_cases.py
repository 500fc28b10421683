"""The catalogue of sabotage: each case can be applied, and a change that matters runs it again."""

import collections
import subprocess
import sys
from pathlib import Path

import catalogue
import pytest

CASES = catalogue.read()


def test_no_two_cases_share_a_name():
    names = collections.Counter(case["name"] for case in CASES)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_a_case_replaces_stands_once_in_its_file(case):
    text = (catalogue.ROOT / case["file"]).read_text("utf-8")
    assert text.count(case["find"]) == 1
    assert case["replace"] != case["find"]


def test_no_breakage_is_a_name_that_does_not_exist(tmp_path):
    """Any test notices a NameError, whether or not it would notice the mistake that is meant."""
    for number, case in enumerate(CASES):
        file = catalogue.ROOT / case["file"]
        if file.suffix == ".py":
            (broken := tmp_path / str(number) / file.name).parent.mkdir()
            whole = file.read_text("utf-8")
            broken.write_text(whole.replace(case["find"], case["replace"]), "utf-8")
    ruff = Path(sys.executable).with_name("ruff")
    command = [ruff, "check", "--isolated", "--no-cache", "--select", "F821", tmp_path]
    found = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert found.returncode == 0, found.stdout


def test_an_outcome_depends_on_the_case_its_tests_and_what_they_reach(tmp_path, monkeypatch):
    root = tmp_path
    for name in (*catalogue.HARNESS, "tests/unit/test_a.py", "tests/unit/twins.py", "code/x.py"):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    monkeypatch.setattr(catalogue, "ROOT", root)
    case = {
        "name": "a",
        "file": "code/x.py",
        "find": "1",
        "replace": "2",
        "tests": ["tests/unit/test_a.py::test_one", "-k", "two"],
    }
    catalogue._data_of_the_package.cache_clear()
    seen = {catalogue.digest(case)}
    assert catalogue.digest(case) in seen
    for name in ("tests/unit/test_a.py", "tests/unit/twins.py", "code/x.py", "requirements.txt"):
        (root / name).write_text("# changed")
        assert catalogue.digest(case) not in seen, name
        seen.add(catalogue.digest(case))
    (root / "tests/unit/test_a.py").write_text("from dl4cv import losses")
    assert catalogue.digest(case) not in seen
    catalogue._data_of_the_package.cache_clear()
