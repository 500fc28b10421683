/* Animations can be stopped: a button under each. Without this script they play. */
"use strict";

document.querySelectorAll("picture.animation").forEach((picture) => {
  const image = picture.querySelector("img");
  const moving = image.getAttribute("src");
  const sources = [...picture.querySelectorAll("source")];
  const formats = sources.filter((source) => !source.media);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "animation-button";

  function show(playing) {
    sources.forEach((source) => source.remove());
    if (playing) formats.forEach((source) => picture.prepend(source));
    image.src = playing ? moving : picture.dataset.still;
    label(playing);
  }

  function label(playing) {
    button.dataset.playing = playing;
    button.textContent = playing ? "Pause" : "Play";
    button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} the animation`);
  }

  label(!window.matchMedia("(prefers-reduced-motion: reduce)").matches);
  button.addEventListener("click", () => show(button.dataset.playing !== "true"));
  (picture.closest("a") || picture).after(button);
});
