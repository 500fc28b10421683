/* The search page only: summaries that can be read, and marks where a result was followed. */
"use strict";

// What a summary leaves out: navigation, and of a formula all but the letters in a line.
const UNREAD = ".katex-mathml, .math-display, .headerlink, .copybtn, .eqno, nav, .onlyprint, .bd-header-article, .bd-sidebar, footer, script, style";

Search.htmlToText = (html, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  page.querySelectorAll(UNREAD).forEach((element) => element.remove());
  const article = page.querySelector("article");
  const part = anchor && article?.querySelector(anchor);
  return (part || article)?.textContent.replace(/\s+/g, " ") ?? "";
};

// The words of the query come without accents, so the text must be searched without them too.
Search.makeSearchSummary = (html, words, anchor) => {
  const text = Search.htmlToText(html, anchor).normalize("NFC");
  const folded = [...text].map((letter) => foldAccents(letter)[0] ?? letter).join("");
  const places = [...words].map((word) => folded.indexOf(word)).filter((place) => place >= 0);
  const start = Math.max((places.at(-1) ?? 0) - 120, 0);
  const summary = document.createElement("p");
  summary.className = "context";
  summary.textContent = (start ? "…" : "") + text.slice(start, start + 240).trim() + "…";
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
