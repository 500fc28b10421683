"""Grids hold each image where it belongs; animations loop and keep their frames."""

import io

import matplotlib.pyplot as plt
import pytest
import torch
from dl4cv import plotting
from dl4cv.plotting.animation import from_frames
from PIL import Image, ImageSequence


def test_grid_places_images_row_by_row():
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 1, 2, 3) * 10
    grid = plotting.image_grid(images, columns=2, gap=1, background=255)
    assert (grid.mode, grid.size) == ("L", (7, 8))
    assert [grid.getpixel((x, y)) for y in (0, 3, 6) for x in (0, 4)] == [0, 10, 20, 30, 40, 255]
    assert grid.getpixel((3, 0)) == 255


def test_grid_takes_floats_and_colour():
    images = torch.tensor([0.0, 0.5, 2.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    grid = plotting.image_grid(images, columns=1)
    assert (grid.mode, grid.getpixel((0, 0))) == ("RGB", (0, 128, 255))


@pytest.mark.parametrize(
    ("images", "columns", "message"),
    [
        (torch.zeros(3, 2, 4, 4), 1, r"images has shape \(3, 2, 4, 4\); expected"),
        (torch.zeros(4, 4), 1, r"images has shape \(4, 4\)"),
        (torch.zeros(1, 1, 4, 4), 0, "columns is 0; expected at least 1"),
    ],
)
def test_grid_refuses_what_it_cannot_tile(images, columns, message):
    with pytest.raises(ValueError, match=message):
        plotting.image_grid(images, columns=columns)


def test_show_images_displays_the_grid(monkeypatch):
    seen = []
    monkeypatch.setattr("dl4cv.plotting.grids.display", seen.append)
    plotting.show_images(torch.zeros(4, 1, 2, 2), columns=4, gap=0)
    assert seen[0].size == (8, 2)


def test_an_animation_keeps_its_frames_in_order_and_loops():
    frames = [Image.new("L", (4, 4), value) for value in (0, 100, 200)]
    animation = from_frames(frames, milliseconds=50, hold=400)
    film = Image.open(io.BytesIO(animation.gif))
    assert film.info["loop"] == 0
    seen = [
        (f.convert("L").getpixel((0, 0)), f.info["duration"]) for f in ImageSequence.Iterator(film)
    ]
    assert seen == [(0, 50), (100, 50), (200, 400)]
    assert animation._repr_mimebundle_()["text/plain"] == "<animation of 3 frames>"


def test_an_animation_films_a_figure_and_closes_it():
    fig, ax = plotting.figure(width=2, height=1)
    animation = plotting.animate(fig, lambda i: ax.set_xlim(0, i + 1), 3)
    assert len(animation) == 3
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize("frames", [[], [Image.new("L", (1, 1)), Image.new("L", (2, 2))]])
def test_an_animation_refuses_no_frames_and_mixed_sizes(frames):
    with pytest.raises(ValueError, match="expected one size, at least one frame"):
        from_frames(frames)
