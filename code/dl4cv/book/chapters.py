"""The pages of the book, as the table of contents lists them, and the cells they hold."""

from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook

#: The root of the checkout: code/dl4cv/book/chapters.py is four levels below it.
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Chapter:
    """A page with code cells: its source, and the notebook that readers download."""

    source: Path

    @property
    def name(self) -> str:
        """The name that its labels, claims and exercises begin with."""
        return self.source.stem

    @property
    def notebook(self) -> Path:
        """The sibling ``.ipynb``."""
        return self.source.with_suffix(".ipynb")

    def read(self) -> nbformat.NotebookNode:
        """Return the page as a notebook without outputs, cell for cell as Sphinx reads it."""
        text = self.source.read_text("utf-8")
        return read_myst_markdown_notebook(text, add_source_map=True, path=self.source)


def pages(root: Path = ROOT) -> list[Path]:
    """Return the source of every page in the order of the table of contents.

    Raises:
        ValueError: if a page that the table names does not exist.
    """
    contents = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    names = [contents["root"]]
    for part in contents["parts"]:
        names += [entry["file"] for entry in part["chapters"]]
    found = [root / f"{name}.md" for name in names]
    missing = [str(path.relative_to(root)) for path in found if not path.is_file()]
    if missing:
        raise ValueError(f"_toc.yml names pages that do not exist: {', '.join(missing)}")
    return found


def chapter_numbers(root: Path = ROOT) -> dict[Path, int]:
    """Return the numbers of the pages that have one, as Sphinx counts them, by their sources."""
    contents = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    numbered = [
        root / f"{entry['file']}.md"
        for part in contents["parts"]
        if part.get("numbered")
        for entry in part["chapters"]
    ]
    return {path: number for number, path in enumerate(numbered, start=1)}


def chapters(root: Path = ROOT) -> list[Chapter]:
    """Return the pages that hold code cells, in reading order."""
    return [
        Chapter(path) for path in pages(root) if is_myst_markdown_notebook(path.read_text("utf-8"))
    ]
