"""The finished HTML of each page: pictures, claims and verdicts, tables, buttons."""

import re
from itertools import cycle
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from dl4cv.book.site import bibliography, formulas, pictures, quoted

#: Outputs that are read, not scrolled: ``knn/accuracy ≥ 0.85: yes (0.8512)``, an exercise's
#: verdict, what a training cost, and comparisons over seeds.
_OUTPUT = r'(<div class="output {} )([^"]*"><div class="highlight"><pre>(?:<span></span>)?{})'
_MARKS = {
    "claim": _OUTPUT.format("text_plain", r"[^\s<]+ (?:≥|≤) [^\n]*: (?:yes|no)"),
    "not-yet": _OUTPUT.format("text_plain", r"[^\s<]+: not yet\."),
    "correct": _OUTPUT.format("text_plain", r"[^\s<]+: correct,"),
    "run": _OUTPUT.format("stream", r"(?:\[run\] [^\n]*\n)+</pre>"),
    "compared": _OUTPUT.format("stream", r"(?:[^<\n]*\n)*?[^\s<]+: a − b: "),
}
_LEDGER = re.compile(r'<table class="[^"]*\bledger\b.*?</table>', re.DOTALL)


def improve_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Work on the finished HTML of a page's content."""
    body = context.get("body")
    if not body or doctree is None:
        return
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if "://" in button.get("url", ""):
                # Launch the notebook, whether or not it was there when this page was written.
                button["url"] = button["url"].replace(f"{page}.md", f"{page}.ipynb")
    images = Path(app.outdir, app.builder.imagedir)
    sources = {target: Path(app.srcdir, path) for path, target in app.builder.images.items()}

    def find(address: str) -> Path | None:
        return sources.get(address.rpartition("/")[2]) if "://" not in address else None

    images.mkdir(parents=True, exist_ok=True)
    cache = Path(app.outdir).parent / ".pictures"
    body = pictures.improve(body, find, images, cache)
    marked = label_cells(keep_spreads(name_plainly(mark_outputs(body))))
    linked = quoted.link(marked, quoted.rows(app, page))
    cited = bibliography.improve(linked, bibliography.citing_pages(app, page))
    context["body"] = formulas.join(cited)
    hero = re.search(r'<img\b[^>]*class="[^"]*\bhero\b[^"]*"[^>]*>', body)
    address = re.search(r'src="([^"]*)"', hero[0]) if hero else None
    picture = find(address[1]) if address else None
    if picture is not None:
        pictures.social_card(picture, images / "social-card.jpg")


def mark_outputs(body: str) -> str:
    """Return ``body`` with a class on each output that is a claim, a verdict or a run's cost."""
    for name, pattern in _MARKS.items():
        body = re.sub(pattern, rf"\g<1>{name} \g<2>", body)
    return body


def name_plainly(body: str) -> str:
    """Return ``body`` without names and roles that tell a screen reader less than the text."""
    body = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    return body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def keep_spreads(body: str) -> str:
    """Return ``body`` with no line end between a measured value and its spread."""
    return body.replace("</span> ± <span", "</span>\u00a0±\u00a0<span")


def label_cells(body: str) -> str:
    """Return ``body`` with its column's name on each cell of a ledger, for narrow screens."""

    def label(table: re.Match[str]) -> str:
        names = [re.sub(r"<[^>]*>", "", name) for name in re.findall(r"<th\b.*?</th>", table[0])]
        columns = cycle(names)
        return re.sub(r"<td\b", lambda _: f'<td data-label="{next(columns)}"', table[0])

    return _LEDGER.sub(label, body)
