"""Claims on the page: each number of the prose and each line of a cell, tied to the ledger."""

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path

from docutils import nodes
from myst_nb.ext.glue.roles import PasteTextRole
from sphinx.application import Sphinx

from dl4cv.book import ledger

_QUOTED = re.compile(r'<span class="pasted-text quoted-([\w-]+)">(.*?)</span>', re.DOTALL)
_CLAIM = re.compile(r'(<div class="output text_plain claim [^>]*>.*?<span></span>)([^\s<]+)')
_COMPARED = re.compile(r"^((?:<[^>]*>)*)([^\s<]+)(?=: a − b: )", re.MULTILINE)


class Quoted(PasteTextRole):
    """``{glue:text}``, whose output keeps the name of what it quotes, as a class."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the value as text, as it was glued."""
        found, messages = super().run()
        key = self.text.rpartition("::")[2].partition(":")[0]
        for node in found:
            if isinstance(node, nodes.inline):
                node["classes"].append(f"quoted-{nodes.make_id(key)}")
        return found, messages


def rows(app: Sphinx, page: str) -> dict[str, str]:
    """Return the address of each claim's row in the ledger, as ``page`` links to it, by anchor."""
    claims, home = Path(app.srcdir, ledger.CLAIMS), app.config.ledger_page
    if home not in app.env.found_docs or not claims.exists():
        return {}
    address = app.builder.get_relative_uri(page, home)
    anchors = [ledger.anchor(entry["name"]) for entry in json.loads(claims.read_text("utf-8"))]
    return {anchor: f"{address}#{anchor}" for anchor in anchors}


def link(body: str, row: Mapping[str, str]) -> str:
    """Return the HTML ``body`` with its claims linked to their rows, and anchors to link back to.

    Args:
        body: the page's content, its outputs marked.
        row: the address of each claim's row, by the claim's anchor.
    """

    def number(match: re.Match[str]) -> str:
        address = row.get(f"claim-{match[1]}")
        text = f'<span class="pasted-text">{match[2]}</span>'
        return f'<a class="quoted" href="{html.escape(address)}">{text}</a>' if address else text

    def line(match: re.Match[str]) -> str:
        anchor = ledger.anchor(html.unescape(match[2]))
        if anchor not in row:
            return match[0]
        link = f'<a class="quoted" id="{anchor}" href="{html.escape(row[anchor])}">{match[2]}</a>'
        return match[1] + link

    def comparison(match: re.Match[str]) -> str:
        return f'{match[1]}<span id="{ledger.anchor(html.unescape(match[2]))}">{match[2]}</span>'

    return _COMPARED.sub(comparison, _CLAIM.sub(line, _QUOTED.sub(number, body)))
