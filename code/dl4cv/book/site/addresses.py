"""Where the book lies on the web, and what follows from it: base URL, sitemap, repository."""

import html
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config


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


def set_base_urls(app: Sphinx, config: Config) -> None:
    """Derive the site's own address from the repository's."""
    address = config.html_baseurl or site_address(config.html_theme_options["repository_url"])
    config.html_baseurl = config.ogp_site_url = address  # pyright: ignore[reportAttributeAccessIssue]
    config.notfound_urls_prefix = "/" + address.split("/", 3)[3]  # pyright: ignore[reportAttributeAccessIssue]


def substitute_repository(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the repository's address where a page says REPOSITORY, in its code blocks too."""
    source[0] = source[0].replace("REPOSITORY", app.config.html_theme_options["repository_url"])


def write_sitemap(app: Sphinx, error: Exception | None) -> None:
    """List all pages of the book, including those that this build did not write again."""
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
