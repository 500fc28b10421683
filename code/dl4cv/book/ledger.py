"""The ledger page: what this build measured, drawn from what the build wrote down."""

import json
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from dl4cv.evidence import claims

#: The build writes these two before Sphinx runs.
CLAIMS = Path("_build/claims.json")
REPORT = Path("_build/build-report.json")


class ClaimsLedger(SphinxDirective):
    """``{claims-ledger}``: the claims by chapter, with value, band, verdict and cost."""

    def run(self) -> list[nodes.Node]:
        """Return a section's worth of nodes, or one sentence if nothing was built yet."""
        ledger = self._read(CLAIMS)
        if not ledger:
            return [_paragraph("This page fills when the book is built: nothing was measured yet.")]
        found: list[nodes.Node] = [_summary(ledger)]
        pages = {name.rpartition("/")[2]: name for name in self.env.found_docs}
        for chapter, entries in groupby(ledger, key=lambda entry: entry["chapter"]):
            found.append(self._heading(chapter, pages))
            home = self._address(pages[chapter]) if chapter in pages else None
            found.append(_table(CLAIM_COLUMNS, [_claim_row(entry, home) for entry in entries]))
        return found

    def _read(self, path: Path) -> Any:
        full = Path(self.env.srcdir, path)
        self.env.note_dependency(str(full))
        return json.loads(full.read_text("utf-8")) if full.exists() else None

    def _address(self, page: str) -> str:
        return self.env.app.builder.get_relative_uri(self.env.docname, page)

    def _heading(self, chapter: str, pages: dict[str, str]) -> nodes.Node:
        if chapter not in pages:
            return nodes.rubric("", chapter)
        reference = addnodes.pending_xref(
            "",
            nodes.inline("", chapter),
            refdomain="std",
            reftype="doc",
            reftarget=f"/{pages[chapter]}",
            refdoc=self.env.docname,
            refexplicit=False,
            refwarn=True,
        )
        return nodes.rubric("", "", reference)


class BuildReport(ClaimsLedger):
    """``{build-report}``: machine, versions, and what each chapter and the dearest cells cost."""

    def run(self) -> list[nodes.Node]:
        """Return three tables, or one sentence if nothing was built yet."""
        report = self._read(REPORT)
        if not report:
            return [_paragraph("This page fills when the book is built: nothing was built yet.")]
        versions = (f"{name} {number}" for name, number in report["versions"].items())
        facts = {
            "Built on": report["date"],
            **{what.capitalize(): value for what, value in report["machine"].items()},
            "Versions": ", ".join(versions),
        }
        rows = [[_text(what), _text(value)] for what, value in facts.items()]
        return [
            _table(("What", "Which"), rows),
            _table(CHAPTER_COLUMNS, [_chapter_row(*each) for each in report["chapters"].items()]),
            _paragraph("The cells that took longest when their chapters last ran:"),
            _table(CELL_COLUMNS, [_cell_row(cell) for cell in report["dearest_cells"]]),
        ]


#: What a chapter's seconds are split into, as ``costs.split`` names them.
SPLIT = ("training", "evaluation", "drawing", "import", "other")
CHAPTER_COLUMNS = (
    *("Chapter", "Cells", "This build", "Seconds"),
    *map(str.capitalize, SPLIT),
    "Peak memory",
)
CELL_COLUMNS = ("Chapter", "Cell", "Begins with", "Seconds")
CLAIM_COLUMNS = ("Claim", "Measured", "Seeds", "Band", "Holds", "Seconds")


def anchor(name: str) -> str:
    """Return the anchor of a claim, here and where its chapter states it."""
    return nodes.make_id(f"claim-{name}")


def _stated(name: str) -> str:
    """Return the anchor of the line that states a claim; a comparison states both its ends."""
    return anchor(re.sub(r"/(low|high)$", "", name))


def _claim_row(entry: dict[str, Any], home: str | None = None) -> list[nodes.Node]:
    verdict = nodes.inline("", "yes" if entry["holds"] else "no")
    verdict["classes"].append("holds" if entry["holds"] else "fails")
    short = entry["name"].removeprefix(f"{entry['chapter']}/")
    name: nodes.Node = nodes.literal("", short, ids=[anchor(entry["name"])])
    if home is not None:
        address = f"{home}#{_stated(entry['name'])}"
        name = nodes.reference("", "", name, refuri=address, internal=True)
    cost = "" if entry["seconds"] is None else f"{entry['seconds']:.3g}"
    if cost and entry["trained_now"] is False:
        cost += " (earlier)"
    return [
        name,
        _text(claims.value_text(entry)),
        _text(entry["seeds"]),
        _text(claims.band_text(entry)),
        verdict,
        _text(cost),
    ]


def _chapter_row(name: str, entry: dict[str, Any]) -> list[nodes.Node]:
    peak, split = entry["peak_mib"], entry["split"]
    return [
        nodes.literal("", name),
        _text(entry["cells"]),
        _text(entry["state"]),
        _text(f"{entry['seconds']:.1f}"),
        *(_text(f"{split[kind]:.1f}" if kind in split else "") for kind in SPLIT),
        _text(f"{peak:,.0f} MiB"),
    ]


def _cell_row(cell: dict[str, Any]) -> list[nodes.Node]:
    return [
        nodes.literal("", cell["chapter"]),
        _text(cell["cell"]),
        nodes.literal("", cell["line"]),
        _text(f"{cell['seconds']:.1f}"),
    ]


def _summary(ledger: Sequence[dict[str, Any]]) -> nodes.Node:
    held = sum(entry["holds"] for entry in ledger)
    devices = sorted({entry["device"] for entry in ledger})
    budgets = sorted({entry["budget"] for entry in ledger})
    return _paragraph(
        f"{held} of {len(ledger)} claims hold, measured on {' and '.join(devices)} at the budget "
        f"{' and '.join(budgets)}."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[nodes.Node]]) -> nodes.Node:
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in header), cols=len(header))
    group += nodes.thead("", _row([_text(name) for name in header]))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", group, classes=["ledger"])


def _row(cells: Sequence[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def _text(value: object) -> nodes.Text:
    return nodes.Text(str(value))


def _paragraph(text: str) -> nodes.paragraph:
    return nodes.paragraph("", text)
