"""The losses of style transfer: values, gradients in float64, and what they must not notice."""

import pytest
import torch
from dl4cv.explain import style_transfer
from dl4cv.explain.images import total_variation
from torch import Tensor


def maps(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_a_gram_matrix_is_the_mean_product_of_two_maps():
    features = maps(2, 3, 4, 5)
    found = style_transfer.gram(features)
    for n, i, j in [(0, 0, 0), (1, 0, 2), (1, 2, 0)]:
        expected = sum(
            features[n, i, y, x] * features[n, j, y, x] for y in range(4) for x in range(5)
        )
        assert found[n, i, j].item() == pytest.approx(expected.item() / 20)
    torch.testing.assert_close(found, found.mT)


def test_style_knows_no_place_and_content_does():
    features = maps(1, 3, 4, 5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    moved = features.flatten(2)[:, :, order].view_as(features)
    torch.testing.assert_close(style_transfer.gram(moved), style_transfer.gram(features))
    assert style_transfer.content_loss(moved, features) > 0.5


def test_gram_matrices_of_maps_of_two_sizes_compare():
    features = maps(1, 3, 4, 4)
    larger = features.repeat(1, 1, 2, 2)
    torch.testing.assert_close(style_transfer.gram(larger), style_transfer.gram(features))


def test_losses_are_0_for_what_is_wanted():
    features = {"a": maps(2, 3, 4, 4), "b": maps(2, 2, 2, 2, seed=1)}
    assert style_transfer.style_loss(features, style_transfer.style_of(features)) == 0
    assert style_transfer.content_loss(features["a"], features["a"]) == 0


def test_losses_are_1_for_what_does_not_vary():
    features = {"a": 5 + maps(1, 3, 4, 4)}
    style = style_transfer.style_of(features)
    flat = {"a": style["a"].mean.expand(1, 3, 4, 4)}
    assert style_transfer.style_loss(flat, style).item() == pytest.approx(1)
    assert style_transfer.content_loss(torch.zeros_like(flat["a"]), features["a"]) == 1


def test_a_style_notices_that_the_means_differ():
    features = maps(1, 3, 4, 4)
    style = style_transfer.style_of({"a": features})
    loss = style_transfer.style_loss({"a": features + 2}, style)
    shift = torch.full((3, 3), 4.0).double()
    expected = shift.square().sum() / style["a"].gram.square().sum()
    torch.testing.assert_close(loss, expected)


def test_what_is_of_one_color_has_finite_losses_and_gradients():
    flat = torch.full((2, 3, 4, 5), 0.3, requires_grad=True)
    black = torch.zeros(2, 3, 4, 5, requires_grad=True)
    varied = maps(2, 3, 4, 5).float()
    for now in (flat, black, varied.clone().requires_grad_()):
        for wanted in (flat.detach(), black.detach(), varied):
            style = style_transfer.style_of({"a": wanted})
            loss = style_transfer.style_loss({"a": now}, style)
            loss = loss + style_transfer.content_loss(now, wanted)
            (slope,) = torch.autograd.grad(loss, now)
            assert slope.isfinite().all()
            assert slope.abs().max() < 100
            assert loss >= 0
    same = style_transfer.style_loss({"a": flat}, style_transfer.style_of({"a": flat}))
    assert same.item() == pytest.approx(0, abs=1e-10)
    assert style_transfer.content_loss(black, black) == 0


def test_a_target_without_style_is_approached_by_the_plain_distance():
    features = maps(1, 3, 4, 5)
    loss = style_transfer.style_loss({"a": features}, style_transfer.style_of({"a": 0 * features}))
    torch.testing.assert_close(loss, style_transfer.gram(features).square().sum())
    content = style_transfer.content_loss(features, 0 * features)
    torch.testing.assert_close(content, features.square().sum())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_maps_of_half_precision_do_not_overflow(dtype):
    features = 8 * maps(1, 3, 200, 300)
    half = features.to(dtype)
    torch.testing.assert_close(
        style_transfer.gram(half).double(), style_transfer.gram(features), rtol=0.02, atol=0.3
    )
    assert style_transfer.content_loss(half, half + 1).isfinite()
    assert style_transfer.style_loss({"a": half}, style_transfer.style_of({"a": half})) < 0.01


def test_style_is_the_mean_over_layers_and_pictures():
    features = {"a": maps(2, 3, 4, 4), "b": maps(2, 2, 2, 2, seed=1)}
    one = {name: layer[:1] for name, layer in features.items()}
    style = style_transfer.style_of({name: layer + 1 for name, layer in one.items()})
    parts = [
        style_transfer.style_loss({key: features[key][n : n + 1]}, {key: style[key]})
        for key in features
        for n in range(2)
    ]
    torch.testing.assert_close(
        style_transfer.style_loss(features, style), torch.stack(parts).mean()
    )


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: style_transfer.gram(x),
        lambda x: style_transfer.content_loss(x, maps(1, 2, 3, 4, seed=5)),
        lambda x: style_transfer.style_loss(
            {"a": x}, style_transfer.style_of({"a": maps(1, 2, 3, 4, seed=5)})
        ),
        total_variation,
    ],
    ids=["gram", "content", "style", "total variation"],
)
def test_gradients_in_float64(loss):
    assert torch.autograd.gradcheck(loss, maps(1, 2, 3, 4).requires_grad_())


