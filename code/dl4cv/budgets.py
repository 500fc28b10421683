"""How much time a build may spend. Kept apart from ``runtime``, so that asking needs no PyTorch."""

import os
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class Budget(StrEnum):
    """How much time a build may spend; read from the environment variable ``DL4CV_BUDGET``."""

    SMOKE = "smoke"
    BOOK = "book"
    FULL = "full"


def current_budget() -> Budget:
    """Return the budget in force, ``book`` unless ``DL4CV_BUDGET`` says otherwise.

    Raises:
        ValueError: if ``DL4CV_BUDGET`` is none of ``smoke``, ``book`` and ``full``.
    """
    name = os.environ.get("DL4CV_BUDGET", Budget.BOOK)
    try:
        return Budget(name)
    except ValueError:
        known = ", ".join(Budget)
        raise ValueError(f"DL4CV_BUDGET is {name!r}; expected one of: {known}") from None


def budget(*, smoke: T, book: T, full: T) -> T:
    """Return the argument that the budget in force names.

    ``smoke`` only proves that the code runs, ``book`` is what is published and fits two CPU cores,
    ``full`` is for a GPU.
    """
    return {Budget.SMOKE: smoke, Budget.BOOK: book, Budget.FULL: full}[current_budget()]
