"""The photographs that scikit-image carries, such as ``astronaut``, ``chelsea`` and ``coffee``."""

import functools
import importlib
import warnings
from types import ModuleType

import torch

NAMES = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "rocket")


def read(name: str) -> torch.Tensor:
    """Return a photograph in the order of its file. Shape: (H, W, 3) or (H, W), uint8.

    Raises:
        ValueError: if there is no photograph of that name; the message lists them.
    """
    if name not in NAMES:
        raise ValueError(f"name is {name!r}; expected one of: {', '.join(NAMES)}")
    return torch.from_numpy(getattr(_photographs(), name)().copy())


def load(name: str) -> torch.Tensor:
    """Return a photograph with its channels first. Shape: (3, H, W), or (1, H, W) if grey; uint8.

    Raises:
        ValueError: if there is no photograph of that name; the message lists them.
    """
    picture = read(name)
    return picture.permute(2, 0, 1).contiguous() if picture.ndim == 3 else picture[None]


@functools.cache
def _photographs() -> ModuleType:
    with warnings.catch_warnings():
        # On its way it imports tqdm, which warns in a notebook without ipywidgets.
        warnings.simplefilter("ignore")
        module = importlib.import_module("skimage.data")
        module.astronaut()
    return module
