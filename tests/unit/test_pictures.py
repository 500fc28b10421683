"""Pictures of every mode that people have on their disks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from dl4cv.data import pictures
from PIL import Image

RED, HALF = (255, 0, 0), (255, 0, 0, 128)


def saved(folder: Path, image: Image.Image, name: str = "picture.png", **options) -> Path:
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize(
    ("mode", "fill", "name", "expected"),
    [
        ("RGB", RED, "a.png", (1, 0, 0)),
        ("RGB", RED, "a.bmp", (1, 0, 0)),
        ("L", 51, "a.png", (0.2, 0.2, 0.2)),
        ("1", 1, "a.png", (1, 1, 1)),
        ("RGBA", HALF, "a.png", (1, 127 / 255, 127 / 255)),
        ("RGBA", (0, 0, 0, 0), "a.png", (1, 1, 1)),
        ("LA", (0, 0), "a.png", (1, 1, 1)),
        ("P", 0, "a.gif", (0, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "a.tif", (1, 0, 0)),
        ("I;16", 13_107, "a.png", (0.2, 0.2, 0.2)),
    ],
)
def test_every_mode_comes_out_in_colour(tmp_path, mode, fill, name, expected):
    found = pictures.read(saved(tmp_path, Image.new(mode, (5, 3), fill), name))
    assert found.shape == (3, 3, 5)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    torch.testing.assert_close(found[:, 1, 2], torch.tensor(expected).float(), atol=0.003, rtol=0)


def test_a_palette_may_have_a_transparent_colour(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    path = saved(tmp_path, image, transparency=1)
    assert pictures.read(path).min() == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_turned_back(tmp_path, orientation):
    upright = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, stored, exif=exif)
    assert torch.equal(pictures.read(path), pictures.from_pillow(upright))


def test_what_is_no_picture_is_said(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"a\.png is no picture that pillow can read"):
        pictures.read(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        pictures.read(tmp_path / "b.png")


def test_half_a_picture_is_said(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(ValueError, match=r"picture\.png is not a whole picture: "):
        pictures.read(path)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_mode_without_a_white_is_refused(mode):
    with pytest.raises(ValueError, match=f"the picture's mode is '{mode}'"):
        pictures.from_pillow(Image.new(mode, (2, 2)))


@pytest.mark.parametrize(("height", "width"), [(300, 200), (200, 300), (64, 64), (1, 7), (65, 64)])
def test_the_middle_square(height, width):
    ramp = torch.linspace(0, 1, width).expand(3, height, width)
    found = pictures.square(ramp, 64)
    assert found.shape == (3, 64, 64)
    assert found.mean().item() == pytest.approx(0.5, abs=0.01)
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize(
    ("picture", "side", "message"),
    [
        (torch.rand(2, 3, 4, 4), 8, r"picture has shape \(2, 3, 4, 4\)"),
        (torch.ones(3, 4, 4).byte(), 8, r"expected \(C, H, W\), floats in \[0, 1\]"),
        (torch.rand(3, 4, 4), 0, "side is 0; expected at least 1"),
    ],
)
def test_wrong_arguments_are_named(picture, side, message):
    with pytest.raises(ValueError, match=message):
        pictures.square(picture, side)
