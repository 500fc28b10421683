"""MNIST: 60,000 + 10,000 handwritten digits (LeCun, Cortes and Burges, 1998)."""

from dl4cv.data import labelled, registry


def load(split: str) -> labelled.LabelledImages:
    """Return MNIST's ``"train"`` (60,000) or ``"test"`` (10,000) digits, fetched at first use.

    Shape: images (N, 1, 28, 28) uint8, ink 255 on paper 0; labels (N,) int64.

    Raises:
        ValueError: if ``split`` is neither.
        FetchError: if the digits are not in the cache and no source hands them out.
    """
    return labelled.load(registry.MNIST, split)
