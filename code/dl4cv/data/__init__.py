"""The book's data: fetched once, checked against pinned checksums, kept in a per-user cache.

Its modules are imported when they are first used: ``python -m dl4cv.data``, which every build runs,
then need not wait for PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dl4cv.data import binary, fashion, mnist
    from dl4cv.data.download import FetchError
    from dl4cv.data.labelled import LabelledImages

__all__ = ["FetchError", "LabelledImages", "binary", "fashion", "mnist"]

_HOMES = {"FetchError": "download", "LabelledImages": "labelled"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES.get(name, name)}")
    return getattr(module, name) if name in _HOMES else module


def __dir__() -> list[str]:
    return [*globals(), *__all__]
