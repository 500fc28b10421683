"""Pictures of every mode that people have on their disks."""

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from dl4cv.data import pictures
from hypothesis import example, given
from hypothesis import strategies as st
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


@given(
    rubbish=st.binary(max_size=60),
    orientation=st.sampled_from([None, 1, 6, 9]),
    whole=st.integers(6, 40),
)
@example(rubbish=b"no TIFF header", orientation=None, whole=6)
def test_rubbish_in_the_exif_block_is_ignored(tmp_path_factory, rubbish, orientation, whole):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    block = exif.tobytes()[:whole] + rubbish  # its first six bytes are b"Exif", 0, 0
    image = Image.new("RGB", (5, 3), RED)
    folder = tmp_path_factory.mktemp("exif")
    # Without a resolution, Pillow itself would try the block, and forget it.
    path = saved(folder, image, "a.jpg", exif=block, dpi=(72, 72))
    found = pictures.read(path)
    assert found.shape in {(3, 3, 5), (3, 5, 3)}
    torch.testing.assert_close(found.amax((1, 2)), torch.tensor([1.0, 0, 0]), atol=0.02, rtol=0)


def test_an_orientation_before_a_broken_tag_still_counts(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x829A] = 6, (1, 3)
    path = saved(tmp_path, Image.new("RGB", (5, 3)), "a.jpg", exif=exif.tobytes()[:-6])
    assert pictures.read(path).shape == (3, 5, 3)


SAVED_AS = {
    "1": ("png", "gif", "tif", "bmp"),
    "L": ("png", "gif", "tif", "bmp"),
    "LA": ("png",),
    "RGB": ("png", "tif", "bmp", "webp"),
    "RGBA": ("png", "tif"),
    "CMYK": ("tif",),
    "I;16": ("png", "tif"),
}
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9)) | st.sampled_from([(1, 2000), (2000, 1)])


@given(
    kind=st.sampled_from([(mode, name) for mode, names in SAVED_AS.items() for name in names]),
    size=SIZES,
    seed=st.integers(0, 2**32 - 1),
)
def test_the_values_of_every_mode_are_right_in_every_format(tmp_path_factory, kind, size, seed):
    mode, name = kind
    channels = {"1": (), "L": (), "I;16": ()}.get(mode, (len(mode),))
    white, dtype = (65_535, np.uint16) if mode == "I;16" else (255, np.uint8)
    values = np.random.default_rng(seed).integers(
        0, white, (*size, *channels), dtype, endpoint=True
    )
    if mode == "1":
        values = np.where(values > 127, 255, 0).astype(np.uint8)
        image = Image.fromarray(values).convert("1")
    elif mode == "I;16":
        image = Image.fromarray(values)
    else:
        image = Image.frombytes(mode, size[::-1], values.tobytes())
    expected = values / white
    if mode in ("LA", "RGBA"):
        expected, alpha = expected[..., :-1], expected[..., -1:]
        expected = expected * alpha + 1 - alpha
    elif mode == "CMYK":
        expected = (1 - expected[..., :3]) * (1 - expected[..., 3:])
    expected = np.broadcast_to(expected.reshape(*size, -1), (*size, 3))
    options = {"lossless": True} if name == "webp" else {}
    path = saved(tmp_path_factory.mktemp("modes"), image, f"a.{name}", **options)
    found = pictures.read(path).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, atol=0.006)


def test_a_cmyk_jpeg_comes_out_in_its_colors(tmp_path):
    path = saved(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "a.jpg")
    found = pictures.read(path).mean((1, 2))
    torch.testing.assert_close(found, torch.tensor([1.0, 0, 0]), atol=0.02, rtol=0)


def test_a_transparent_value_of_sixteen_bits_is_white(tmp_path):
    image = Image.fromarray(np.array([[500, 501]], dtype=np.uint16))
    path = saved(tmp_path, image, transparency=500)
    torch.testing.assert_close(pictures.read(path)[0], torch.tensor([[1, 501 / 65_535]]))


@given(st.data())
def test_a_damaged_file_is_read_or_a_clear_error(tmp_path_factory, source):
    names = st.sampled_from(["a.png", "a.jpg", "a.gif", "a.tif", "a.bmp", "a.ppm"])
    path = tmp_path_factory.mktemp("damaged") / source.draw(names)
    Image.linear_gradient("L").resize((9, 5)).save(path)
    content = bytearray(path.read_bytes())
    places = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, value in source.draw(st.lists(places, max_size=4)):
        content[place] = value
    path.write_bytes(content[: source.draw(st.integers(0, len(content)))])
    bombs = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
    with bombs, suppress(ValueError):
        found = pictures.read(path)
        assert found.shape[0] == 3
        assert 0 <= found.min() <= found.max() <= 1


def test_what_is_no_picture_is_said(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"a\.png is no picture that Pillow can read"):
        pictures.read(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        pictures.read(tmp_path / "b.png")


def test_half_a_picture_is_said(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(ValueError, match=r"picture\.png is not a whole picture: "):
        pictures.read(path)


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_square_keeps_the_precision(dtype):
    picture = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = pictures.square(picture, 16)
    assert found.dtype == dtype
    expected = pictures.square(picture.float(), 16)
    torch.testing.assert_close(found.float(), expected, atol=0.004, rtol=0)


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
