"""The skeleton of a new chapter: a page that builds, an exercise that checks, and its test."""

from pathlib import Path

from dl4cv import storage

PAGE = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

({name})=
# {title}

Open with a question, and with a picture that the chapter's own code makes.

```{{code-cell}} ipython3
---
mystnb:
  image: {{alt: "Sixteen grey pictures of clothes in two rows of eight.", classes: pixels}}
  figure: {{caption: "Say what is to be seen here.", name: {name}-fig-opening}}
---
from dl4cv import data, plotting

test = data.fashion.load("test")
plotting.show_images(test.images[:16], columns=8)
```

Then build one idea after the other, and print what a reader can check by hand.

```{{code-cell}} ipython3
test.images.shape
```

Measure before you claim; the prose then quotes the run.

```{{code-cell}} ipython3
from dl4cv.evidence import claim

claim("{name}/images", len(test), unit="count", at_least=10_000)
```

All {{glue:text}}`{name}/images` test images are there.

## Exercises

```{{exercise-start}} The mean of the pixels
:label: {name}-ex-mean
```

Return the mean of a batch of images over everything but the batch.

```{{code-cell}} ipython3
:tags: [exercise-stub]

from dl4cv import exercises


def mean_pixel(images):
    raise NotImplementedError


exercises.check("{name}/mean_pixel", mean_pixel)
```

```{{exercise-end}}
```

```{{solution-start}} {name}-ex-mean
:label: {name}-sol-mean
:class: dropdown
```

```{{code-cell}} ipython3
:tags: [exercise-solution]

def mean_pixel(images):
    return images.flatten(1).mean(dim=1)


exercises.check("{name}/mean_pixel", mean_pixel)
```

```{{solution-end}}
```
"""

EXERCISES = '''"""The checked exercises of the chapter ``{name}``."""

import torch

from dl4cv.exercises import Case, Exercise


def _mean_pixel() -> list[Case]:
    images = torch.rand(4, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    return [Case("four random images", (images,), torch.stack([i.mean() for i in images]))]


EXERCISES = {{"mean_pixel": Exercise(_mean_pixel, hint="flatten(1) keeps the batch.")}}
'''


def write(root: Path, *, part: str, name: str, title: str) -> list[Path]:
    """Write the page and the exercises of a new chapter, and name it in the table of contents.

    Args:
        root: the checkout.
        part: folder below ``book/``; it must exist and hold a chapter already.
        name: the short name that labels, claims and exercises begin with, an identifier.
        title: the heading.

    Returns:
        The files written.

    Raises:
        ValueError: if ``name`` is no identifier or the part has no chapter in the contents.
        FileExistsError: if there is such a chapter.
    """
    if not name.isidentifier():
        raise ValueError(f"name is {name!r}; expected letters, digits and underscores")
    page = root / "book" / part / f"{name}.md"
    exercises = root / "code" / "dl4cv" / "exercises" / f"{name}.py"
    for path in (page, exercises):
        if path.exists():
            raise FileExistsError(f"{path.relative_to(root)} is there already")
    contents = root / "_toc.yml"
    lines = contents.read_text("utf-8").splitlines()
    siblings = [i for i, line in enumerate(lines) if f"file: book/{part}/" in line]
    if not siblings:
        raise ValueError(f"part is {part!r}; _toc.yml lists no chapter below book/{part}/")
    last = siblings[-1]
    indent = lines[last][: len(lines[last]) - len(lines[last].lstrip())]
    lines.insert(last + 1, f"{indent}- file: book/{part}/{name}")
    storage.write_atomically(page, PAGE.format(name=name, title=title).encode())
    storage.write_atomically(exercises, EXERCISES.format(name=name).encode())
    storage.write_atomically(contents, ("\n".join(lines) + "\n").encode())
    return [page, exercises, contents]
