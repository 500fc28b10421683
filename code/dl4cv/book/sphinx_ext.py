"""What the book adds to Sphinx: formulas, pictures, folded solutions, the ledger, small pages."""

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator
from sphinx_exercise.nodes import solution_node

from dl4cv.book import downloads, formulas, ledger, pictures
from dl4cv.data import registry
from dl4cv.pretrained import registry as networks

#: A printed claim, such as ``knn/accuracy ≥ 0.85: yes (0.8512)``, and an exercise's verdict.
_OUTPUT = (
    r'(<div class="output text_plain )([^"]*"><div class="highlight"><pre>(?:<span></span>)?{})'
)
_MARKS = {
    "claim": re.compile(_OUTPUT.format(r"[^\s<]+ (?:≥|≤) [^\n]*: (?:yes|no)")),
    "not-yet": re.compile(_OUTPUT.format(r"[^\s<]+: not yet\.")),
    "correct": re.compile(_OUTPUT.format(r"[^\s<]+: correct,")),
}

#: Rules of Font Awesome that the theme's style sheet carries: one for each of 1,400 icons.
_ICON_RULE = re.compile(r"(?:\.fa-[\w-]+:{1,2}before,?)+\{content:\"[^\"]*\"\}")
_FONT_RULE = re.compile(r"@font-face\{[^}]*Font Awesome[^}]*\}")
ICONS = {
    *("angle-left", "angle-right", "arrow-up", "bars", "chevron-down", "circle-half-stroke"),
    *("code", "download", "expand", "file", "file-lines", "file-pdf", "home", "lightbulb", "list"),
    *("magnifying-glass", "moon", "outdent", "pencil", "play", "rocket", "sun"),
}


