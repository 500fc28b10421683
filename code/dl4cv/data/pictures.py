"""Pictures from files of any size and mode, as tensors that a network can take."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

#: Modes of Pillow with eight bits of gray or color a channel, with or without transparency.
_EIGHT_BITS = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_EIGHT_BITS |= {"HSV"}
_SIXTEEN_BITS = {"I;16", "I;16B", "I;16L", "I;16N"}
#: What undoes each EXIF orientation other than 1.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(path: str | Path) -> Tensor:
    """Return a picture as it is meant to be seen: upright as its EXIF says, on white, in color.

    Args:
        path: a file in any format that Pillow reads; of an animation, the first frame counts.

    Shape: (3, H, W) float32 in [0, 1].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no picture, is damaged, or has values whose range is not known.
    """
    path = Path(path)
    try:
        # Pillow warns of odd metadata, which does not matter here.
        with (
            warnings.catch_warnings(action="ignore", category=UserWarning),
            Image.open(path) as file,
        ):
            file.load()
            picture = _upright(file)
    except FileNotFoundError:
        raise
    except UnidentifiedImageError:
        raise ValueError(f"{path} is no picture that Pillow can read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a whole picture: {error}") from error
    return from_pillow(picture)


def from_pillow(picture: Image.Image) -> Tensor:
    """Return a Pillow image in color, on white where it is transparent.

    Shape: (3, H, W) float32 in [0, 1].

    Raises:
        ValueError: if the mode does not define which value is white.
    """
    if picture.mode in _SIXTEEN_BITS:
        values = np.asarray(picture).astype(np.float32)
        values[values == picture.info.get("transparency")] = 65_535
        return torch.from_numpy(values / 65_535).expand(3, -1, -1).contiguous()
    if picture.mode not in _EIGHT_BITS:
        raise ValueError(
            f"the picture's mode is {picture.mode!r}, which does not define which value is white; "
            "expected eight bits a channel, or sixteen bits of gray"
        )
    if picture.has_transparency_data:
        layer = picture.convert("LA" if picture.mode == "La" else "RGBA").convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        picture = Image.alpha_composite(white, layer)
    pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float() / 255


def _upright(picture: Image.Image) -> Image.Image:
    """Return a picture turned as its EXIF says, or as it is if that block cannot be read."""
    try:
        return picture.transpose(_UPRIGHT[picture.getexif()[ExifTags.Base.Orientation]])
    except Exception:  # whatever a parser trips over in rubbish, KeyError for none among it
        return picture


def square(picture: Tensor, side: int) -> Tensor:
    """Return the center crop of a picture, after scaling its shorter side to ``side`` pixels.

    Shape: (C, H, W) floats in [0, 1] → (C, side, side) of the same type, in [0, 1].

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
    wide = picture[None].to(torch.promote_types(picture.dtype, torch.float32))
    scaled = F.interpolate(wide, size=size, mode="bicubic", antialias=True)[0].to(picture.dtype)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return scaled[:, top : top + side, left : left + side].clamp(0, 1).contiguous()
