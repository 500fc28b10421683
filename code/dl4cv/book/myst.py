"""The blocks of a MyST page: directives with their options, labels, code, and the text between."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.front_matter import front_matter_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin

_DIRECTIVE = re.compile(r"^\{(?P<name>[\w:-]+)\} *(?P<argument>.*)$")
_OPTION = re.compile(r"^:(?P<key>[\w-]+): *(?P<value>.*)$")

_PARSER = MarkdownIt("commonmark").disable("inline")
for _plugin in (front_matter_plugin, colon_fence_plugin, dollarmath_plugin, myst_block_plugin):
    _PARSER.use(_plugin)

#: The tokens that are blocks; what stands between two of them is text.
_VERBATIM = ("fence", "colon_fence", "math_block", "math_block_label")
_SKIPPED = ("front_matter", "myst_line_comment")


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

    Front matter and comments (lines that begin with ``%``) belong to no block.
    """
    place = 0
    for token in _PARSER.parse("\n".join(lines)):
        if token.type not in (*_VERBATIM, *_SKIPPED, "myst_target"):
            continue
        assert token.map is not None
        start, end = token.map
        if place < start:
            yield Block("text", first + place, list(lines[place:start]))
        if token.type == "myst_target":
            yield Block("label", first + start, name=token.content)
        elif token.type in _VERBATIM:
            yield _fenced(token, list(lines[start:end]), first + start)
        place = end
    if place < len(lines):
        yield Block("text", first + place, list(lines[place:]))


def page(text: str) -> Iterator[Block]:
    """Yield the blocks of a whole page, code cells among them."""
    return blocks(text.splitlines())


def _fenced(token: Token, lines: list[str], line: int) -> Block:
    directive = _DIRECTIVE.match(token.info.strip())
    if not directive:
        return Block("verbatim", line, lines)
    body = token.content.splitlines()
    options, skipped = _options(body)
    return Block(
        "directive",
        line,
        body[skipped:],
        directive["name"],
        directive["argument"].strip(),
        options,
        line + 1 + skipped,
        indent=lines[0][: len(lines[0]) - len(lines[0].lstrip())],
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