def test_total_variation_of_a_ramp():
    ramp = torch.arange(5.0).expand(1, 1, 4, 5)
    assert total_variation(ramp) == 1
    assert total_variation(ramp.mT) == 1
    assert total_variation(torch.ones(1, 3, 4, 4)) == 0


def test_two_styles_mix_between_their_ends():
    a, b = (style_transfer.style_of({"x": maps(1, 2, 3, 3, seed=s)}) for s in (0, 1))
    for fraction in (0, 0.25, 1):
        found = style_transfer.mixed(a, b, fraction)["x"]
        for part in ("mean", "gram"):
            first, second = (getattr(style["x"], part) for style in (a, b))
            torch.testing.assert_close(
                getattr(found, part), (1 - fraction) * first + fraction * second, atol=1e-14, rtol=0
            )


def test_colors_are_matched_in_mean_and_covariance():
    generator = torch.Generator().manual_seed(0)
    picture, source = (
        0.4 + 0.2 * torch.rand(2, 3, 9, size, generator=generator).cumsum(1) / 3 for size in (7, 5)
    )
    found = style_transfer.match_color_statistics(picture, source)
    assert found.shape == picture.shape
    for n in range(2):
        got, wanted = found[n].flatten(1), source[n].flatten(1)
        torch.testing.assert_close(got.mean(1), wanted.mean(1))
        torch.testing.assert_close(
            torch.cov(got, correction=0), torch.cov(wanted, correction=0), atol=1e-6, rtol=1e-4
        )
    torch.testing.assert_close(
        style_transfer.match_color_statistics(source, source), source, atol=1e-4, rtol=0
    )
    assert (
        style_transfer.match_color_statistics(torch.full((1, 3, 4, 4), 0.3), source[:1])
        .isfinite()
        .all()
    )


class Double:
    """Stands for a network: its only layer answers with twice the image."""

    def activations(self, images: Tensor, layers: list[str]) -> dict[str, Tensor]:
        return dict.fromkeys(layers, 2 * images)


def test_features_are_the_pixels_and_the_layers_at_every_scale():
    images = torch.rand(1, 3, 8, 8)
    found = style_transfer.features(Double(), images, ["a", "b"], scales=(1, 2))
    assert list(found) == ["pixels", "a/1", "b/1", "a/2", "b/2"]
    assert torch.equal(found["pixels"], images)
    assert torch.equal(found["a/1"], 2 * images)
    assert found["b/2"].shape == (1, 3, 4, 4)


def test_colors_come_from_one_picture_and_brightness_from_the_other():
    generator = torch.Generator().manual_seed(0)
    picture, source = (0.3 + 0.2 * torch.rand(1, 3, 4, 4, generator=generator) for _ in range(2))
    found = style_transfer.preserve_color(picture, source)
    basis = torch.tensor(style_transfer.YIQ)
    parts = [torch.einsum("yc,nchw->nyhw", basis, x) for x in (found, picture, source)]
    torch.testing.assert_close(parts[0][:, 0], parts[1][:, 0])
    torch.testing.assert_close(parts[0][:, 1:], parts[2][:, 1:])
    torch.testing.assert_close(style_transfer.preserve_color(source, source), source)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: style_transfer.gram(torch.ones(2, 3, 4)), r"features has shape \(2, 3, 4\)"),
        (
            lambda: style_transfer.content_loss(torch.ones(1, 2), torch.ones(2, 2)),
            r"the shapes are \(1, 2\) and \(2, 2\)",
        ),
        (
            lambda: style_transfer.style_loss({}, style_transfer.style_of({"a": maps(1, 1, 1, 1)})),
            "now has no features of: a",
        ),
        (lambda: style_transfer.style_loss({}, {}), "wanted is empty"),
        (
            lambda: style_transfer.features(Double(), torch.rand(1, 3, 3, 9), ["a"]),
            r"scales is \(1, 2, 4\); expected 1 to 3 each",
        ),
        (
            lambda: style_transfer.features(Double(), torch.rand(1, 3, 8, 8), ["a"], scales=(0,)),
            "expected 1 to 8 each",
        ),
        (
            lambda: style_transfer.match_color_statistics(
                torch.ones(1, 3, 4, 4).byte(), torch.ones(1, 3, 4, 4)
            ),
            "picture has shape",
        ),
        (
            lambda: style_transfer.match_color_statistics(
                torch.ones(1, 3, 4, 4), 255 * torch.ones(1, 3, 4, 4)
            ),
            "source spans",
        ),
        (lambda: style_transfer.mixed({}, {}, 1.5), "fraction is 1.5; expected 0 to 1"),
        (
            lambda: style_transfer.mixed(style_transfer.style_of({"a": maps(1, 1, 1, 1)}), {}, 0.5),
            "expected the same",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_colors_are_moved_in_half_precision_too(dtype):
    generator = torch.Generator().manual_seed(0)
    picture, source = (0.3 + 0.2 * torch.rand(1, 3, 4, 6, generator=generator) for _ in range(2))
    for move in (style_transfer.match_color_statistics, style_transfer.preserve_color):
        found = move(picture.to(dtype), source.to(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), move(picture, source), atol=0.02, rtol=0)
