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


def test_an_animation_hears_a_wish_for_less_motion_that_comes_later(
    animated: str, wide: BrowserContext, site: str
):
    page = wide.new_page()
    page.goto(site + animated)
    image = page.locator("picture.animation img").first
    image.scroll_into_view_if_needed()
    button = page.locator(".animation-button").first
    page.emulate_media(reduced_motion="reduce")
    page.wait_for_function("e => e.currentSrc.endsWith('.still.png')", arg=image.element_handle())
    assert button.inner_text() == "Play"
    page.emulate_media(reduced_motion="no-preference")
    page.wait_for_function("e => !e.currentSrc.endsWith('.png')", arg=image.element_handle())
    assert button.inner_text() == "Pause"
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


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_a_figure_opens_large_and_closes_again(size: dict[str, int], chromium, site: str):
    context = chromium.new_context(viewport=size)
    page = context.new_page()
    page.goto(site + CHAPTER)
    link = page.locator("a.enlarge:has(img.chart)").first
    before = link.locator("img").bounding_box()["width"]
    link.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Fig. ")
    image = dialog.locator("img")
    page.wait_for_function("e => e.complete && e.naturalWidth", arg=image.element_handle())
    assert image.bounding_box()["width"] >= 1.3 * before
    assert image.get_attribute("alt") == link.locator("img").get_attribute("alt")
    button = dialog.get_by_role("button", name="Close")
    box = button.bounding_box()
    assert min(box["width"], box["height"]) >= 44
    assert button.evaluate("e => e === document.activeElement")
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert link.evaluate("e => e === document.activeElement")
    link.click()
    image.click(position={"x": 9, "y": 9})
    assert dialog.count() == 0
    context.close()


def test_a_figure_opens_its_file_without_scripts(bare: BrowserContext, site: str):
    page = bare.new_page()
    page.goto(site + CHAPTER)
    page.locator("a.enlarge").first.click()
    page.wait_for_url("**/_images/*.png")
    page.close()


def test_a_formula_too_wide_for_a_phone_is_scrolled_by_the_arrow_keys(
    phone: BrowserContext, site: str
):
    page = phone.new_page()
    page.goto(site + CHAPTER)
    stops = page.evaluate(
        """() => [...document.querySelectorAll(".math-scroll")]
            .map((e) => [e.scrollWidth > e.clientWidth, e.tabIndex === 0])"""
    )
    assert {True, False} == {wide for wide, _ in stops}
    assert all(wide == stop for wide, stop in stops), stops
    box = page.locator(".math-scroll[tabindex='0']").first
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("e => e.scrollLeft > 0", arg=box.element_handle())
    page.close()


def test_code_of_88_characters_fits_the_column(chapter: str, wide: BrowserContext, site: str):
    page = wide.new_page()
    page.goto(site + chapter)
    cut = page.evaluate(
        """() => [...document.querySelectorAll("article div:not(.output) > .highlight > pre")]
            .filter((e) => e.scrollWidth > e.clientWidth)
            .filter((e) => Math.max(...e.textContent.split("\\n").map((line) => line.length)) <= 88)
            .map((e) => e.textContent.slice(0, 200))"""
    )
    assert cut == []
    aside = page.locator(".bd-sidebar-secondary").bounding_box()
    right = page.evaluate(
        """() => Math.max(
            ...[...document.querySelectorAll("article :is(pre, img, .math-display)")]
                .map((e) => e.getBoundingClientRect().right))"""
    )
    assert right <= aside["x"], "the list of sections is covered"
    page.close()


def test_claims_costs_and_hints_are_whole_on_a_phone(
    chapter: str, phone: BrowserContext, site: str
):
    page = phone.new_page()
    page.goto(site + chapter)
    cut = page.evaluate(
        """() => [...document.querySelectorAll(".output:is(.claim, .run, .correct, .not-yet) pre")]
            .filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.innerText)"""
    )
    assert cut == []
    page.close()


