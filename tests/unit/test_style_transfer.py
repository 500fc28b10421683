"""The losses of style transfer: values, gradients in float64, and what they must not notice."""

import pytest
import torch
from dl4cv.explain import style_transfer
from dl4cv.explain.class_visualization import total_variation
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


def test_losses_are_0_for_what_is_wanted_and_1_for_silence():
    features = {"a": maps(1, 3, 4, 4), "b": maps(1, 2, 2, 2, seed=1)}
    wanted = {name: style_transfer.gram(layer) for name, layer in features.items()}
    silent = {name: torch.zeros_like(layer) for name, layer in features.items()}
    weights = {"a": 1.0, "b": 3.0}
    assert style_transfer.style_loss(features, wanted, weights) == 0
    assert style_transfer.style_loss(silent, wanted, weights) == 1
    assert style_transfer.content_loss(features["a"], features["a"]) == 0
    assert style_transfer.content_loss(silent["a"], features["a"]) == 1


def test_the_layers_weigh_what_they_are_given():
    features = {"a": maps(1, 3, 4, 4), "b": maps(1, 2, 2, 2, seed=1)}
    wanted = {"a": style_transfer.gram(features["a"]), "b": style_transfer.gram(maps(1, 2, 2, 2))}
    alone = style_transfer.style_loss(features, wanted, {"b": 1.0})
    quarter = style_transfer.style_loss(features, wanted, {"a": 3.0, "b": 1.0})
    assert quarter.item() == pytest.approx(alone.item() / 4)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: style_transfer.gram(x),
        lambda x: style_transfer.content_loss(x, maps(1, 2, 3, 4, seed=5)),
        lambda x: style_transfer.style_loss(
            {"a": x}, {"a": style_transfer.gram(maps(1, 2, 3, 4, seed=5))}, {"a": 1.0}
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
    a, b = ({"x": style_transfer.gram(maps(1, 2, 3, 3, seed=s))} for s in (0, 1))
    assert torch.equal(style_transfer.mixed(a, b, 0)["x"], a["x"])
    assert torch.equal(style_transfer.mixed(a, b, 1)["x"], b["x"])
    torch.testing.assert_close(style_transfer.mixed(a, b, 0.25)["x"], 0.75 * a["x"] + 0.25 * b["x"])


def test_colours_come_from_one_picture_and_brightness_from_the_other():
    generator = torch.Generator().manual_seed(0)
    picture, source = (0.3 + 0.2 * torch.rand(1, 3, 4, 4, generator=generator) for _ in range(2))
    found = style_transfer.with_colours_of(picture, source)
    basis = torch.tensor(style_transfer.YIQ)
    parts = [torch.einsum("yc,nchw->nyhw", basis, x) for x in (found, picture, source)]
    torch.testing.assert_close(parts[0][:, 0], parts[1][:, 0])
    torch.testing.assert_close(parts[0][:, 1:], parts[2][:, 1:])
    torch.testing.assert_close(style_transfer.with_colours_of(source, source), source)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: style_transfer.gram(torch.ones(2, 3, 4)), r"features has shape \(2, 3, 4\)"),
        (
            lambda: style_transfer.content_loss(torch.ones(1, 2), torch.ones(2, 2)),
            r"the shapes are \(1, 2\) and \(2, 2\)",
        ),
        (lambda: style_transfer.style_loss({}, {}, {"a": 1.0}), "no Gram matrix of: a"),
        (lambda: style_transfer.style_loss({}, {}, {}), "weights add up to 0; expected more"),
        (lambda: style_transfer.mixed({}, {}, 1.5), "share is 1.5; expected 0 to 1"),
        (lambda: style_transfer.mixed({"a": torch.ones(1)}, {}, 0.5), "expected the same"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
