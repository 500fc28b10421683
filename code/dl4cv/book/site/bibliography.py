"""The bibliography as a page to find one's way on: letters to jump by, and who cites a source."""

import html
import re
from collections.abc import Mapping, Sequence

from docutils import nodes
from sphinx.application import Sphinx

_LIST = re.compile(r'<div class="citation-list">')
_ENTRY = re.compile(r'(<div class="citation" id="([\w-]+)".*?)(</p>\n</div>)', re.DOTALL)


def citing_pages(app: Sphinx, page: str) -> dict[str, list[tuple[str, str]]]:
    """Return title and address of the pages that cite each source, by the source's anchor.

    Args:
        app: the build, after all pages were read.
        page: where the addresses are to be used.
    """
    order = [name for names in app.env.toctree_includes.values() for name in names]
    found: dict[str, list[tuple[str, str]]] = {}
    for reference in sorted(
        app.env.get_domain("cite").citation_refs,  # pyright: ignore[reportAttributeAccessIssue]
        key=lambda reference: order.index(reference.docname) if reference.docname in order else -1,
    ):
        name = reference.docname
        link = app.env.titles[name].astext(), app.builder.get_relative_uri(page, name)
        for target in reference.targets:
            pages = found.setdefault(nodes.make_id(f"ref-{target.key}"), [])
            if link not in pages:
                pages.append(link)
    return found


def improve(body: str, citing: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Return the HTML ``body`` with letters above its bibliography and links back below entries."""
    first: dict[str, str] = {}
    for match in _ENTRY.finditer(body):
        first.setdefault(match[2].removeprefix("ref-")[0].upper(), match[2])
    if not first:
        return body

    def entry(match: re.Match[str]) -> str:
        links = ", ".join(
            f'<a href="{html.escape(address)}">{html.escape(title)}</a>'
            for title, address in citing.get(match[2], ())
        )
        cited = f' <span class="cited-in">Cited in: {links}.</span>' if links else ""
        return f"{match[1]}{cited}{match[3]}"

    letters = " ".join(f'<a href="#{anchor}">{letter}</a>' for letter, anchor in first.items())
    bar = f'<nav class="letters" aria-label="Authors by letter">{letters}</nav>\n'
    return _LIST.sub(lambda match: bar + match[0], _ENTRY.sub(entry, body), count=1)