def test_what_scrolls_on_a_phone_fades_at_its_edge(phone: BrowserContext, site: str):
    page = phone.new_page()
    page.goto(site + CHAPTER)
    without = page.evaluate(
        """() => [...document.querySelectorAll("article pre, .math-scroll")]
            .filter((e) => e.scrollWidth > e.clientWidth)
            .filter((e) => !getComputedStyle(e).backgroundImage.includes("gradient"))
            .map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert without == []
    page.close()


def test_paper_is_light_and_cuts_no_code(chromium, site: str):
    context = chromium.new_context(viewport={"width": 720, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    page.goto(site + CHAPTER)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    chart = page.locator("article img.chart").first
    assert chart.evaluate("e => getComputedStyle(e).filter") == "none"
    cut = page.evaluate(
        """() => [...document.querySelectorAll("article pre")]
            .filter((e) => e.offsetParent && e.scrollWidth > e.clientWidth)
            .map((e) => e.innerText.slice(0, 200))"""
    )
    assert cut == []
    for selector in (".animation-button", "details.hide:not([open]) > summary"):
        assert page.locator(f"{selector} >> visible=true").count() == 0, selector
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    context.close()


@pytest.mark.parametrize(
    ("saved", "system", "scripts"),
    [("light", "dark", True), ("dark", "light", True), ("auto", "dark", False)],
)
def test_charts_are_legible_in_forced_colors(
    saved: str, system: str, scripts: bool, chromium, site: str
):
    context = chromium.new_context(
        color_scheme=system, forced_colors="active", java_script_enabled=scripts
    )
    context.add_init_script(
        f"localStorage.setItem('mode', '{saved}'); localStorage.setItem('theme', '{saved}')"
    )
    page = context.new_page()
    page.goto(site + CHAPTER)
    style = page.locator("article img.chart").first.evaluate(
        """(e) => ["filter", "mix-blend-mode", "background-color"]
            .map((property) => getComputedStyle(e).getPropertyValue(property))"""
    )
    assert style == ["none", "normal", "rgb(255, 255, 255)"]
    context.close()


def test_photographs_are_shown_as_computed_in_dark_mode(name: str, wide: BrowserContext, site: str):
    page = wide.new_page()
    page.goto(site + name)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    filters = page.evaluate(
        """() => [...document.querySelectorAll("article img:is(.picture, .pixels)")]
            .map((e) => getComputedStyle(e).filter).filter((f) => f !== "none")"""
    )
    assert filters == []
    page.close()


def test_code_is_colored_without_scripts(bare: BrowserContext, site: str):
    page = bare.new_page()
    page.goto(site + CHAPTER)
    colors = [
        page.locator(selector).first.evaluate("e => getComputedStyle(e).color")
        for selector in (".highlight pre", ".highlight .kn")
    ]
    assert colors[0] != colors[1]
    page.close()


def test_the_list_of_sections_marks_the_one_that_is_read(
    chapter: str, calm: BrowserContext, site: str
):
    page = calm.new_page()
    page.goto(site + chapter)
    sections = page.evaluate(
        "() => [...document.querySelectorAll('#page-toc a')].map((a) => a.hash.slice(1))"
    )
    assert len(sections) >= 3
    marked = "(id) => document.querySelector('#page-toc a.active')?.hash === '#' + id"
    for section in sections + sections[-2::-1]:
        page.mouse.wheel(0, 1)
        page.evaluate(
            """(id) => {
                const heading = document.getElementById(id).querySelector("h2, h3");
                scrollBy(0, heading.getBoundingClientRect().top - 0.2 * innerHeight);
            }""",
            section,
        )
        at_the_end = page.evaluate(
            "() => document.documentElement.scrollHeight - scrollY - innerHeight < innerHeight"
        )
        if not at_the_end:
            page.wait_for_function(marked, arg=section)
    for section in (sections[-1], sections[0]):
        page.locator(f"#page-toc a[href='#{section}']").click()
        page.wait_for_function(marked, arg=section)
    page.close()


def test_focus_is_seen_on_every_button(wide: BrowserContext, site: str):
    page = wide.new_page()
    page.goto(site + CHAPTER)
    page.keyboard.press("Tab")
    buttons = page.locator(".bd-header-article button >> visible=true")
    assert buttons.count() >= 4
    for index in range(buttons.count()):
        buttons.nth(index).focus()
        outline = buttons.nth(index).evaluate("e => getComputedStyle(e).outlineStyle")
        assert outline == "solid", buttons.nth(index).evaluate("e => e.outerHTML")
    page.close()


@pytest.mark.parametrize("side", ["primary", "secondary"])
def test_a_drawer_gives_the_focus_back(side: str, phone: BrowserContext, site: str):
    page = phone.new_page()
    page.goto(site + CHAPTER)
    opened = f"document.querySelector('#pst-{side}-sidebar-modal').open"
    focused = f"document.activeElement.classList.contains('{side}-toggle')"
    page.locator(f"button.{side}-toggle").click()
    page.wait_for_function(opened)
    page.keyboard.press("Escape")
    page.wait_for_function(focused)
    page.locator(f"button.{side}-toggle").click()
    page.wait_for_function(opened)
    page.locator(f"#pst-{side}-sidebar-modal .drawer-close").click()
    page.wait_for_function(focused)
    page.close()


def test_nothing_is_covered_or_cut_at_four_hundred_percent(chromium, text_page: str, site: str):
    context = chromium.new_context(viewport={"width": 320, "height": 256})
    page = context.new_page()
    page.goto(site + text_page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    bar = page.locator(".bd-header-article").bounding_box()
    title = page.locator("article h1").first.bounding_box()
    assert bar["y"] + bar["height"] <= title["y"]
    context.close()


def found(page: Page, site: str, query: str) -> list[str]:
    """Return the addresses that a search finds, in order."""
    page.goto(f"{site}search.html?q={query}")
    page.wait_for_function("document.querySelector('.search-summary')?.innerText")
    page.wait_for_load_state("networkidle")
    links = page.locator("#search-results li > a")
    return [link.get_attribute("href") for link in links.all()]


@pytest.mark.parametrize(
    ("plain", "accented"),
    [("Frechet", "Fréchet"), ("Kynkaanniemi", "Kynkäänniemi"), ("Binkowski", "Bińkowski")],
)
def test_search_takes_a_name_with_or_without_its_accents(
    plain: str, accented: str, wide: BrowserContext, site: str
):
    page = wide.new_page()
    results = found(page, site, plain)
    assert results == found(page, site, accented)
    assert len(results) >= 2
    page.close()


def test_a_result_leads_to_the_section_that_explains_the_word(wide: BrowserContext, site: str):
    page = wide.new_page()
    found(page, site, "never trust gradient checked")
    link = page.locator("#search-results li > a[href*='linear.html']")
    assert "›" in link.inner_text()
    link.click()
    page.wait_for_url("**/linear.html#never-trust-a-gradient-you-have-not-checked")
    heading = page.locator(":target > h2")
    assert 0 <= heading.bounding_box()["y"] < WIDE["height"] / 2
    page.close()


def test_search_summaries_are_words(phone: BrowserContext, site: str):
    page = phone.new_page()
    assert found(page, site, "epsilon")
    text = page.locator("#search-results").inner_text()
    assert "\\" not in text
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    icon = page.locator(".bd-search-container .bd-search i").bounding_box()
    field = page.locator(".bd-search-container .bd-search input")
    indent = field.evaluate("e => parseFloat(getComputedStyle(e).paddingLeft)")
    assert field.bounding_box()["x"] + indent >= icon["x"] + icon["width"]
    page.close()


def test_words_are_marked_only_where_a_result_was_followed(chromium, site: str):
    context = chromium.new_context(viewport=WIDE)
    page = context.new_page()
    assert found(page, site, "gradient")
    page.goto(site + CHAPTER)
    assert page.locator(".highlight-link").count() == 0
    found(page, site, "gradient")
    page.locator("#search-results li > a").first.click()
    page.wait_for_selector(".highlight-link")
    context.close()


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