UNUSED = (
    "scripts/fontawesome.js",
    "vendor/fontawesome/webfonts/*.*",
    "**/*.map",
    "locales/*/*/*.*",
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything; Sphinx calls this."""
    app.add_html_math_renderer(
        "katex",
        inline_renderers=(formulas.visit_inline, None),
        block_renderers=(formulas.visit_display, None),
    )
    # Jupyter Book sets this one whether or not the extension that knows it is there.
    app.add_config_value("comments_config", {}, "")
    app.add_directive("claims-ledger", ledger.ClaimsLedger)
    app.add_directive("build-report", ledger.BuildReport)
    app.add_directive("datasets", Datasets)
    app.add_directive("networks", Networks)
    app.add_node(solution_node, override=True, html=(visit_solution, depart_solution))
    app.connect("config-inited", settle_addresses, priority=400)
    app.connect("env-get-outdated", read_bibliography_when_files_change)
    app.connect("env-updated", rewrite_when_contents_change)
    app.connect("html-page-context", improve_page, priority=900)
    app.connect("source-read", spell_repository)
    app.connect("build-finished", write_sitemap)
    app.connect("build-finished", trim_theme)
    app.connect("build-finished", downloads.write_notebooks)
    app.connect("build-finished", lambda *_: formulas.close())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}


def spell_repository(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the repository's address where a page says REPOSITORY, in its code blocks too."""
    source[0] = source[0].replace("REPOSITORY", app.config.html_theme_options["repository_url"])


def site_address(repository: str) -> str:
    """Return where GitHub Pages serves the book of a repository.

    Raises:
        ValueError: if ``repository`` is not the address of a GitHub repository.
    """
    match = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", repository)
    if not match:
        raise ValueError(
            f"repository.url is {repository!r}; expected https://github.com/OWNER/NAME"
        )
    owner, name = match.groups()
    return f"https://{owner.lower()}.github.io/{name}/"


def settle_addresses(app: Sphinx, config: Config) -> None:
    """Derive the site's own address from the repository's, and list the bibliography's files."""
    address = config.html_baseurl or site_address(config.html_theme_options["repository_url"])
    config.html_baseurl = config.ogp_site_url = address  # pyright: ignore[reportAttributeAccessIssue]
    config.notfound_urls_prefix = "/" + address.split("/", 3)[3]  # pyright: ignore[reportAttributeAccessIssue]
    config.html_theme_options |= {
        "use_fullscreen_button": False,
        "toc_title": "On this page",
        "shorten_urls": False,
    }
    references = sorted(Path(app.confdir, "book", "references").glob("*.bib"))
    config.bibtex_bibfiles = [  # pyright: ignore[reportAttributeAccessIssue]
        path.relative_to(app.confdir).as_posix() for path in references
    ]


def read_bibliography_when_files_change(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Have the bibliography read again when a file of it came or went: it lists them all."""
    now = app.config.bibtex_bibfiles
    before = getattr(env, "dl4cv_bibfiles", now)
    env.dl4cv_bibfiles = now  # pyright: ignore[reportAttributeAccessIssue]
    pages = {place.docname for place in env.get_domain("cite").bibliographies}  # pyright: ignore[reportAttributeAccessIssue]
    return [] if before == now else sorted(pages - removed)


def rewrite_when_contents_change(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Have every page written again when a page came, went or was renamed: each lists them all."""
    contents = {name: title.astext() for name, title in env.titles.items()}
    before = getattr(env, "dl4cv_contents", contents)
    env.dl4cv_contents = contents  # pyright: ignore[reportAttributeAccessIssue]
    return [] if before == contents else sorted(env.found_docs)


def write_sitemap(app: Sphinx, error: Exception | None) -> None:
    """List all pages of the book, those that this build left as they were too."""
    if error is not None or app.builder.format != "html":
        return
    pages = (app.builder.get_target_uri(name) for name in sorted(app.env.found_docs))
    entries = "".join(
        f"<url><loc>{html.escape(app.config.html_baseurl + page)}</loc></url>\n" for page in pages
    )
    Path(app.outdir, "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{entries}</urlset>\n',
        "utf-8",
    )


def improve_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Work on the finished HTML of a page's content: its pictures, claims and exercises."""
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
    context["body"] = mark_outputs(pictures.improve(body, find, images, cache))
    hero = re.search(r'<img\b[^>]*class="[^"]*\bhero\b[^"]*"[^>]*>', body)
    address = re.search(r'src="([^"]*)"', hero[0]) if hero else None
    picture = find(address[1]) if address else None
    if picture is not None:
        pictures.social_card(picture, images / "social-card.jpg")


def mark_outputs(body: str) -> str:
    """Return ``body`` with a class on each output that is a claim or an exercise's verdict.

    The bibliography loses a role that its entries do not live up to, for screen readers.
    """
    body = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
    for name, pattern in _MARKS.items():
        body = pattern.sub(rf"\g<1>{name} \g<2>", body)
    return body


def visit_solution(self: HTML5Translator, node: nodes.Element) -> None:
    """Open a solution as ``<details>``: folded without a script, and in reach of the keyboard."""
    title, *rest = node.children
    self.body.append(self.starttag(node, "details", CLASS="admonition"))
    self.body.append(f'<summary class="admonition-title">{self.encode(title.astext())}</summary>\n')
    node.children = rest


def depart_solution(self: HTML5Translator, node: nodes.Element) -> None:
    """Close what ``visit_solution`` opened."""
    self.body.append("</details>\n")


def trim_css(css: str) -> str:
    """Return the theme's style sheet without the icons that no page of the book shows."""

    def keep(match: re.Match[str]) -> str:
        names = re.findall(r"\.fa-([\w-]+):", match[0])
        return match[0] if ICONS.intersection(names) else ""

    return _FONT_RULE.sub("", _ICON_RULE.sub(keep, css))


def trim_theme(app: Sphinx, error: Exception | None) -> None:
    """Take out of the built book what its pages never load."""
    static = Path(app.outdir, "_static")
    if error is not None or not (static / "styles").is_dir():
        return
    sheet = static / "styles" / "pydata-sphinx-theme.css"
    sheet.with_name("pydata-trimmed.css").write_text(trim_css(sheet.read_text("utf-8")), "utf-8")
    for pattern in UNUSED:
        for path in list(static.glob(pattern)):
            path.unlink(missing_ok=True)


class _Registered(SphinxDirective):
    """What a registry knows of each of its entries: a field list under the entry's name."""

    def described(self, item: registry.Published, more: dict[str, str]) -> list[nodes.Node]:
        """Return the name of ``item`` and its fields, ``more`` among them."""
        remote = [s for s in item.sources if not isinstance(s, registry.Folder)]
        fields = {
            "What": nodes.Text(item.about),
            "By": nodes.Text(item.credit),
            "Licence": nodes.reference(
                "", item.licence.name, refuri=item.licence.url, internal=False
            ),
            "Home": nodes.reference("", item.homepage, refuri=item.homepage, internal=False),
            **{name: nodes.Text(text) for name, text in more.items()},
            "Fetched from": nodes.Text(", else ".join(str(source) for source in remote)),
        }
        listed = (
            nodes.field(
                "",
                nodes.field_name("", name),
                nodes.field_body("", nodes.paragraph("", "", value)),
            )
            for name, value in fields.items()
        )
        return [nodes.rubric("", item.title), nodes.field_list("", *listed)]


class Datasets(_Registered):
    """``{datasets}``: what the package's registry knows of each data set."""

    def run(self) -> list[nodes.Node]:
        """Return a field list for each data set under its name."""
        self.env.note_dependency(registry.__file__)
        return [
            node
            for data_set in registry.DATASETS.values()
            for node in self.described(data_set, {"Classes": ", ".join(data_set.class_names)})
        ]


class Networks(_Registered):
    """``{networks}``: what the package's registry knows of each pretrained network."""

    def run(self) -> list[nodes.Node]:
        """Return a field list for each network under its name."""
        self.env.note_dependency(networks.__file__)
        return [
            node for network in networks.NETWORKS.values() for node in self.described(network, {})
        ]
