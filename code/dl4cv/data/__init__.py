"""The book's data: fetched once, checked against pinned checksums, kept in a per-user cache.

Its modules are imported when they are first used: ``python -m dl4cv.data``, which every build runs,
then need not wait for PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dl4cv.data import binary
    from dl4cv.data.labelled import LabelledImages, fashion, mnist
    from dl4cv.fetch.sources import FetchError

__all__ = ["FetchError", "LabelledImages", "binary", "fashion", "mnist"]


def __getattr__(name: str) -> Any:
    if name == "binary":
        return importlib.import_module("dl4cv.data.binary")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "dl4cv.fetch.sources" if name == "FetchError" else "dl4cv.data.labelled"
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
