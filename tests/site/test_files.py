"""The built book as files: links, anchors, weight, alt text. No browser is needed."""

import gzip
import html
import json
import re
import tomllib
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

import yaml

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"

#: HTML, CSS and scripts of a page, gzipped, without its figures.
BUDGET = 300 * 1024
#: What the page loads of one animation.
ANIMATION = 400 * 1024
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))


class Page(HTMLParser):
    """The ids, links, assets and pictures of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.assets: list[tuple[str, str]] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if attributes.get("id"):
            self.ids.add(attributes["id"])
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag == "img":
            self.pictures.append(attributes)
        if tag == "link" and attributes.get("rel") in ("canonical", "next", "prev"):
            return
        for name in ("src", "href", "srcset", "poster", "action"):
            if tag != "a" and attributes.get(name):
                self.assets.append((tag, attributes[name]))


@cache
def parsed(page: str) -> Page:
    return Page((SITE / page).read_text("utf-8"))


def test_there_is_a_book(all_pages: list[str]):
    assert sum(page.count("/") >= 2 for page in all_pages) >= 4
    needed = {"search.html", "404.html", "book/index.html", "book/measured.html"}
    assert needed <= set(all_pages)


def test_every_link_leads_somewhere(name: str, prefix: str):
    base = f"http://book{prefix}{name}"
    for link in parsed(name).links:
        target = urlsplit(urljoin(base, link))
        if target.netloc != "book":
            assert target.scheme in ("http", "https", "mailto"), f"{name}: {link}"
            continue
        path = unquote(target.path.removeprefix(prefix))
        path = path if path and not path.endswith("/") else f"{path}index.html"
        assert (SITE / path).is_file(), f"{name} links to {link}, which is not there"
        if target.fragment and path.endswith(".html"):
            known = parsed(path).ids
            assert unquote(target.fragment) in known, f"{name} links to {link}: no such anchor"


def test_every_asset_is_the_books_own(name: str, prefix: str):
    base = f"http://book{prefix}{name}"
    for tag, address in parsed(name).assets:
        if address.startswith(("data:", "#")):
            continue
        target = urlsplit(urljoin(base, address))
        assert target.netloc == "book", f"{name}: <{tag}> asks {target.netloc} for {address}"
        path = unquote(target.path.removeprefix(prefix))
        assert (SITE / path).is_file(), f"{name}: <{tag}> asks for {address}, which is not there"


def test_style_sheets_ask_no_other_host_and_nothing_missing(all_pages: list[str]):
    loaded = {
        urljoin(f"/{page}", address).partition("?")[0].lstrip("/")
        for page in all_pages
        if page != "404.html"
        for _, address in parsed(page).assets
    }
    sheets = [SITE / name for name in sorted(loaded) if name.endswith(".css")]
    assert len(sheets) >= 5
    for sheet in sheets:
        for address in re.findall(r"url\(\s*[\"']?([^)\"']+)", sheet.read_text("utf-8")):
            if not address.startswith(("data:", "#")):
                assert "//" not in address, f"{sheet.name}: {address}"
                target = sheet.parent / address.partition("?")[0]
                assert target.is_file(), f"{sheet.name} asks for {address}, which is not there"


def test_every_picture_says_what_it_shows(name: str):
    for picture in parsed(name).pictures:
        alt = picture.get("alt") or ""
        assert len(alt) >= 5, f"{name}: {picture}"
        assert not alt.endswith((".png", ".gif", ".jpg")), f"{name}: {alt}"


def test_animations_are_light(name: str):
    text = (SITE / name).read_text("utf-8")
    for picture in re.findall(r'<picture class="animation".*?</picture>', text, re.DOTALL):
        # Where the GIF is the smallest, there is no other format.
        loaded, *_ = re.findall(r'(?:type="image/\w+" srcset|<img[^>]* src)="([^"]+)"', picture)
        file = SITE / urljoin(f"/{name}", loaded).lstrip("/")
        assert file.stat().st_size <= ANIMATION, f"{name}: {loaded}"


def weight(page: str) -> dict[str, int]:
    """Return the gzipped bytes of a page and of each style sheet and script that it loads."""
    files = {page}
    for tag, address in parsed(page).assets:
        target = urljoin(f"/{page}", address).partition("?")[0].lstrip("/")
        if tag in ("script", "link") and target.endswith((".js", ".mjs", ".css")):
            files.add(target)
    # What the style sheets import counts too.
    for name in [name for name in files if name.endswith(".css")]:
        for found in re.findall(r"@import\s+[\"'](?:url\()?([^\"')]+)", (SITE / name).read_text()):
            files.add(urljoin(f"/{name}", found).lstrip("/"))
    return {name: len(gzip.compress((SITE / name).read_bytes(), 9)) for name in files}


def test_a_chapter_is_light(chapter: str):
    parts = weight(chapter)
    total = sum(parts.values())
    heaviest = ", ".join(
        f"{n} {b >> 10}K" for n, b in sorted(parts.items(), key=lambda i: -i[1])[:5]
    )
    print(f"{chapter}: {total / 1024:.0f} KiB ({heaviest})")
    assert total <= BUDGET, f"{chapter}: {total / 1024:.0f} KiB; {heaviest}"
    assert not any("fontawesome" in name or "mathjax" in name.lower() for name in parts)


def test_launch_and_download_links_point_into_the_tree(program: str):
    source = program.removesuffix(".html")
    notebook = f"{source}.ipynb"
    links = parsed(program).links
    repository = CONFIG["repository"]["url"].removeprefix("https://github.com/")
    branch = CONFIG["repository"]["branch"]

    [binder] = [link for link in links if urlsplit(link).netloc == "mybinder.org"]
    target = urlsplit(binder)
    assert target.path == f"/v2/gh/{repository}/{branch}"
    [path] = parse_qs(target.query)["urlpath"]
    assert path == f"lab/tree/{notebook}"

    [colab] = [link for link in links if urlsplit(link).netloc == "colab.research.google.com"]
    assert urlsplit(colab).path == f"/github/{repository}/blob/{branch}/{notebook}"
    assert (ROOT / notebook).is_file(), f"{notebook} is what the launch links open"

    downloads = {link.rpartition(".")[2] for link in links if "_sources/" in link}
    assert downloads == {"ipynb", "md"}


def test_sitemap_lists_the_pages_at_the_public_address(all_pages: list[str]):
    owner, name = CONFIG["repository"]["url"].removeprefix("https://github.com/").split("/")
    listed = re.findall(r"<loc>([^<]+)</loc>", (SITE / "sitemap.xml").read_text("utf-8"))
    public = [page for page in all_pages if page.startswith("book/")]
    assert sorted(listed) == sorted(f"https://{owner}.github.io/{name}/{page}" for page in public)


def test_social_card_is_a_picture_of_the_build():
    text = (SITE / "book/index.html").read_text("utf-8")
    [address] = re.findall(r'property="og:image" content="([^"]+)"', text)
    assert (SITE / "_images/social-card.jpg").stat().st_size > 10_000
    assert address.endswith("/_images/social-card.jpg")


def test_a_page_says_whose_it_is_and_where_to_report_a_mistake(text_page: str):
    text = (SITE / text_page).read_text("utf-8")
    [name] = re.findall(r'property="og:site_name" content="([^"]+)"', text)
    assert name == CONFIG["title"]
    [description] = re.findall(r'property="og:description" content="([^"]+)"', text)
    plain = " ".join(html.unescape(re.sub("<[^>]+>", "", text)).split())
    assert html.unescape(description).removesuffix(" …") in plain
    links = parsed(text_page).links
    assert CONFIG["repository"]["url"] in links
    assert any(link.startswith(f"{CONFIG['repository']['url']}/issues/new?") for link in links)


def test_the_ledger_shows_every_claim():
    ledger = json.loads((ROOT / "_build/claims.json").read_text("utf-8"))
    text = (SITE / "book/measured.html").read_text("utf-8")
    assert ledger
    for entry in ledger:
        assert entry["name"].removeprefix(f"{entry['chapter']}/") in text, entry["name"]
    assert f"of {len(ledger)} claims hold" in text


def test_claims_lead_to_the_ledger_and_back():
    ledger = json.loads((ROOT / "_build/claims.json").read_text("utf-8"))
    anchors = {link for link in parsed("book/measured.html").ids if link.startswith("claim-")}
    assert len(anchors) == len(ledger)
    back = [link for link in parsed("book/measured.html").links if "#claim-" in link]
    assert len(back) == len(ledger)


def test_a_chapter_quotes_claims_of_the_ledger(chapter: str):
    assert any("measured.html#claim-" in link for link in parsed(chapter).links)


def test_the_bibliography_leads_to_every_letter_and_back():
    text = (SITE / "book/bibliography.html").read_text("utf-8")
    letters = re.search(r'<nav class="letters".*?</nav>', text)[0]
    found = re.findall(r">(\w)</a>", letters)
    assert found == sorted(set(found))
    assert len(found) >= 15
    assert text.count('class="cited-in"') == text.count('role="doc-biblioentry"')


def test_binder_installs_what_the_book_was_built_with():
    def pins(path: str) -> set[str]:
        lines = (ROOT / path).read_text("utf-8").splitlines()
        return {line.partition(";")[0].strip() for line in lines if re.match(r"[\w.-]+==", line)}

    binder = pins("binder/requirements.txt")
    assert binder
    assert binder <= pins("requirements.txt")


def test_binder_installs_what_the_package_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    installed = (ROOT / "binder/requirements.txt").read_text("utf-8")
    for name in project["dependencies"]:
        if "win32" not in name:
            assert re.search(rf"^{re.escape(name)}==", installed, re.MULTILINE), name
