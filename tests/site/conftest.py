"""The built book served on this machine, and one browser for all the site's tests."""

import functools
import http.server
import importlib.util
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

SITE = Path(__file__).resolve().parents[2] / "_build" / "html"

_spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
assert _spec is not None
assert _spec.loader is not None
browser = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(browser)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a browser when the user asked for that, and say so."""
    if os.environ.get(browser.SKIP) != "1":
        return
    skip = pytest.mark.skip(reason=f"{browser.SKIP}=1: NO PAGE WAS CHECKED IN A BROWSER")
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(skip)


def pages() -> list[str]:
    """Return the pages of the built book, as paths below its root, the redirect at / left out."""
    found = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    return [page for page in found if page != "index.html" and not page.startswith("_")]


def is_animated(page: str) -> bool:
    """Return whether the page shows an animation."""
    return '<picture class="animation"' in (SITE / page).read_text("utf-8")


#: What a test that asks for an argument of the name runs on.
PAGES = {
    "name": pages,
    "text_page": lambda: [p for p in pages() if p.startswith("book/")],
    "chapter": lambda: [p for p in pages() if p.startswith("book/") and p.count("/") >= 2],
    "program": lambda: [p for p in pages() if p.count("/") >= 2] + ["book/index.html"],
    "animated": lambda: [p for p in pages() if is_animated(p)][:1],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each page of the kind that its argument names."""
    for argument, list_pages in PAGES.items():
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, list_pages() if SITE.is_dir() else ["(nothing built)"])


def public_path() -> str:
    """Return the path below which the book lies at its public address, such as ``/book/``."""
    sitemap = (SITE / "sitemap.xml").read_text("utf-8")
    first = sitemap.partition("<loc>")[2].partition("book/")[0]
    return urlsplit(first).path


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the book under its public path, so that the 404 page's links are right too."""

    def translate_path(self, path: str) -> str:
        return super().translate_path("/" + path.removeprefix(self.prefix))

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def prefix() -> str:
    """The path below which the book lies at its public address."""
    return public_path()


@pytest.fixture(scope="session")
def all_pages() -> list[str]:
    """The pages of the built book."""
    return pages()


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the served book, with a slash at its end."""
    if not SITE.is_dir():
        pytest.fail(f"{SITE} is not there; run `make book` first")
    path = public_path()
    handler = type("Handler", (_Handler,), {"prefix": path})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(SITE))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}{path}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """One headless Chromium for the whole run."""
    from playwright.sync_api import sync_playwright

    executable = browser.find()
    if executable is None:
        pytest.fail(browser.HELP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with sync_playwright() as playwright:
            launched = playwright.chromium.launch(
                executable_path=executable, args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
            yield launched
            launched.close()
