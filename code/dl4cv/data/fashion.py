"""Fashion-MNIST: 60,000 + 10,000 articles of clothing (Xiao, Rasul and Vollgraf, 2017)."""

from dl4cv.data import labelled, registry


def load(split: str) -> labelled.LabelledImages:
    """Return Fashion-MNIST's ``"train"`` (60,000) or ``"test"`` (10,000), fetched at first use.

    Shape: images (N, 1, 28, 28) uint8, cloth bright on background 0; labels (N,) int64.

    Raises:
        ValueError: if ``split`` is neither.
        FetchError: if the images are not in the cache and no source hands them out.
    """
    return labelled.load(registry.FASHION, split)
