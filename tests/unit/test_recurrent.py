"""Recurrent layers, embeddings and the loss of a sequence, against torch and numerically."""

import re

import pytest
import torch
from dl4cv import gradcheck, layers, losses
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from twins import EXACT, assert_same, numbers

DOUBLE = torch.float64
PAIRS = [(layers.RNN, nn.RNN), (layers.LSTM, nn.LSTM)]
BOTH = pytest.mark.parametrize("kind", [layers.RNN, layers.LSTM])


class Outputs(nn.Module):
    """A recurrent layer of torch's without its last state."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@settings(max_examples=15)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))
def test_a_recurrent_layer_equals_torchs(ours, theirs, count, steps, inputs, hidden):
    twin = Outputs(theirs(inputs, hidden, batch_first=True))
    twin.state_dict = twin.layer.state_dict  # the same keys, without the wrapper's prefix
    twin.load_state_dict = twin.layer.load_state_dict
    assert_same(ours(inputs, hidden, dtype=DOUBLE), twin, numbers(count, steps, inputs))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_first_state_has_torchs_gradient(ours, theirs):
    own, twin = ours(3, 4, dtype=DOUBLE), theirs(3, 4, batch_first=True).double()
    own.load_state_dict(twin.state_dict())
    state = tuple(numbers(5, 4, seed=k) for k in range(own.STATES))
    leaves = [part.clone().requires_grad_() for part in state]
    first = [leaf[None] for leaf in leaves]
    expected, _ = twin(numbers(5, 6, 3), tuple(first) if len(first) > 1 else first[0])
    torch.testing.assert_close(own(numbers(5, 6, 3), state), expected.detach(), **EXACT)
    dy = numbers(*expected.shape, seed=9)
    expected.backward(dy)
    own.backward(dy)
    for got, leaf in zip(own.dstate, leaves, strict=True):
        torch.testing.assert_close(got, leaf.grad, **EXACT)


@BOTH
def test_backpropagation_through_time_equals_the_numerical_gradient(kind):
    layer, x, dy = kind(3, 4, dtype=DOUBLE), numbers(2, 5, 3), numbers(2, 5, 4, seed=1)
    layer(x)
    dx = layer.backward(dy)
    numerical = gradcheck.numerical_gradient(lambda value: (layer(value) * dy).sum(), x)
    assert gradcheck.relative_error(dx, numerical) < 1e-8


@BOTH
def test_a_sequence_in_two_halves_is_the_whole(kind):
    layer, x = kind(3, 4), numbers(2, 6, 3).float()
    whole = layer(x)
    state = (torch.zeros(2, 4),) * layer.STATES
    for t in range(3):
        state, _ = layer.step(x[:, t], state)
    torch.testing.assert_close(layer(x[:, 3:], state), whole[:, 3:])


@BOTH
def test_one_seed_gives_one_layer(kind):
    first, second = (kind(3, 4, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first.weight_hh_l0, second.weight_hh_l0)
    assert first.weight_hh_l0.abs().max() <= 0.5  # 1 / √H


@BOTH
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 0, 3), "x has shape (2, 0, 3); expected (N, T, 3) with at least one time step"),
        ((2, 3), "x has shape (2, 3); expected (N, T, 3) with at least one time step"),
        ((2, 5, 4), "x has shape (2, 5, 4); expected (N, T, 3) with at least one time step"),
    ],
)
def test_a_sequence_of_another_shape_is_refused(kind, shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kind(3, 4)(torch.zeros(shape))


@BOTH
def test_another_state_or_type_or_size_is_refused(kind):
    with pytest.raises(ValueError, match=r"state has shapes \[\(2, 5\)"):
        kind(3, 4)(torch.zeros(2, 1, 3), (torch.zeros(2, 5),) * kind.STATES)
    with pytest.raises(ValueError, match=r"x is torch\.float64; expected torch\.float32"):
        kind(3, 4)(torch.zeros(2, 1, 3, dtype=DOUBLE))
    with pytest.raises(ValueError, match="hidden_size 0; expected at least 1"):
        kind(3, 0)


@BOTH
def test_no_sequences_give_no_outputs(kind):
    assert kind(3, 4)(torch.zeros(0, 5, 3)).shape == (0, 5, 4)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 3))
def test_an_embedding_equals_torchs(tokens, dim):
    ours, theirs = layers.Embedding(5, dim, dtype=DOUBLE), nn.Embedding(5, dim).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.tensor(tokens)[None]
    expected = theirs(x)
    torch.testing.assert_close(ours(x.to(torch.uint8)), expected.detach(), **EXACT)
    dy = numbers(*expected.shape)
    expected.backward(dy)
    ours.backward(dy)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, **EXACT)


@pytest.mark.parametrize("token", [-1, 5])
def test_an_unknown_token_is_refused(token):
    with pytest.raises(ValueError, match=f"x holds {token}; expected tokens from 0 to 4"):
        layers.Embedding(5, 2)(torch.tensor([[0, token]]))
    with pytest.raises(ValueError, match=r"x is torch\.float32; expected integers"):
        layers.Embedding(5, 2)(torch.zeros(1, 2))


@given(st.integers(1, 3), st.integers(1, 4), st.data())
def test_the_loss_of_a_sequence_equals_torchs(count, steps, drawn):
    line = st.lists(st.integers(0, 5), min_size=steps, max_size=steps)
    tokens = torch.tensor(drawn.draw(st.lists(line, min_size=count, max_size=count)))
    tokens[0, 0] = 1
    scores = numbers(count, steps, 6).requires_grad_()
    expected = F.cross_entropy(scores.flatten(0, 1), tokens.flatten(), ignore_index=0)
    expected.backward()
    loss, dscores = losses.temporal_softmax_loss(scores.detach(), tokens, padding=0)
    torch.testing.assert_close(loss, expected.detach(), **EXACT)
    torch.testing.assert_close(dscores, scores.grad, **EXACT)


def test_a_loss_of_padding_alone_or_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="nothing but the padding, 0"):
        losses.temporal_softmax_loss(
            torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long), padding=0
        )
    with pytest.raises(ValueError, match=r"tokens \(2, 4\); expected \(N, T, V\) and \(N, T\)"):
        losses.temporal_softmax_loss(
            torch.zeros(2, 3, 4), torch.zeros(2, 4, dtype=torch.long), padding=0
        )
