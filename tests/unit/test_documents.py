"""What README and the title page say of the book is so."""

import re
import tomllib

from dl4cv.book.chapters import ROOT, pages


def listed(text: str, folder: str = "book/") -> list[str]:
    """Return the chapters that ``text`` links to, in order."""
    return re.findall(rf"\]\({folder}((?:foundations|sequences|generative|inside)/\w+)\.md\)", text)


def test_readme_lists_the_chapters_of_the_contents_in_order():
    contents = [path.relative_to(ROOT / "book") for path in pages()]
    chapters = [path.with_suffix("").as_posix() for path in contents if len(path.parts) == 2]
    assert listed((ROOT / "README.md").read_text("utf-8")) == chapters


def test_readme_shows_the_layers_of_the_import_contract():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    layers = tools["importlinter"]["contracts"][0]["layers"]
    shown = "\n".join(layer.replace(" : ", " · ") for layer in layers)
    assert f"```\n{shown}\n```" in (ROOT / "README.md").read_text("utf-8")
