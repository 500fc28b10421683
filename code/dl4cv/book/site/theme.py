"""The theme: its options, and what its style sheets and folder lose on the way to the reader."""

import re
from pathlib import Path

from pydata_sphinx_theme.pygments import get_pygments_stylesheet
from sphinx.application import Sphinx
from sphinx.config import Config

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

#: Colors of code, as Pygments names its styles; both have a contrast of 4.5 or more on our grounds.
LIGHT_CODE, DARK_CODE = "a11y-high-contrast-light", "github-dark"


def set_options(app: Sphinx, config: Config) -> None:
    """Set the options of the theme that Jupyter Book's configuration has no words for."""
    config.html_theme_options |= {
        "use_fullscreen_button": False,
        "toc_title": "On this page",
        "shorten_urls": False,
        "footer_content_items": "copyright.html, links.html",
    }


def trim_css(css: str) -> str:
    """Return the theme's style sheet without the icons that no page of the book shows."""

    def keep(match: re.Match[str]) -> str:
        names = re.findall(r"\.fa-([\w-]+):", match[0])
        return match[0] if ICONS.intersection(names) else ""

    return _FONT_RULE.sub("", _ICON_RULE.sub(keep, css))


def code_css() -> str:
    """Return the colors of code: light unless a script set the mode to dark."""
    css = get_pygments_stylesheet(LIGHT_CODE, DARK_CODE)
    return css.replace('html[data-theme="light"]', 'html:not([data-theme="dark"])')


def trim_theme(app: Sphinx, error: Exception | None) -> None:
    """Take out of the built book what its pages never load, and color its code."""
    static = Path(app.outdir, "_static")
    if error is not None or not (static / "styles").is_dir():
        return
    sheet = static / "styles" / "pydata-sphinx-theme.css"
    sheet.with_name("pydata-trimmed.css").write_text(trim_css(sheet.read_text("utf-8")), "utf-8")
    (static / "pygments.css").write_text(code_css(), "utf-8")
    for pattern in UNUSED:
        for path in list(static.glob(pattern)):
            path.unlink(missing_ok=True)
