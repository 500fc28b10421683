"""Telling Sphinx which pages to read again because their chapters ran again."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from dl4cv.book.outputs import OutputCache


def pages_that_ran_again(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Return the pages whose outputs are not those that Sphinx read: it watches sources alone."""
    now = {source: when for source, (when, _) in OutputCache(Path(app.srcdir)).latest().items()}
    before = getattr(env, "dl4cv_outputs", {})
    env.dl4cv_outputs = now  # pyright: ignore[reportAttributeAccessIssue]
    new = (source for source, when in now.items() if before.get(source) != when)
    return [page for source in new if (page := env.path2doc(source))]
