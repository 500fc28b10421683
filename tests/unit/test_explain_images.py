"""Images as parameters, the penalties on them, and the views that are taken of them."""

import pytest
import torch
from dl4cv.explain import images as visual

COLORS = torch.eye(3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_pixels_show_what_they_start_with():
    start = torch.rand(2, 3, 5, 4, generator=generator())
    torch.testing.assert_close(visual.PixelImage(start)(), start, atol=1e-3, rtol=0)
    assert 0 < visual.PixelImage(torch.zeros(1, 3, 2, 2))().min() < 2e-3


def test_waves_paint_squares_in_the_range_of_images():
    canvas = visual.FourierImage(2, 17, colors=COLORS, std=1.0, generator=generator())
    images = canvas()
    assert images.shape == (2, 3, 17, 17)
    assert 0 <= images.min() < images.max() <= 1


@pytest.mark.parametrize(
    ("side", "decay"), [(33, 0.0), (4, 0.0), (2, 1.0), (1, 1.0), (32, 1.0), (224, 1.0), (224, 1.75)]
)
def test_a_canvas_begins_as_faint_as_asked_whatever_its_waves(side, decay):
    canvas = visual.FourierImage(
        5000 // side if decay <= 1 else 100,
        side,
        colors=COLORS,
        decay=decay,
        std=0.2,
        generator=generator(),
    )
    with torch.no_grad():
        plain = torch.logit(canvas().double())
    assert plain.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.06)


@pytest.mark.parametrize("side", [16, 17])
def test_a_wave_appears_where_its_number_says(side):
    canvas = visual.FourierImage(1, side, colors=COLORS, std=0.0, generator=generator())
    down, across = 2, 3
    with torch.no_grad():
        canvas.waves[0, 1, down, across, 0] = 1e-3
    seen = torch.logit(canvas())[0]
    assert seen[0].abs().max() < 1e-6
    y, x = torch.arange(side)[:, None], torch.arange(side)
    wave = torch.cos(2 * torch.pi * (down * y + across * x) / side)
    cosine = (seen[1] * wave).sum() / (seen[1].norm() * wave.norm())
    assert cosine.item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("decay", "ratio"), [(0.0, 1), (1.0, 4), (1.5, 8)])
def test_waves_are_weaker_the_quicker_they_are(decay, ratio):
    canvas = visual.FourierImage(64, 32, colors=COLORS, decay=decay, generator=generator())
    with torch.no_grad():
        spectrum = torch.fft.rfft2(torch.logit(canvas()), norm="ortho").abs().mean((0, 1))
    slow, quick = spectrum[0, 2], spectrum[0, 8]
    assert (slow / quick).item() == pytest.approx(ratio, rel=0.15)


def test_colors_mix_the_waves():
    colors = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    canvas = visual.FourierImage(1, 8, colors=colors, std=0.5, generator=generator())
    images = canvas()
    torch.testing.assert_close(images[:, 0], images[:, 1])
    torch.testing.assert_close(images[:, 0], images[:, 2])


def test_the_color_basis_explains_the_covariance():
    photos = [torch.rand(3, 20, 30, generator=generator(s)).cumsum(0) / 3 for s in range(2)]
    basis = visual.color_basis(photos)
    pixels = torch.cat([photo.flatten(1) for photo in photos], 1)
    found, expected = basis @ basis.T, torch.cov(pixels)
    torch.testing.assert_close(found / found.trace(), expected / expected.trace())
    lengths = basis.norm(dim=0)
    assert lengths[0].item() == pytest.approx(1)
    assert lengths[0] >= lengths[1] >= lengths[2]
    off = basis.T @ basis
    torch.testing.assert_close(off, torch.diag(off.diag()), atol=1e-6, rtol=0)


def test_jitter_takes_windows_everywhere():
    torch.manual_seed(0)
    image = torch.arange(36.0).view(1, 1, 6, 6)
    corners = {int(visual.jitter(image, 2)[0, 0, 0, 0]) for _ in range(200)}
    assert corners == {6 * y + x for y in range(3) for x in range(3)}
    assert visual.jitter(image, 2).shape == (1, 1, 4, 4)
    assert torch.equal(visual.jitter(image, 0), image)


def test_turning_and_zooming_keeps_size_and_middle():
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 21, 21)
    image[0, 0, 10, 10] = 1
    for _ in range(20):
        seen = visual.random_affine(image, degrees=30, zoom=1.3)
        assert seen.shape == image.shape
        assert seen.argmax() == 10 * 21 + 10
    same = visual.random_affine(image, degrees=0, zoom=1)
    torch.testing.assert_close(same, image)


def test_a_quarter_turn_is_a_quarter_turn(monkeypatch):
    image = torch.rand(1, 2, 5, 5, generator=generator())
    monkeypatch.setattr(visual.torch, "rand", lambda *shape: torch.ones(*shape))
    turned = visual.random_affine(image, degrees=90, zoom=1)
    options = [image.rot90(k, (2, 3)) for k in (1, 3)]
    assert any(torch.allclose(turned, option, atol=1e-5) for option in options)


