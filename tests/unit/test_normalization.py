"""Batch, layer and group normalisation against torch.nn, training and evaluating."""

import pytest
import torch
from dl4cv import layers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from twins import assert_same, numbers

DOUBLE = torch.float64


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(1, 5), st.booleans(), st.sampled_from([0.1, 0.7]))
def test_batch_norm_of_features_equals_torchs(count, features, training, momentum):
    ours = layers.BatchNorm1d(features, momentum=momentum, dtype=DOUBLE).train(training)
    theirs = nn.BatchNorm1d(features, momentum=momentum).train(training)
    assert_same(ours, theirs, 3 + numbers(count, features))


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 5), st.integers(1, 5), st.booleans())
def test_batch_norm_of_maps_equals_torchs(count, channels, height, width, training):
    ours = layers.BatchNorm2d(channels, eps=1e-3, dtype=DOUBLE).train(training)
    theirs = nn.BatchNorm2d(channels, eps=1e-3).train(training)
    assert_same(ours, theirs, 3 + numbers(count, channels, height, width))


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 5), st.booleans())
def test_layer_norm_equals_torchs(count, tokens, features, both):
    shape = (tokens, features) if both else features
    ours, theirs = layers.LayerNorm(shape, dtype=DOUBLE), nn.LayerNorm(shape)
    assert_same(ours, theirs, 3 + numbers(count, tokens, features))


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(2, 4))
def test_group_norm_equals_torchs(count, groups, each, side):
    channels = groups * each
    ours, theirs = layers.GroupNorm(groups, channels, dtype=DOUBLE), nn.GroupNorm(groups, channels)
    assert_same(ours, theirs, 3 + numbers(count, channels, side, side))
    assert_same(ours, theirs, 3 + numbers(count, channels, side))


def test_batch_norm_undoes_a_shift_and_a_stretch():
    layer, x = layers.BatchNorm2d(2, eps=0, dtype=DOUBLE), numbers(3, 2, 4, 4)
    torch.testing.assert_close(layer(5 * x - 3), layer(x))
    dx = layer.backward(numbers(3, 2, 4, 4, seed=1))
    zero = torch.zeros(2, dtype=DOUBLE)
    torch.testing.assert_close(dx.sum((0, 2, 3)), zero)  # so a shift costs nothing
    torch.testing.assert_close((dx * x).sum((0, 2, 3)), zero)  # nor does a stretch


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.LayerNorm(4), (0, 4)),
        (layers.GroupNorm(2, 4), (0, 4, 3, 2)),
        (layers.BatchNorm1d(4).eval(), (0, 4)),
        (layers.BatchNorm2d(4).eval(), (0, 4, 3, 2)),
    ],
)
def test_an_empty_batch_stays_empty(layer, shape):
    y = layer(torch.zeros(shape))
    assert y.shape == shape
    assert layer.backward(y).shape == shape
    assert not layer.weight.grad.any()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (layers.LayerNorm(3), nn.LayerNorm(3)),
        (layers.GroupNorm(1, 3), nn.GroupNorm(1, 3)),
        (layers.BatchNorm1d(3), nn.BatchNorm1d(3)),
    ],
)
def test_equal_inputs_become_zeros(ours, theirs):
    ours, x = ours.double(), torch.full((5, 3), 0.7, dtype=DOUBLE)
    assert_same(ours, theirs, x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.LayerNorm(()), r"parameter would have shape \(\); expected"),
        (lambda: layers.LayerNorm((3, 0)), r"shape \(3, 0\); expected dimensions of at least 1"),
        (lambda: layers.GroupNorm(1, 0), r"shape \(0,\); expected"),
        (lambda: layers.BatchNorm1d(0), r"shape \(0,\); expected"),
        (lambda: layers.BatchNorm1d(3)(torch.ones(2, 3).half()), "x is torch.float16; expected"),
        (lambda: layers.LayerNorm(3)(torch.ones(2, 3).half()), "x is torch.float16; expected"),
        (lambda: layers.GroupNorm(1, 3)(torch.ones(2, 3).byte()), "x is torch.uint8; expected"),
        (lambda: layers.LayerNorm(3, dtype=torch.float16), "dtype is torch.float16; expected"),
        (lambda: layers.GroupNorm(2, 5), "num_groups is 2; expected a divisor of num_channels, 5"),
        (lambda: layers.GroupNorm(0, 5), "num_groups is 0; expected a divisor"),
        (lambda: layers.GroupNorm(1, 5)(torch.ones(2, 4)), r"x .* expected \(N, 5, …\)"),
        (lambda: layers.LayerNorm(5)(torch.ones(2, 4)), r"x .* last dimensions to be \(5,\)"),
        (lambda: layers.LayerNorm((3, 5))(torch.ones(5)), r"x .* last dimensions to be \(3, 5\)"),
        (lambda: layers.BatchNorm1d(3)(torch.ones(2, 4)), r"x .* expected \(N, C\) with C = 3"),
        (lambda: layers.BatchNorm2d(3)(torch.ones(2, 3)), r"x .* expected \(N, C, H, W\)"),
        (lambda: layers.BatchNorm1d(3)(torch.ones(1, 3)), "1 per channel; expected at least 2"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_constant_channel_has_variance_zero():
    layer = layers.BatchNorm1d(1, momentum=1.0)
    layer(torch.full((8, 1), 0.1))
    assert 0 <= layer.running_var.item() < 1e-12


def test_one_example_is_enough_once_trained():
    layer = layers.BatchNorm1d(3).eval()
    assert layer(torch.ones(1, 3)).isfinite().all()
