"""The notebooks behind the pages' download buttons: each chapter as it was run, pictures included.

The theme copies a notebook without outputs to the place that its button points at; this writes the
executed one over it.
"""

from pathlib import Path

from myst_nb.core.read import is_myst_markdown_notebook
from sphinx.application import Sphinx

from dl4cv.book import notebooks, references
from dl4cv.book.chapters import Chapter
from dl4cv.book.outputs import OutputCache


def write_notebooks(app: Sphinx, error: Exception | None) -> None:
    """Write every executed chapter below ``_sources`` of the built site; Sphinx calls this."""
    if error is not None or app.builder.format != "html":
        return
    root = Path(app.srcdir)
    cache = OutputCache(root)
    sources = [Path(app.env.doc2path(page)) for page in sorted(app.env.found_docs)]
    read = [Chapter(path) for path in sources if is_myst_markdown_notebook(path.read_text("utf-8"))]
    executed = [(chapter, found[0]) for chapter in read if (found := cache.get(chapter))]
    if not executed:
        return
    known = references.read(root)
    for chapter, notebook in executed:
        target = Path(app.outdir, "_sources", chapter.notebook.relative_to(root))
        target.parent.mkdir(parents=True, exist_ok=True)
        made = notebooks.executed_as(chapter, notebook, known, notebooks.visible, root)
        notebooks.write(target, made)
