"""Play the contest of the chapter on GANs with three seeds, and keep what it measured.

What is played are the chapter's own cells, those tagged ``recipe``; the results lie beside it in
``gans.json``, with the digest of these cells, so that a test sees when they are out of date. Takes
about ten minutes on two cores: ``python benchmarks/gans.py``.
"""

import json
from dataclasses import asdict
from statistics import mean, stdev

from dl4cv import runtime, storage
from dl4cv.book.chapters import ROOT, Chapter
from dl4cv.metrics import generative
from dl4cv.models import gan
from dl4cv.pretrained import digits

CHAPTER = Chapter(ROOT / "book" / "generative" / "gans.md")
SEEDS = (0, 1, 2)


def main() -> None:
    """Run all contestants with all seeds; write their measures and print mean and spread."""
    recipe = CHAPTER.tagged("recipe")
    cells: dict = {}
    exec(compile(recipe, str(CHAPTER.source), "exec"), cells)
    results: dict[str, dict[str, list[float]]] = {}
    for name, rules in cells["CONTESTANTS"].items():
        for seed in SEEDS:
            model, history = cells["play"](name, **rules, seed=seed)
            if "discriminator" in history.parts:
                gan.check_balance(history)
            seen = digits.see(model.sample(model.noise(cells["size"], runtime.seed(2))))
            for what, value in asdict(generative.quality(cells["judged"], seen)).items():
                results.setdefault(name, {}).setdefault(what, []).append(round(value, 4))
        line = (f"{w} {mean(v):.3f} ± {stdev(v):.3f}" for w, v in results[name].items())
        print(f"{name}: {', '.join(line)}", flush=True)
    kept = {"recipe": storage.sha256(recipe.encode()), "seeds": SEEDS, "results": results}
    text = json.dumps(kept, indent=1) + "\n"
    storage.write_atomically(CHAPTER.source.with_suffix(".json"), text.encode())


if __name__ == "__main__":
    main()
