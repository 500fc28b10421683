/* What the pages do beyond reading. Each part stands alone; without this script all is readable. */
"use strict";

/* Animations can be stopped: a button under each. Without this script they play. */
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

document.querySelectorAll("picture.animation").forEach((picture) => {
  const image = picture.querySelector("img");
  const moving = image.getAttribute("src");
  const formats = [...picture.querySelectorAll("source:not([media])")];
  const button = document.createElement("button");
  button.type = "button";
  button.className = "animation-button";

  function show(playing) {
    picture.querySelectorAll("source").forEach((source) => source.remove());
    if (playing) picture.prepend(...formats);
    image.src = playing ? moving : picture.dataset.still;
    label(playing);
  }

  function label(playing) {
    button.dataset.playing = playing;
    button.textContent = playing ? "Pause" : "Play";
    button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} the animation`);
  }

  label(!calm.matches);
  button.addEventListener("click", () => show(button.dataset.playing !== "true"));
  calm.addEventListener("change", () => show(!calm.matches));
  picture.closest("a").after(button);
});

/* "On this page" marks the section whose heading was passed last. */
const links = [...document.querySelectorAll("#page-toc a[href^='#']")].filter((link) => link.hash);
const headings = links.map((link) =>
  document.getElementById(decodeURIComponent(link.hash.slice(1))).querySelector("h1, h2, h3, h4"));
let chosen = -1; // what was clicked stays marked until the reader scrolls on

function markSection() {
  const page = document.documentElement;
  const left = page.scrollHeight - page.scrollTop - window.innerHeight;
  // Towards the end of the page the line sinks, so that short last sections have their turn.
  const line = Math.max(0.3 * window.innerHeight, window.innerHeight - left);
  const passed = headings.findLastIndex((heading) => heading.getBoundingClientRect().top < line);
  const current = links[chosen >= 0 ? chosen : passed];
  links.forEach((link) => {
    link.classList.toggle("active", link === current);
    link.closest(".toc-entry").classList.toggle("active", link.closest(".toc-entry").contains(current));
    if (link === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
}

if (links.length) {
  let waiting = 0;
  const later = () => { waiting ||= requestAnimationFrame(() => { waiting = 0; markSection(); }); };
  const choose = (hash) => { chosen = links.findIndex((link) => link.hash === hash); later(); };
  const release = () => { chosen = -1; };
  document.addEventListener("scroll", later, { passive: true });
  window.addEventListener("resize", later);
  window.addEventListener("hashchange", () => choose(location.hash));
  links.forEach((link) => link.addEventListener("click", () => choose(link.hash)));
  ["wheel", "touchmove", "keydown"].forEach((kind) =>
    window.addEventListener(kind, release, { passive: true }));
  choose(location.hash);
}

/* Paper is white: what is printed is the light mode. */
let screenTheme;
window.addEventListener("beforeprint", () => {
  screenTheme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
window.addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = screenTheme;
});

/* The drawers of a narrow window: a button that closes each, and focus goes back to what opened it. */
["primary", "secondary"].forEach((side) => {
  const dialog = document.getElementById(`pst-${side}-sidebar-modal`);
  if (!dialog) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "btn drawer-close";
  button.textContent = "Close";
  button.addEventListener("click", () => dialog.close());
  document.getElementById(`pst-${side}-sidebar`).append(button);
  dialog.addEventListener("close", () => document.querySelector(`.${side}-toggle`).focus());
});

/* A figure opens large over the page. Without this script its link opens the file. */
const viewer = document.createElement("dialog");
const closer = document.createElement("button");
const stage = document.createElement("div");
viewer.className = "viewer";
closer.type = "button";
closer.className = "btn";
closer.textContent = "Close";
stage.className = "viewer-stage";
stage.tabIndex = 0; // arrow keys scroll it
stage.setAttribute("role", "group");
stage.setAttribute("aria-label", "The figure");
viewer.append(closer, stage);
viewer.addEventListener("click", () => viewer.close());
viewer.addEventListener("close", () => stage.replaceChildren());

function enlarge(link) {
  const shown = link.querySelector("img");
  const copy = link.firstElementChild.cloneNode(true);
  const image = copy.matches("img") ? copy : copy.querySelector("img");
  const caption = link.closest("figure")?.querySelector(".caption-number")?.textContent.trim();
  const [width, height] = [shown.getAttribute("width"), shown.getAttribute("height")].map(Number);
  viewer.setAttribute("aria-label", `${caption || "Figure"}, enlarged`);
  image.removeAttribute("loading");
  image.classList.remove("hero");
  stage.replaceChildren(copy);
  viewer.showModal();
  // As large as the window holds; where that is little more than on the page, twice as large as
  // there, and it scrolls.
  const fit = Math.min(stage.clientWidth, stage.clientHeight * width / height);
  const size = fit > 1.3 * shown.clientWidth ? fit : 2 * shown.clientWidth;
  image.style = `width: ${Math.floor(size)}px; max-width: none`;
}

const enlarging = document.querySelectorAll("a.enlarge");
if (enlarging.length) document.body.append(viewer);
enlarging.forEach((link) => {
  link.setAttribute("aria-haspopup", "dialog");
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    enlarge(link);
  });
});

/* What is wider than its box can be scrolled by the arrow keys. */
const scrollers = document.querySelectorAll(".math-scroll, .pst-scrollable-table-container");
const watched = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
  else target.removeAttribute("tabindex");
}));
scrollers.forEach((box) => watched.observe(box));
