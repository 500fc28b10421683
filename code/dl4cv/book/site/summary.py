"""What a link to a page says of it elsewhere: the page's first paragraph."""

import html
import textwrap
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

#: In characters: about what search engines and chats show of a description.
LONGEST = 200


def of_page(doctree: nodes.document) -> str:
    """Return the first paragraph of the page's text, shortened, or nothing if it has none."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = "".join(paragraph.findall(nodes.Text))
        if text and isinstance(paragraph.parent, nodes.section):
            return textwrap.shorten(text, LONGEST, placeholder=" …")
    return ""


def add(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Describe the page before sphinxext-opengraph does, which takes in what pictures show."""
    text = of_page(doctree) if doctree is not None else ""
    if not text:
        return
    context["metatags"] += f'\n<meta name="description" content="{html.escape(text)}" />'
    context["meta"] = {**(context.get("meta") or {}), "og:description": html.escape(text)}
