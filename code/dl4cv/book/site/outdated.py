"""Which pages must be read or written again for reasons that Sphinx does not see."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from dl4cv.book.outputs import OutputCache


def list_bibliography_files(app: Sphinx, config: Config) -> None:
    """Take every file of ``book/references`` into the bibliography."""
    references = sorted(Path(app.confdir, "book", "references").glob("*.bib"))
    config.bibtex_bibfiles = [  # pyright: ignore[reportAttributeAccessIssue]
        path.relative_to(app.confdir).as_posix() for path in references
    ]


def read_bibliography_when_files_change(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Return the bibliography's page if a file of it came or went: it lists them all."""
    now = app.config.bibtex_bibfiles
    before = getattr(env, "dl4cv_bibfiles", now)
    env.dl4cv_bibfiles = now  # pyright: ignore[reportAttributeAccessIssue]
    pages = {place.docname for place in env.get_domain("cite").bibliographies}  # pyright: ignore[reportAttributeAccessIssue]
    return [] if before == now else sorted(pages - removed)


def rewrite_when_contents_change(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Return every page if one came, went or was renamed: each lists them all."""
    contents = {name: title.astext() for name, title in env.titles.items()}
    before = getattr(env, "dl4cv_contents", contents)
    env.dl4cv_contents = contents  # pyright: ignore[reportAttributeAccessIssue]
    return [] if before == contents else sorted(env.found_docs)


def pages_that_ran_again(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Return the pages whose outputs are not those that Sphinx read: it watches sources alone."""
    now = {source: when for source, (when, _) in OutputCache(Path(app.srcdir)).latest().items()}
    before = getattr(env, "dl4cv_outputs", {})
    env.dl4cv_outputs = now  # pyright: ignore[reportAttributeAccessIssue]
    new = (source for source, when in now.items() if before.get(source) != when)
    return [page for source in new if (page := env.path2doc(source))]
