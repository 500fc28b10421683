"""What the pages of a small book are made of."""

#: What a page with code begins with.
FRONT_MATTER = """---
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

"""

#: The same with the title of the chapter ``tiny``.
HEAD = f"{FRONT_MATTER}(tiny)=\n# Tiny\n\n"

CLAIM = """```{code-cell} ipython3
from dl4cv.evidence import claim

claim("tiny/two", 1 + 1, unit="count", at_least=2)
```

It is {glue:text}`tiny/two`.
"""
