"""Every page of the built book in a real browser: quiet, self-contained, accessible, readable."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

AXE = Axe().axe_script
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 780}
CHAPTER = "book/foundations/linear.html"
# Thousands of elements that tell axe nothing new would cost it most of its time: formulas, which
# carry the colour of their text, and tokens of code after the first of their kind.
THIN = """() => {
  const seen = new Set();
  document.querySelectorAll(".katex").forEach((formula) => formula.remove());
  document.querySelectorAll(".highlight pre span").forEach((token) => {
    if (seen.has(token.className)) token.replaceWith(...token.childNodes);
    seen.add(token.className);
  });
  document.querySelectorAll(".highlight pre").forEach((code) => code.normalize());
}"""
VIOLATIONS = """async (rules) => {
  const settings = {resultTypes: ["violations"], preload: false};
  if (rules) settings.runOnly = rules;
  const found = await axe.run(document, settings);
  return found.violations
    .filter((v) => ["serious", "critical"].includes(v.impact))
    .map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`);
}"""


class Watch:
    """What went wrong on a page: errors of the console, and requests that leave or fail."""

    def __init__(self, page: Page, site: str) -> None:
        self.complaints: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        page.on("response", self._response)
        self.site, self.status = site, {}
        page.on("request", self._request)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _response(self, response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def _request(self, request) -> None:
        if not request.url.startswith((self.site, "data:", "blob:")):
            self.complaints.append(f"leaves the book: {request.url}")


@pytest.fixture(scope="module")
def wide(chromium) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=WIDE, color_scheme="light")
    yield context
    context.close()


@pytest.fixture(scope="module")
def calm(chromium) -> Iterator[BrowserContext]:
    """Where colours change at once, so that they can be measured."""
    context = chromium.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture(scope="module")
def phone(chromium) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=PHONE, color_scheme="light", has_touch=True)
    yield context
    context.close()


@pytest.fixture(scope="module")
def bare(chromium) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=PHONE, java_script_enabled=False)
    yield context
    context.close()


def test_page_is_quiet_and_accessible_in_both_modes(name: str, calm: BrowserContext, site: str):
    page = calm.new_page()
    watch = Watch(page, site)
    page.goto(site + name, wait_until="load")
    page.evaluate(THIN)
    page.evaluate(AXE)
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.evaluate(VIOLATIONS, None) == [], f"{name} in light mode"
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(VIOLATIONS, ["color-contrast"]) == [], f"{name} in dark mode"
    assert watch.complaints == []
    page.close()


def test_page_fits_a_phone(name: str, phone: BrowserContext, site: str):
    page = phone.new_page()
    page.goto(site + name, wait_until="load")
    wide = page.evaluate("document.documentElement.scrollWidth")
    culprits = page.evaluate(
        """() => [...document.querySelectorAll("main *")]
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
            .slice(0, 5).map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert wide <= PHONE["width"], f"{name} is {wide} px wide: {culprits}"
    size = page.evaluate(
        "parseFloat(getComputedStyle(document.querySelector('article') || document.body).fontSize)"
    )
    assert size >= 16, f"{name}: text of {size} px"
    page.close()


def test_page_reads_without_scripts(text_page: str, bare: BrowserContext, site: str):
    page = bare.new_page()
    page.goto(site + text_page, wait_until="load")
    article = page.locator("article")
    assert article.is_visible()
    assert len(article.inner_text()) > 100
    assert page.locator("nav.bd-links a").count() >= 8
    formulas = article.locator(".math")
    for index in range(min(formulas.count(), 3)):
        assert formulas.nth(index).locator(".katex-html").count() == 1
    page.close()


def test_mathematics_is_there(bare: BrowserContext, site: str):
    page = bare.new_page()
    page.goto(site + CHAPTER)
    assert page.locator("article .math-display .katex-display").count() >= 1
    assert page.locator(".katex-error, .math-error").count() == 0
    assert page.locator("article .katex-mathml math").count() >= 5
    page.close()


def test_search_finds_a_word(wide: BrowserContext, site: str):
    page = wide.new_page()
    watch = Watch(page, site)
    page.goto(site + CHAPTER)
    page.keyboard.press("Control+k")
    page.keyboard.type("gradient")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    assert "search.html?q=gradient" in page.url
    # The search page fetches what it found for its summaries; leaving would break that off.
    page.wait_for_load_state("networkidle")
    found = page.locator("#search-results li a").first.get_attribute("href")
    page.goto(site + found.partition("#")[0].partition("?")[0].removeprefix(site))
    assert "gradient" in page.locator("article").inner_text().lower()
    assert watch.complaints == []
    page.close()


def test_the_mode_can_be_switched_and_stays(wide: BrowserContext, site: str):
    page = wide.new_page()
    page.goto(site + CHAPTER)
    seen = {}
    for _ in range(3):
        page.locator(".theme-switch-button").first.click()
        mode = page.evaluate("document.documentElement.dataset.mode")
        seen[mode] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert set(seen) == {"light", "dark", "auto"}
    assert seen["light"] != seen["dark"]
    while page.evaluate("document.documentElement.dataset.mode") != "dark":
        page.locator(".theme-switch-button").first.click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    figure = page.locator("article img.chart").first
    assert "invert" in figure.evaluate("e => getComputedStyle(e).filter")
    page.evaluate("localStorage.clear()")
    page.close()


def test_an_animation_can_be_stopped(
    animated: str, wide: BrowserContext, calm: BrowserContext, site: str
):
    page = wide.new_page()
    page.goto(site + animated)
    button = page.locator(".animation-button").first
    image = page.locator("picture.animation img").first
    button.scroll_into_view_if_needed()
    assert button.inner_text() == "Pause"
    box = button.bounding_box()
    assert min(box["width"], box["height"]) >= 44
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("e => e.currentSrc.endsWith('.still.png')", arg=image.element_handle())
    assert button.inner_text() == "Play"
    page.keyboard.press("Enter")
    page.wait_for_function("e => !e.currentSrc.endsWith('.png')", arg=image.element_handle())
    page.close()

    page = calm.new_page()
    page.goto(site + animated)
    image = page.locator("picture.animation img").first
    image.scroll_into_view_if_needed()
    page.wait_for_function("e => e.currentSrc.endsWith('.still.png')", arg=image.element_handle())
    assert page.locator(".animation-button").first.inner_text() == "Play"
    page.close()


def test_the_menu_opens_on_a_phone(phone: BrowserContext, site: str):
    page = phone.new_page()
    page.goto(site + CHAPTER)
    link = page.locator("nav.bd-links a", has_text="Notation")
    assert not link.is_visible()
    page.locator("button.primary-toggle").first.click()
    page.wait_for_function("document.querySelector('#pst-primary-sidebar-modal').open")
    link.click()
    page.wait_for_url("**/notation.html")
    page.close()


def test_a_lost_reader_finds_the_way_back(wide: BrowserContext, site: str):
    page = wide.new_page()
    page.goto(site + "404.html")
    assert "Page not found" in page.locator("article h1").inner_text()
    page.locator("nav.bd-links a", has_text="Preface").click()
    assert page.locator("article h1").inner_text().startswith("Preface")
    page.close()