@pytest.mark.parametrize(("height", "width"), [(21, 41), (41, 21), (41, 41)])
def test_a_turn_keeps_lengths_in_images_that_are_not_square(monkeypatch, height, width):
    monkeypatch.setattr(visual.torch, "rand", lambda *shape: torch.ones(*shape))
    image = torch.full((1, 1, height, width), 0.5)
    image[0, 0, height // 2, width // 2 + 6] = 1
    turned = visual.random_affine(image, degrees=90, zoom=1)[0, 0]
    assert turned.max().item() == pytest.approx(1, abs=1e-3)
    row, column = divmod(int(turned.argmax()), width)
    assert (abs(row - height // 2), column) == (6, width // 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_views_and_penalties_take_half_precision(dtype):
    images = torch.rand(2, 3, 224, 224, generator=generator())
    for penalty in (visual.total_variation, visual.l2_from_grey):
        assert penalty(images.to(dtype)).item() == pytest.approx(penalty(images).item(), rel=0.02)
    views = []
    for given in (images, images.to(dtype)):
        torch.manual_seed(0)
        views.append(visual.random_affine(visual.jitter(given, 3), degrees=9, zoom=1.2))
    assert views[1].dtype == dtype
    torch.testing.assert_close(views[1].float(), views[0], atol=0.01, rtol=0)
    assert visual.PixelImage(images.to(dtype))().dtype == torch.float32


def test_zooming_reaches_both_ends(monkeypatch):
    image = torch.full((1, 1, 40, 40), 0.5)
    image[0, 0, 15:25, 15:25] = 1  # 10 pixels wide
    widths = []
    for end in (0.0, 1.0):
        monkeypatch.setattr(visual.torch, "rand", lambda shape, end=end: torch.full(shape, end))
        seen = visual.random_affine(image, degrees=0, zoom=2)
        widths.append(round(float((2 * seen[0, 0, 20] - 1).sum())))
    assert sorted(widths) == [5, 20]


def test_what_comes_into_view_beyond_the_border_is_grey(monkeypatch):
    monkeypatch.setattr(visual.torch, "rand", lambda *shape: torch.zeros(*shape))
    seen = visual.random_affine(torch.ones(1, 1, 20, 20), degrees=0, zoom=2)
    assert (seen[0, 0, 0, 0], seen[0, 0, 10, 10]) == (0.5, 1)
    assert seen.mean().item() == pytest.approx(0.5 + 0.5 / 4, abs=0.01)


def test_l2_from_grey_is_the_square_of_what_differs_from_grey_and_counts_the_rim_more():
    images = torch.full((2, 3, 5, 7), 0.7, dtype=torch.float64)
    assert visual.l2_from_grey(images).item() == pytest.approx(0.04)
    spots = torch.full((3, 1, 1, 5, 5), 0.5, dtype=torch.float64)
    spots[0, ..., 2, 2] = spots[1, ..., 0, 2] = spots[2, ..., 4, 4] = 0.9
    middle, edge, corner = (visual.l2_from_grey(spot, edges=3).item() for spot in spots)
    assert edge == pytest.approx(4 * middle)
    assert corner == pytest.approx(7 * middle)


@pytest.mark.parametrize("loss", [visual.total_variation, visual.l2_from_grey])
def test_penalties_have_the_right_gradient(loss):
    images = torch.rand(2, 3, 4, 5, generator=generator(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(loss, images)


def test_views_let_gradients_through():
    canvas = visual.FourierImage(1, 16, colors=COLORS, generator=generator())
    view = visual.random_affine(visual.jitter(canvas(), 4), degrees=10, zoom=1.1)
    view.square().sum().backward()
    assert canvas.waves.grad is not None
    assert canvas.waves.grad.isfinite().all()
    assert canvas.waves.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: visual.jitter(torch.zeros(1, 1, 4, 4), 4), "pixels is 4; expected 0 to 3"),
        (lambda: visual.jitter(torch.zeros(1, 1, 4, 4), -1), "pixels is -1"),
        (
            lambda: visual.random_affine(torch.zeros(1, 1, 4, 4), degrees=1, zoom=0.9),
            "zoom is 0.9; expected at least 1",
        ),
        (lambda: visual.color_basis([]), "photographs is empty"),
        (lambda: visual.color_basis([torch.full((3, 4, 5), 0.3)]), "photographs have one color"),
        (lambda: visual.color_basis([torch.rand(3, 1, 1)]), "photographs have one color"),
        (lambda: visual.PixelImage(torch.full((1, 1, 2, 2), 2.0)), r"start spans \[2, 2\]"),
        (lambda: visual.PixelImage(torch.ones(1, 1, 2, 2).byte()), r"type torch\.uint8"),
        (lambda: visual.total_variation(torch.ones(1, 1, 1, 5)), "1 × 5 pixels; expected"),
        (lambda: visual.total_variation(torch.ones(1, 1, 4, 5).byte()), r"type torch\.uint8"),
        (lambda: visual.l2_from_grey(torch.ones(1, 1, 5, 1)), "5 × 1 pixels; expected"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
