"""Pictures from files of any size and mode, as tensors that a network can take."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

#: Modes of pillow that are eight bits of grey or colour, with or without transparency.
_EIGHT_BITS = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_EIGHT_BITS |= {"HSV", "LAB"}
_SIXTEEN_BITS = {"I;16", "I;16B", "I;16L", "I;16N"}


def read(path: str | Path) -> Tensor:
    """Return a picture as it is meant to be seen: turned as its EXIF says, on white, in colour.

    Args:
        path: a file in any format that pillow reads; of an animation, the first frame counts.

    Shape: (3, H, W) float32 in [0, 1].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no picture, is not whole, or has values whose range is not known.
    """
    path = Path(path)
    try:
        with Image.open(path) as opened:
            return from_pillow(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise ValueError(f"{path} is no picture that pillow can read") from None
    except (OSError, SyntaxError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is not a whole picture: {error}") from error


def from_pillow(picture: Image.Image) -> Tensor:
    """Return a pillow image in colour, what is transparent on white.

    Shape: (3, H, W) float32 in [0, 1].

    Raises:
        ValueError: if the mode does not tell which value is white.
    """
    if picture.mode in _SIXTEEN_BITS:
        grey = torch.from_numpy(np.asarray(picture).astype(np.float32)) / 65_535
        return grey.expand(3, -1, -1).contiguous()
    if picture.mode not in _EIGHT_BITS:
        raise ValueError(
            f"the picture's mode is {picture.mode!r}, which does not tell which value is white; "
            "expected eight bits a channel, or sixteen bits of grey"
        )
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        picture = Image.alpha_composite(white, layer)
    pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float() / 255


def square(picture: Tensor, side: int) -> Tensor:
    """Return the middle of a picture, as a square of another size.

    The picture is scaled, without aliasing, until its shorter side is ``side``; what the longer
    one has too much is cut off on both ends alike.

    Args:
        picture: (C, H, W) floats in [0, 1], of any size.
        side: of the square, in pixels.

    Shape: (C, side, side) in [0, 1].

    Raises:
        ValueError: if ``picture`` has another form, or ``side`` is below 1.
    """
    if picture.ndim != 3 or not picture.is_floating_point() or min(picture.shape) < 1:
        raise ValueError(
            f"picture has shape {tuple(picture.shape)} and type {picture.dtype}; "
            "expected (C, H, W), floats in [0, 1]"
        )
    if side < 1:
        raise ValueError(f"side is {side}; expected at least 1")
    height, width = picture.shape[1:]
    least = min(height, width)
    size = (max(side, round(height * side / least)), max(side, round(width * side / least)))
    scaled = F.interpolate(picture[None], size=size, mode="bicubic", antialias=True)[0]
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return scaled[:, top : top + side, left : left + side].clamp(0, 1).contiguous()
