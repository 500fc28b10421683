"""Linear layers, activations, dropout and chains of them, against torch.nn and by their laws."""

import copy

import pytest
import torch
from dl4cv import gradcheck, layers, losses
from dl4cv.layers import init
from dl4cv.models.mlp import mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from twins import EXACT, assert_same, numbers

DOUBLE = torch.float64
ACTIVATIONS = [
    (layers.ReLU(), nn.ReLU()),
    (layers.LeakyReLU(), nn.LeakyReLU()),
    (layers.LeakyReLU(0.2), nn.LeakyReLU(0.2)),
    (layers.Sigmoid(), nn.Sigmoid()),
    (layers.Tanh(), nn.Tanh()),
    (layers.GELU(), nn.GELU()),
]


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_linear_equals_torchs(count, inputs, outputs, bias):
    ours = layers.Linear(inputs, outputs, bias, dtype=DOUBLE)
    assert_same(ours, nn.Linear(inputs, outputs, bias), numbers(count, inputs))


@pytest.mark.parametrize(("ours", "theirs"), ACTIVATIONS, ids=lambda layer: repr(layer))
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4, 5)])
def test_activations_equal_torchs(ours, theirs, shape):
    assert_same(ours, theirs, numbers(*shape, scale=3))
    assert_same(ours, theirs, torch.zeros(shape, dtype=DOUBLE))  # at the kink


@pytest.mark.parametrize("ours", [ours for ours, _ in ACTIVATIONS])
def test_activations_keep_their_precision(ours):
    assert ours(torch.ones(2)).dtype == torch.float32
    assert ours(torch.ones(2).double()).dtype == DOUBLE


def test_relu_of_minus_infinity_is_zero():
    assert layers.ReLU()(torch.tensor([-torch.inf])).item() == 0


def test_flatten_equals_torchs():
    assert_same(layers.Flatten(), nn.Flatten(), numbers(3, 2, 4, 5))


def test_dropout_keeps_the_mean_and_reuses_its_mask():
    torch.manual_seed(0)
    layer, x = layers.Dropout(0.3), torch.ones(200, 500, dtype=DOUBLE)
    y = layer(x)
    assert set(y.unique().tolist()) == {0.0, 1 / 0.7}
    assert abs((y == 0).double().mean().item() - 0.3) < 0.01  # six standard errors
    assert torch.equal(layer.backward(2 * x), 2 * y)
    assert not torch.equal(layer(x), y)


def test_dropout_in_eval_does_nothing():
    layer, x = layers.Dropout(0.9).eval(), numbers(3, 4)
    assert torch.equal(layer(x), x)
    assert torch.equal(layer.backward(x), x)


def test_dropout_of_probability_zero_does_nothing():
    layer, x = layers.Dropout(0.0), numbers(3, 4)
    assert torch.equal(layer(x), x)


def net() -> layers.Sequential:
    return mlp([6, 5, 4, 3], activation=layers.Tanh, dtype=DOUBLE)


def test_a_chain_equals_torchs():
    theirs = nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(6, 5), nn.Tanh()),
        *(nn.Linear(5, 4), nn.Tanh()),
        nn.Linear(4, 3),
    )
    assert_same(net(), theirs, numbers(7, 2, 3))


def test_a_chain_and_its_loss_equal_the_numerical_gradient():
    chain, x, labels = net(), numbers(4, 6), torch.tensor([0, 1, 2, 0])
    loss, dscores = losses.softmax_loss(chain(x), labels)
    dx = chain.backward(dscores)
    assert loss > 0

    def at(value):
        return losses.softmax_loss(chain(value), labels)[0]

    assert gradcheck.relative_error(dx, gradcheck.numerical_gradient(at, x)) < 1e-8
    for parameter in chain.parameters():
        kept = parameter.clone()

        def at_weight(value, parameter=parameter):
            parameter.copy_(value)
            return at(x)

        numerical = gradcheck.numerical_gradient(at_weight, kept)
        parameter.copy_(kept)
        assert parameter.grad is not None
        assert gradcheck.relative_error(parameter.grad, numerical) < 1e-7


