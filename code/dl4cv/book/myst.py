"""The blocks of a MyST page: directives with their options, labels, code, and the text between."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}|:{3,})(?P<info>.*)$")
_DIRECTIVE = re.compile(r"^\{(?P<name>[\w:-]+)\} *(?P<argument>.*)$")
_OPTION = re.compile(r"^:(?P<key>[\w-]+): *(?P<value>.*)$")
_LABEL = re.compile(r"^\((?P<label>[\w-]+)\)=\s*$")
_FORMULA = re.compile(r"^ *\$\$")


@dataclass(frozen=True)
class Block:
    """A run of lines of a page.

    Attributes:
        kind: ``text``, ``verbatim`` (a fenced block of code or a formula, fences included),
            ``label`` or ``directive``.
        line: where it begins in the page, from 1.
        lines: its lines; of a directive, the lines of its body without the directive's indent.
        name: of a directive, or the label itself.
        argument: what stands behind a directive's name.
        options: a directive's options.
        body_line: where a directive's body begins in the page.
        indent: the spaces before a directive, which may stand in a list.
    """

    kind: str
    line: int
    lines: list[str] = field(default_factory=list)
    name: str = ""
    argument: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    body_line: int = 0
    indent: str = ""


def blocks(lines: Sequence[str], first: int = 1) -> Iterator[Block]:
    """Yield the blocks of ``lines``, of which the first stands at line ``first`` of the page.

    A comment (a line that begins with ``%``) belongs to no block.
    """
    text: list[str] = []
    place = 0
    while place < len(lines):
        line, start = lines[place], place
        block = None
        if fence := _FENCE.match(line):
            place = _end_of_fence(lines, place, fence)
            block = _fenced(lines[start:place], first + start, fence)
        elif _FORMULA.match(line):
            place = _end_of_formula(lines, place)
            block = Block("verbatim", first + start, list(lines[start:place]))
        else:
            place += 1
            if label := _LABEL.match(line):
                block = Block("label", first + start, name=label["label"])
            elif not line.startswith("%"):
                text.append(line)
                continue
        if text:
            yield Block("text", first + start - len(text), text)
            text = []
        if block:
            yield block
    if text:
        yield Block("text", first + len(lines) - len(text), text)


def page(text: str) -> Iterator[Block]:
    """Yield the blocks of a whole page, code cells among them, but not its front matter."""
    lines = text.splitlines()
    start = lines.index("---", 1) + 1 if lines[:1] == ["---"] else 0
    return blocks(lines[start:], start + 1)


def _end_of_fence(lines: Sequence[str], start: int, opening: re.Match[str]) -> int:
    mark, length = opening["fence"][0], len(opening["fence"])
    closing = re.compile(rf"^ *{re.escape(mark)}{{{length},}}\s*$")
    for place in range(start + 1, len(lines)):
        if closing.match(lines[place]):
            return place + 1
    return len(lines)


def _end_of_formula(lines: Sequence[str], start: int) -> int:
    """Return the line after a display formula between double dollars, on one line or several."""
    seen = 0
    for place in range(start, len(lines)):
        seen += lines[place].count("$$")
        if seen >= 2:
            return place + 1
    return len(lines)


def _fenced(lines: Sequence[str], line: int, fence: re.Match[str]) -> Block:
    directive = _DIRECTIVE.match(fence["info"].strip())
    if not directive:
        return Block("verbatim", line, list(lines))
    indent = fence["indent"]
    closed = len(lines) > 1 and set(lines[-1].strip()) == {fence["fence"][0]}
    body = [text.removeprefix(indent) for text in lines[1 : -1 if closed else None]]
    options, skipped = _options(body)
    return Block(
        "directive",
        line,
        body[skipped:],
        directive["name"],
        directive["argument"].strip(),
        options,
        line + 1 + skipped,
        indent,
    )


def _options(body: list[str]) -> tuple[dict[str, Any], int]:
    """Return a directive's options and how many lines they take."""
    if body[:1] == ["---"]:
        end = body.index("---", 1)
        return yaml.safe_load("\n".join(body[1:end])) or {}, end + 1
    options: dict[str, Any] = {}
    for line in body:
        if not (option := _OPTION.match(line)):
            break
        options[option["key"]] = yaml.safe_load(option["value"]) if option["value"] else ""
    return options, len(options)
