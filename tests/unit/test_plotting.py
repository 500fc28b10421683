"""Grids hold each image where it belongs; animations loop and keep their frames."""

import io

import matplotlib.pyplot as plt
import pytest
import scipy.stats
import torch
from dl4cv import plotting
from dl4cv.plotting.animation import from_frames
from matplotlib_inline import backend_inline
from PIL import Image, ImageSequence


def test_grid_places_images_row_by_row():
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 1, 2, 3) * 10
    grid = plotting.image_grid(images, columns=2, gap=1)
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


def test_the_last_frame_may_come_first_for_the_still():
    frames = [Image.new("L", (4, 4), value) for value in (0, 100, 200)]
    film = Image.open(io.BytesIO(from_frames(frames, last_first=True).gif))
    seen = [f.convert("L").getpixel((0, 0)) for f in ImageSequence.Iterator(film)]
    assert seen == [200, 0, 100, 200]


def test_an_animation_films_a_figure_and_closes_it():
    fig, ax = plotting.figure(width=2, height=1)
    animation = plotting.animate(fig, lambda i: ax.set_xlim(0, i + 1), 3)
    assert len(animation) == 3
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize("last_first", [False, True])
@pytest.mark.parametrize("frames", [[], [Image.new("L", (1, 1)), Image.new("L", (2, 2))]])
def test_an_animation_refuses_no_frames_and_mixed_sizes(frames, last_first):
    with pytest.raises(ValueError, match="expected one size, at least one frame"):
        from_frames(frames, last_first=last_first)


@pytest.fixture(autouse=True)
def close_figures():
    """Close what a test drew, after drawing it: a figure may be wrong only then."""
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def test_a_cell_that_ends_in_show_emits_one_picture(monkeypatch):
    shown = []
    monkeypatch.setattr(backend_inline, "display", lambda fig, metadata: shown.append(fig))
    plt.switch_backend("module://matplotlib_inline.backend_inline")
    try:
        fig, _ = plotting.figure()
        plt.show()
        assert shown == [fig]
        assert not plt.get_fignums()  # nothing is left for the end of the cell
    finally:
        plt.switch_backend("agg")


def test_the_first_is_on_top_and_each_is_as_long_as_its_value():
    ax = plotting.bars(["a", "b", "c"], [3, 0, 1], unit="seconds", errors=[0.1, 0, 0.2])
    assert [bar.get_width() for bar in ax.patches] == [3, 0, 1]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.get_xlabel() == "seconds"
    assert ax.yaxis_inverted()


@pytest.mark.parametrize("values", [[0.02, 700], [1.0], [10, 100], [0.5, 0.5]])
def test_on_a_logarithmic_axis_every_bar_can_be_seen(values):
    ax = plotting.bars("ab"[: len(values)], values, unit="milliseconds", log=True)
    low, high = ax.get_xlim()
    assert low < min(values) <= max(values) <= high
    ticks = [float(tick.get_text().replace(",", "")) for tick in ax.get_xticklabels()]
    assert ticks == pytest.approx(list(ax.get_xticks()))
    assert len(ticks) >= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [1.0]}, "2 labels, 1 values and 0 errors; expected"),
        ({"values": [1.0, 2.0], "errors": [0.1]}, "2 values and 1 errors"),
        ({"values": [1.0, float("nan")]}, "values has shape"),
        ({"values": [1.0, 0.0], "log": True}, "the least value is 0; expected above 0"),
        ({"labels": [], "values": []}, "0 labels"),
    ],
)
def test_bars_that_cannot_be_drawn_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        plotting.bars(**({"labels": ["a", "b"], "unit": "s"} | arguments))


@pytest.mark.parametrize("cmap", ["viridis", "gray"])
def test_numbers_stand_in_their_cells_in_ink_that_can_be_read(cmap):
    _, ax = plotting.figure()
    table = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    plotting.heat_map(ax, table, "{:.1f}".format, rows="ab", columns=[1, 2, 3], cmap=cmap)
    texts = {text.get_position(): text for text in ax.texts}
    assert texts[2, 1].get_text() == "5.0"
    assert texts[0, 1].get_text() == "3.0"
    assert (texts[0, 0].get_color(), texts[2, 1].get_color()) == ("white", "black")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "3"]


@pytest.mark.parametrize("table", [[[7]], [[0, 0], [0, 0]], torch.ones(2, 3).byte()])
def test_one_cell_zeros_and_bytes_are_tables(table):
    _, ax = plotting.figure()
    plotting.heat_map(ax, table, str)
    assert ax.texts[0].get_text() in ("7", "0", "1")