def test_the_bridge_gives_the_gradients_of_backward():
    ours, theirs, x = net(), copy.deepcopy(net()), numbers(5, 6)
    theirs.load_state_dict(ours.state_dict())
    labels = torch.tensor([0, 1, 2, 0, 1])
    leaf = x.clone().requires_grad_()
    F.cross_entropy(layers.with_autograd(ours, leaf), labels).backward()
    _, dscores = losses.softmax_loss(theirs(x), labels)
    torch.testing.assert_close(leaf.grad, theirs.backward(dscores), **EXACT)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, **EXACT)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_the_bridge_works_for_data_without_gradient_and_under_autocast(half):
    chain = mlp([6, 4, 3])
    with torch.autocast("cpu", dtype=half):
        scores = layers.with_autograd(chain, numbers(2, 6).to(half))
        scores.sum().backward()
    assert scores.dtype == torch.float32
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in chain.parameters())


def test_every_backward_belongs_to_a_forward():
    layer = layers.Linear(2, 2)
    layer(torch.ones(1, 2))
    layer.backward(torch.ones(1, 2))
    with pytest.raises(RuntimeError, match=r"Linear.backward was called without a forward"):
        layer.backward(torch.ones(1, 2))


def test_a_copy_leaves_behind_what_forward_saved():
    layer = layers.Linear(2, 2)
    layer(torch.ones(1, 2))
    with pytest.raises(RuntimeError, match="without a forward"):
        copy.deepcopy(layer).backward(torch.ones(1, 2))


@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 3, 2)])
def test_initial_weights_equal_torchs(shape):
    ours, theirs = torch.empty(shape, dtype=DOUBLE), torch.empty(shape, dtype=DOUBLE)
    init.kaiming_normal_(ours, generator=torch.Generator().manual_seed(1))
    nn.init.kaiming_normal_(theirs, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda **keywords: layers.Linear(3, 2, **keywords),
        lambda **keywords: layers.Conv2d(3, 2, 2, **keywords),
    ],
)
def test_layers_start_from_hes_weights_by_their_generator_and_zero_biases(make, bias):
    generator = torch.Generator().manual_seed(1)
    layer = make(bias=bias, generator=generator)
    expected = torch.empty_like(layer.weight)
    init.kaiming_normal_(expected, generator=torch.Generator().manual_seed(1))
    assert torch.equal(layer.weight, expected)
    assert layer.bias is None if not bias else not layer.bias.any()
    assert not any(p.requires_grad for p in layer.parameters())


def test_an_empty_batch_stays_empty():
    chain = net()
    y = chain(numbers(0, 2, 3))
    assert y.shape == (0, 3)
    assert chain.backward(y).shape == (0, 2, 3)
    assert all(p.grad is not None and not p.grad.any() for p in chain.parameters())


def test_mlp_has_dropout_after_each_hidden_layer():
    kinds = [type(layer).__name__ for layer in mlp([4, 3, 3, 2], dropout=0.5)]
    hidden = ["Linear", "ReLU", "Dropout"]
    assert kinds == ["Flatten", *hidden, *hidden, "Linear"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Linear(0, 3), "in_features is 0 and out_features 3; expected at least 1"),
        (lambda: layers.Linear(3, 2)(torch.ones(2, 4)), r"x has shape \(2, 4\); expected \(N, 3\)"),
        (lambda: layers.Linear(3, 2)(torch.ones(3)), r"x has shape \(3,\); expected \(N, 3\)"),
        (lambda: layers.Linear(3, 2)(torch.ones(2, 3).byte()), "x is torch.uint8; expected"),
        (lambda: layers.Linear(3, 2, dtype=torch.int64), "dtype is torch.int64; expected"),
        (lambda: layers.LeakyReLU()(torch.tensor([1, -1])), "x is torch.int64; expected floats"),
        (lambda: layers.Dropout(1.0), "p is 1.0; expected a probability"),
        (lambda: layers.Dropout(-0.1), "p is -0.1; expected a probability"),
        (lambda: mlp([3]), r"features is \[3\]; expected at least two"),
        (lambda: mlp([3, 0, 2]), r"features is \[3, 0, 2\]; expected"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
