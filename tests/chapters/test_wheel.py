"""What a reader has who installs the package elsewhere: the wheel, and one notebook alone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from dl4cv.book.chapters import ROOT, Chapter, chapters
from nbclient import NotebookClient

PROBE = "import dl4cv; print(dl4cv.__file__)"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy of the sources, which an earlier build cannot have littered."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    leave = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "code", sources / "code", ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sources)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory) -> dict[str, str]:
    """Install the wheel into a folder of its own; return the environment that uses it."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--target", target, wheel)
    # Before the environment's own packages, and so before the checkout that it was made for.
    return os.environ | {"PYTHONPATH": str(target), "DL4CV_BUDGET": "smoke"}


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_every_file_of_the_package(wheel):
    package = ROOT / "code" / "dl4cv"
    files = {
        str(path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    assert files - held == set()
    assert {Path(name).suffix for name in files} >= {".jpg", ".safetensors", ".json", ".typed"}


@pytest.mark.parametrize("chapter", chapters(ROOT), ids=lambda chapter: chapter.name)
def test_a_notebook_alone_runs_with_the_installed_package(
    chapter: Chapter, installed: dict[str, str], tmp_path: Path
):
    alone = tmp_path / chapter.notebook.name
    shutil.copy(chapter.notebook, alone)
    notebook = nbformat.read(alone, as_version=4)
    notebook.cells.append(probe := nbformat.v4.new_code_cell(PROBE))
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    client.execute(env=installed)
    assert Path(probe.outputs[0].text.strip()).is_relative_to(installed["PYTHONPATH"])
