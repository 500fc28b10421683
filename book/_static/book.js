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
  picture.after(button);
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
