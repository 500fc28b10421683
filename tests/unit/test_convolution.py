"""Convolution and max pooling, naive and by im2col, against torch.nn over odd shapes."""

import pytest
import torch
from dl4cv import layers
from dl4cv.layers import convolution, windows
from dl4cv.layers.receptive_field import ReceptiveField, receptive_fields
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from twins import EXACT, assert_same, numbers

DOUBLE = torch.float64
pairs = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
paddings = st.one_of(st.integers(0, 2), st.tuples(st.integers(0, 2), st.integers(0, 2)))
images = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 8), st.integers(1, 8))


def both(value):
    return (value, value) if isinstance(value, int) else value


def fits(shape, kernel, padding) -> bool:
    sizes = zip(shape[2:], both(kernel), both(padding), strict=True)
    return all(size + 2 * p >= k for size, k, p in sizes)


@settings(max_examples=80)
@given(images, st.integers(1, 3), pairs, pairs, paddings, st.booleans())
def test_convolution_equals_torchs(shape, filters, kernel, stride, padding, bias):
    assume(fits(shape, kernel, padding))
    settings = (shape[1], filters, kernel, stride, padding)
    ours = layers.Conv2d(*settings, bias=bias, dtype=DOUBLE)
    assert_same(ours, nn.Conv2d(*settings, bias=bias), numbers(*shape))


@settings(max_examples=20)
@given(images, st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2))
def test_naive_convolution_equals_torchs(shape, filters, kernel, stride, padding):
    assume(fits(shape, kernel, padding))
    x, bias = numbers(*shape).requires_grad_(), numbers(filters, seed=2).requires_grad_()
    weight = numbers(filters, shape[1], kernel, kernel, seed=1).requires_grad_()
    expected = F.conv2d(x, weight, bias, stride, padding)
    dy = numbers(*expected.shape, seed=3)
    expected.backward(dy)
    with torch.no_grad():
        got = convolution.conv2d_naive(x, weight, bias, stride, padding)
        gradients = convolution.conv2d_naive_backward(dy, x, weight, stride, padding)
    torch.testing.assert_close(got, expected.detach(), **EXACT)
    torch.testing.assert_close(gradients, (x.grad, weight.grad, bias.grad), **EXACT)


@settings(max_examples=80)
@given(images, pairs, st.one_of(st.none(), pairs), paddings)
def test_max_pooling_equals_torchs(shape, kernel, stride, padding):
    assume(fits(shape, kernel, padding))
    assume(all(2 * p <= k for p, k in zip(both(padding), both(kernel), strict=True)))
    ours, theirs = layers.MaxPool2d(kernel, stride, padding), nn.MaxPool2d(kernel, stride, padding)
    assert_same(ours, theirs, numbers(*shape))
    assert_same(ours, theirs, torch.zeros(shape, dtype=DOUBLE))  # of equals the first wins


@settings(max_examples=40)
@given(images, pairs, pairs, paddings)
def test_col2im_is_the_transpose_of_im2col(shape, kernel, stride, padding):
    assume(fits(shape, kernel, padding))
    x, setting = numbers(*shape), (both(kernel), both(stride), both(padding))
    columns = windows.im2col(x, *setting)
    other = numbers(*columns.shape, seed=1)
    back = windows.col2im(other, x.shape, *setting)
    torch.testing.assert_close((columns * other).sum(), (x * back).sum(), **EXACT)


def test_an_empty_batch_stays_empty():
    for layer, shape in (
        (layers.Conv2d(2, 3, 3, padding=1), (0, 3, 4, 5)),
        (layers.MaxPool2d(2), (0, 2, 2, 2)),
    ):
        y = layer(torch.zeros(0, 2, 4, 5))
        assert y.shape == shape
        assert layer.backward(y).shape == (0, 2, 4, 5)


def test_a_receptive_field_is_counted_down_the_rows():
    reach = receptive_fields(
        [layers.Conv2d(1, 1, (3, 5), (2, 1)), layers.MaxPool2d((2, 4), (3, 1))]
    )
    assert reach == [ReceptiveField("Conv2d", 3, 2), ReceptiveField("MaxPool2d", 5, 6)]


def test_im2col_equals_torchs_unfold():
    x = numbers(2, 3, 7, 5)
    columns = windows.im2col(x, (3, 2), (2, 1), (1, 1)).flatten(0, 1).view(18, 2, -1)
    expected = F.unfold(x, (3, 2), 1, (1, 1), (2, 1))  # (2, 18, H′ · W′)
    torch.testing.assert_close(columns.transpose(0, 1), expected, **EXACT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: layers.Conv2d(1, 1, 5, padding=1)(torch.ones(1, 1, 2, 9)),
            "kernel_size is 5 × 5, larger than the image, which is 4 × 11 with its padding",
        ),
        (lambda: layers.MaxPool2d(3)(torch.ones(1, 1, 2, 4)), "kernel_size is 3 × 3, larger than"),
        (
            lambda: convolution.conv2d_naive(
                torch.ones(1, 1, 2, 2), torch.ones(1, 1, 3, 3), torch.ones(1), 1, 0
            ),
            "kernel_size is 3 × 3, larger than the image, which is 2 × 2",
        ),
        (lambda: layers.Conv2d(3, 2, 1)(torch.ones(1, 4, 2, 2)), r"x .* expected \(N, 3, H, W\)"),
        (lambda: layers.Conv2d(3, 2, 1)(torch.ones(3, 2, 2)), r"x has shape \(3, 2, 2\); expected"),
        (lambda: layers.Conv2d(0, 2, 1), "in_channels is 0 and out_channels 2; expected"),
        (lambda: layers.Conv2d(1, 1, 0), "kernel_size is 0; expected one integer of at least 1"),
        (lambda: layers.Conv2d(1, 1, 1, (1, 0)), r"stride is \(1, 0\); expected one integer"),
        (lambda: layers.Conv2d(1, 1, 1, padding=-1), "padding is -1; expected .* at least 0"),
        (lambda: layers.Conv2d(1, 1, 2.5), "kernel_size is 2.5; expected one integer"),
        (lambda: layers.Conv2d(1, 1, (2.5, 2)), r"kernel_size is \(2.5, 2\); expected one"),
        (lambda: layers.MaxPool2d((2, 2, 2)), r"kernel_size is \(2, 2, 2\); expected"),
        (lambda: layers.MaxPool2d(2, padding=2), "padding is 2; expected at most half"),
        (lambda: layers.MaxPool2d(2)(torch.ones(3, 4)), r"x has shape \(3, 4\); expected"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
