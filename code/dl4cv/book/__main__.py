"""The commands behind the Makefile; ``python -m dl4cv.book --help`` lists them."""

import argparse
import sys

from dl4cv.book import build, lint, new_chapter, notebooks, repeats
from dl4cv.book.chapters import ROOT, Chapter, chapters
from dl4cv.book.execution import ChapterError


def main(arguments: list[str] | None = None) -> None:
    """Run the command that ``arguments`` name."""
    parser = argparse.ArgumentParser(prog="python -m dl4cv.book", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="run what changed and write _build/html")
    chapter = commands.add_parser("chapter", help="run one chapter and write its page")
    chapter.add_argument("name", help="the chapter's short name, such as gans")
    commands.add_parser("smoke", help="run every chapter at the smoke budget, and keep nothing")
    commands.add_parser("notebooks", help="write the sibling notebook of every chapter")
    commands.add_parser("lint", help="check the chapters' form")
    repeat = commands.add_parser("repeat", help="measure a chapter's recipe with several seeds")
    repeat.add_argument("name", help="the chapter's short name, such as gans")
    new = commands.add_parser("new", help="write the skeleton of a chapter")
    new.add_argument("part", help="folder below book/, such as foundations")
    new.add_argument("name", help="the chapter's short name, such as mlp")
    new.add_argument("title", help="its title")
    given = parser.parse_args(arguments)
    try:
        if given.command == "build":
            build.build(ROOT)
        elif given.command == "chapter":
            build.build_chapter(_chapter(given.name), ROOT)
        elif given.command == "smoke":
            build.smoke(ROOT)
        elif given.command == "notebooks":
            for path in notebooks.write_all(ROOT):
                print(f"wrote {path.relative_to(ROOT)}")
        elif given.command == "repeat":
            print(f"wrote {repeats.measure(_chapter(given.name)).relative_to(ROOT)}")
        elif given.command == "new":
            for path in new_chapter.write(
                ROOT, part=given.part, name=given.name, title=given.title
            ):
                print(f"wrote {path.relative_to(ROOT)}")
        elif findings := lint.lint_all(ROOT):
            sys.exit("\n".join(map(str, findings)))
    except (ChapterError, ValueError, FileExistsError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(
            "\ninterrupted; what was finished is kept, and the same command goes on from there"
        )


def _chapter(name: str) -> Chapter:
    known = {chapter.name: chapter for chapter in chapters(ROOT)}
    if name not in known:
        raise ValueError(f"name is {name!r}; expected one of: {', '.join(known)}")
    return known[name]


if __name__ == "__main__":
    main()
