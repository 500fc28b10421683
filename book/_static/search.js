/* The search page only: summaries that can be read, and marks where a result was followed. */
"use strict";

// What a summary leaves out: navigation, and of a formula all but the letters in a line.
const UNREAD = ".katex-mathml, .math-display, .headerlink, .copybtn, .eqno, nav, .onlyprint, .bd-header-article, .bd-sidebar, footer, script, style";

const plain = (element) => element.textContent.replace(/\s+/g, " ");

function readable(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  page.querySelectorAll(UNREAD).forEach((element) => element.remove());
  return page.querySelector("article");
}

Search.htmlToText = (html, anchor) => {
  const article = readable(html);
  const part = anchor && article?.querySelector(anchor);
  return part || article ? plain(part || article) : "";
};

// The words of the query come without accents, so the text must be searched without them too.
const folded = (text) => [...text].map((letter) => foldAccents(letter)[0] ?? letter).join("");
const count = (text, word) => text.split(word).length - 1;

const SECTION = "section[id]:has(> :is(h1, h2, h3, h4))"; // an exercise is a section without a heading

// The section that holds most of the words, and of those the one that says them most often; but
// what explains a word comes before what only exercises it.
function bestSection(article, words) {
  const sections = [...article.querySelectorAll(SECTION)].map((section) => {
    const own = section.cloneNode(true);
    own.querySelectorAll(SECTION).forEach((inner) => inner.remove());
    const counts = words.map((word) => count(folded(plain(own).normalize("NFC")), word));
    return {
      section,
      own,
      held: counts.filter(Boolean).length,
      said: counts.reduce((sum, times) => sum + times, 0),
      exercises: own.querySelector(".exercise") ? 1 : 0,
    };
  });
  return sections.sort((a, b) => b.held - a.held || a.exercises - b.exercises || b.said - a.said)[0];
}

Search.makeSearchSummary = (html, words, anchor) => {
  const article = readable(html);
  const best = article && !anchor ? bestSection(article, [...words]) : undefined;
  const part = best?.own ?? (anchor && article?.querySelector(anchor)) ?? article;
  const text = part ? plain(part).normalize("NFC") : "";
  const places = [...words].map((word) => folded(text).indexOf(word)).filter((place) => place >= 0);
  const start = Math.max((places.at(-1) ?? 0) - 120, 0);
  const summary = document.createElement("p");
  summary.className = "context";
  summary.textContent = (start ? "…" : "") + text.slice(start, start + 240).trim() + "…";
  if (best?.held && best.section.parentElement.closest(SECTION)) {
    // Sphinx puts the summary behind the link to the page; that link leads to the section, then.
    queueMicrotask(() => {
      const link = summary.closest("li").querySelector("a");
      link.hash = best.section.id;
      link.append(` › ${best.own.querySelector("h2, h3, h4").textContent}`);
    });
  }
  return summary;
};

// Of two pages that match equally well, the bibliography is rarely what a reader wants.
Scorer.score = ([page, , , , score]) => (page.endsWith("bibliography") ? score - 0.5 : score);

// Sphinx marks the words on whatever page comes next. Only a result that was followed is meant.
document.addEventListener("DOMContentLoaded", () => {
  const key = "sphinx_highlight_terms";
  const query = new URLSearchParams(location.search).get("q") ?? "";
  const words = new Set([...query.toLowerCase().split(/\s+/), ...splitQuery(query)]);
  localStorage.removeItem(key);
  document.addEventListener("click", (event) => {
    if (event.target.closest("#search-results li a")) localStorage.setItem(key, [...words].join(" "));
  });
});
