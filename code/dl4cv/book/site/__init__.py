"""What the book adds to Sphinx: formulas, pictures, folded solutions, the ledger, small pages."""

from typing import Any

from sphinx.application import Sphinx
from sphinx_exercise.nodes import solution_node

from dl4cv.book import downloads, ledger
from dl4cv.book.site import (
    addresses,
    directives,
    formulas,
    outdated,
    postprocess,
    quoted,
    search,
    summary,
    theme,
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
    app.add_directive("datasets", directives.Datasets)
    app.add_directive("networks", directives.Networks)
    app.add_directive("literalinclude", directives.PackageSource, override=True)
    app.add_node(
        solution_node,
        override=True,
        html=(directives.visit_solution, directives.depart_solution),
    )
    app.add_config_value("ledger_page", "book/measured", "html")
    if app.registry.has_domain("glue"):  # myst-nb's
        app.add_role_to_domain("glue", "text", quoted.Quoted(), override=True)
    app.add_search_language(search.FoldedEnglish)
    app.connect("config-inited", addresses.set_base_urls, priority=400)
    app.connect("config-inited", outdated.list_bibliography_files, priority=400)
    app.connect("config-inited", theme.set_options, priority=400)
    app.connect("source-read", addresses.substitute_repository)
    app.connect("env-get-outdated", outdated.pages_that_ran_again)
    app.connect("env-get-outdated", outdated.read_bibliography_when_files_change)
    app.connect("env-updated", outdated.rewrite_when_contents_change)
    app.connect("html-page-context", summary.add, priority=400)
    app.connect("html-page-context", postprocess.improve_page, priority=900)
    app.connect("build-finished", addresses.write_sitemap)
    # After the theme wrote its own colors of code.
    app.connect("build-finished", theme.trim_theme, priority=900)
    app.connect("build-finished", downloads.write_notebooks)
    app.connect("build-finished", lambda *_: formulas.close())
    return {
        "version": "1",
        "env_version": 2,
        "parallel_read_safe": True,
        "parallel_write_safe": False,
    }
