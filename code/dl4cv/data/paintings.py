"""Six paintings and prints in the public domain, which come with the package."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dl4cv import storage
from dl4cv.data import pictures

_FOLDER = Path(__file__).with_name("art")


@dataclass(frozen=True)
class Painting:
    """A work of art, and its picture.

    Attributes:
        artist: who made it.
        title: of the work.
        year: when it was made.
        sha256: of the picture's file.
    """

    artist: str
    title: str
    year: str
    sha256: str


PAINTINGS = {
    "starry_night": Painting(
        "Vincent van Gogh",
        "The Starry Night",
        "1889",
        "650066ef5735fd399c1b36b1d5e420fff8b8807a57154ff992176494e344e0a1",
    ),
    "auvers": Painting(
        "Vincent van Gogh",
        "Village Street in Auvers",
        "1890",
        "78f9bd7ebcd4b732af8deacab8c1e5ae6a3d963b86587ee361e9c035ab057913",
    ),
    "great_wave": Painting(
        "Katsushika Hokusai",
        "The Great Wave off Kanagawa",
        "about 1831",
        "c0a1813d79913d6fb03834fcbffcbcb4136656c806ce3c00c51eb6763c5ce7d5",
    ),
    "poppies": Painting(
        "Katsushika Hokusai",
        "Poppies",
        "1833 or 1834",
        "1e1ebaba06efb2ba3b7cdf23a3b91eabf61166427a0ce83f9be052af5e65a2e4",
    ),
    "galette": Painting(
        "Pierre-Auguste Renoir",
        "Bal du moulin de la Galette",
        "1876",
        "6f36e98e0b274d8590302aad68043b28d66e2d2808d42f6f61840b4c56ad7756",
    ),
    "composition_viii": Painting(
        "Wassily Kandinsky",
        "Composition VIII",
        "1923",
        "7c9903e4293d48b6b99cd18daa3ab2b28a71e9ef57f9ab29c3380da91cd59a07",
    ),
}


def load(name: str) -> Tensor:
    """Return a painting, at most 512 pixels wide and high. Shape: (3, H, W) in [0, 1].

    Raises:
        ValueError: if there is no painting of that name, or its file is not the one that is pinned.
        FileNotFoundError: if the file is not there.
    """
    if name not in PAINTINGS:
        raise ValueError(f"name is {name!r}; expected one of: {', '.join(PAINTINGS)}")
    path = _FOLDER / f"{name}.jpg"
    found, wanted = storage.sha256_of_file(path), PAINTINGS[name].sha256
    if found != wanted:
        raise ValueError(f"{path} has SHA-256 {found}, expected {wanted}: install it again")
    return pictures.read(path)