@pytest.mark.parametrize("table", [[1.0, 2.0], [[]], [[1.0, float("nan")]]])
def test_what_is_no_table_is_an_error(table):
    _, ax = plotting.figure()
    with pytest.raises(ValueError, match="table has shape"):
        plotting.heat_map(ax, table, str)


def test_each_picture_has_its_place_and_label():
    images = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 1, 4, 6) * 50
    fig = plotting.image_row(images, list("abcde"), columns=3)
    labels = [ax.get_xlabel() for ax in fig.axes]
    assert labels == ["a", "b", "c", "d", "e", ""]
    shown = [ax.images[0] for ax in fig.axes[:5]]
    assert [float(s.get_array()[0, 0]) for s in shown] == pytest.approx(
        [50 * k / 255 for k in range(5)]
    )
    assert {s.get_clim() for s in shown} == {(0, 1)}


@pytest.mark.parametrize(
    ("shape", "seen"), [((3, 2, 5), (2, 5, 3)), ((1, 9, 1), (9, 1)), ((2, 2), (2, 2))]
)
def test_one_picture_in_colour_or_not_square(shape, seen):
    fig = plotting.image_row([torch.rand(shape)])
    assert fig.axes[0].images[0].get_array().shape == seen


def test_weights_are_centred_on_zero_each_on_its_own_scale():
    weights = torch.tensor([[[-1.0, 0.5]], [[0.0, 4.0]], [[0.0, 0.0]]])
    fig = plotting.image_row(weights, diverging=True)
    assert [ax.images[0].get_clim() for ax in fig.axes] == [(-1, 1), (-4, 4), (-1, 1)]
    assert fig.axes[0].images[0].get_cmap().name == "PuOr_r"


def test_pictures_and_weights_share_a_row():
    fig = plotting.image_row([torch.rand(2, 2), -3 * torch.ones(2, 2)], diverging=[False, True])
    assert [ax.images[0].get_clim() for ax in fig.axes] == [(0, 1), (-3, 3)]


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        ([], {}, "0 images"),
        ([torch.rand(2, 2)], {"labels": ["a", "b"]}, "1 images have 2 labels"),
        ([torch.rand(2, 2)], {"diverging": [True, True]}, "2 times diverging"),
        ([2 * torch.ones(2, 2)], {}, r"expected \(H, W\), \(1 or 3, H, W\), in \[0, 1\]"),
        ([torch.full((2, 2), float("nan"))], {}, "expected"),
        ([torch.full((2, 2), float("nan"))], {"diverging": True}, "finite"),
        ([torch.rand(3, 2, 2)], {"diverging": True}, r"\(H, W\) or \(1, H, W\)"),
        ([torch.rand(2, 2, 2)], {}, r"an image has shape \(2, 2, 2\)"),
    ],
)
def test_what_is_no_picture_is_an_error(images, settings, message):
    with pytest.raises(ValueError, match=message):
        plotting.image_row(images, **settings)


def test_the_band_of_several_seeds_is_the_interval_of_their_mean():
    runs = torch.tensor([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]]).double()
    _, ax = plotting.figure()
    plotting.curve(ax, [0, 1], runs, label="a")
    interval = scipy.stats.ttest_1samp(runs[:, 0], 0).confidence_interval(0.95)
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((interval.low, max(interval.high, 5)))
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([7 / 3, 5])


def test_a_line_with_its_band_and_one_without():
    _, ax = plotting.figure()
    plotting.curve(ax, [0, 1], [1.0, 2.0], [0.0, 1.0], [2.0, 5.0], color="red")
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0, 5)
    plotting.curve(ax, [0], [1.0])
    assert (len(ax.lines), len(ax.collections)) == (2, 1)


@pytest.mark.parametrize(
    "given",
    [
        ([0, 1], [1.0]),
        ([0, 1], [[1.0, 2.0]]),
        ([0, 1], [1.0, 2.0], [1.0], [1.0]),
        ([0, 1], [[1.0, 2.0], [1.0, 2.0]], [0.0, 0.0], [1.0, 1.0]),
    ],
)
def test_shapes_that_do_not_fit_are_errors(given):
    _, ax = plotting.figure()
    with pytest.raises(ValueError, match=r"x has shape \(2,\) and values"):
        plotting.curve(ax, *given)


def test_one_legend_serves_all_axes():
    fig, axes = plotting.figure(1, 2)
    for ax, names in zip(axes, ("ab", "bc"), strict=True):
        for name in names:
            plotting.curve(ax, [0, 1], [0.0, 1.0], label=name)
    plotting.legend(fig, columns=3)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b", "c"]
