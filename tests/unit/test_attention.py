"""Attention, positions and transformers, against torch.nn and by their laws."""

import copy
import math
import re

import pytest
import torch
from dl4cv.data.captions import END, PADDING, START
from dl4cv.models import attention, transformer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from twins import EXACT, numbers

DOUBLE = torch.float64
POSITIONS = pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "none"])


def twins(ours: nn.Module, theirs: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return both in float64 with the same random weights; their names must agree."""
    theirs = theirs.double()
    state = {
        name: numbers(*value.shape, seed=k, scale=0.3)
        for k, (name, value) in enumerate(theirs.state_dict().items())
    }
    theirs.load_state_dict(state)
    ours.double().load_state_dict(state)
    return ours.eval(), theirs.eval()


def assert_equal_with_gradients(ours, theirs, inputs):
    """Compare two functions of the same tensors, and the gradients with respect to these."""
    leaves = [[x.clone().requires_grad_() for x in inputs] for _ in range(2)]
    got, expected = ours(*leaves[0]), theirs(*leaves[1])
    torch.testing.assert_close(got, expected, **EXACT)
    dy = numbers(*expected.shape, seed=99)
    got.backward(dy)
    expected.backward(dy)
    for own, other in zip(*leaves, strict=True):
        torch.testing.assert_close(own.grad, other.grad, **EXACT)


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_the_dot_product_equals_torchs(count, queries, keys, dim, masked):
    q, k, v = (
        numbers(count, queries, dim),
        numbers(count, keys, dim, seed=1),
        numbers(count, keys, 3),
    )
    mask = torch.rand(queries, keys) < 0.5
    mask[:, 0] = True
    mask = mask if masked else None

    def theirs(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    assert_equal_with_gradients(
        lambda q, k, v: attention.scaled_dot_product(q, k, v, mask)[0], theirs, (q, k, v)
    )


def test_the_dot_product_by_hand():
    query, key = torch.tensor([[2.0, 0.0]]), torch.tensor([[math.sqrt(2), 0.0], [0.0, 1.0]])
    mixed, weights = attention.scaled_dot_product(query, key, torch.tensor([[1.0], [0.0]]))
    share = math.exp(2) / (math.exp(2) + 1)  # scores 2 and 0
    torch.testing.assert_close(weights, torch.tensor([[share, 1 - share]]))
    torch.testing.assert_close(mixed, torch.tensor([[share]]))


def test_a_causal_mask_shows_what_came_before():
    assert attention.causal_mask(3).int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert attention.causal_mask(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    with pytest.raises(ValueError, match="keys is 1; expected at least 2"):
        attention.causal_mask(2, 1)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_heads_equal_torchs(heads, cross):
    ours, theirs = twins(
        attention.MultiHeadAttention(8, heads), nn.MultiheadAttention(8, heads, batch_first=True)
    )
    mask = torch.rand(3, 5, 7 if cross else 5, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[:, :, 0] = True
    inputs = [numbers(3, 5, 8)] + ([numbers(3, 7, 8, seed=1)] if cross else [])

    def reference(x, memory=None):
        memory = x if memory is None else memory
        return theirs(x, memory, memory, attn_mask=~mask.repeat_interleave(heads, 0))[0]

    assert_equal_with_gradients(lambda x, memory=None: ours(x, memory, mask), reference, inputs)
    _, weights = theirs(
        inputs[0],
        inputs[-1],
        inputs[-1],
        attn_mask=~mask.repeat_interleave(heads, 0),
        average_attn_weights=False,
    )
    torch.testing.assert_close(ours.weights, weights.detach(), **EXACT)


def test_an_encoder_block_equals_torchs():
    ours, theirs = twins(
        transformer.EncoderBlock(8, 2, 12),
        nn.TransformerEncoderLayer(8, 2, 12, dropout=0, batch_first=True, norm_first=True),
    )
    there = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    assert_equal_with_gradients(
        lambda x: ours(x, there[:, None]),
        lambda x: theirs(x, src_key_padding_mask=~there),
        [numbers(2, 4, 8)],
    )


def test_a_decoder_block_equals_torchs():
    ours, theirs = twins(
        transformer.DecoderBlock(8, 2, 12),
        nn.TransformerDecoderLayer(8, 2, 12, dropout=0, batch_first=True, norm_first=True),
    )
    there = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    causal = ~attention.causal_mask(5)
    assert_equal_with_gradients(
        lambda x, memory: ours(x, memory, there[:, None]),
        lambda x, memory: theirs(x, memory, tgt_mask=causal, memory_key_padding_mask=~there),
        [numbers(2, 5, 8), numbers(2, 4, 8, seed=1)],
    )


def test_the_whole_model_equals_torchs():
    ours = transformer.Transformer(11, 8, 2, 2, max_length=9).double().eval()
    settings = {"dropout": 0, "batch_first": True, "norm_first": True}
    layer = nn.TransformerEncoderLayer(8, 2, 32, **settings)
    encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)
    theirs = nn.Transformer(8, 2, 2, 2, 32, custom_encoder=encoder, **settings).double().eval()
    theirs.encoder.layers.load_state_dict(ours.layers.state_dict())
    theirs.encoder.norm.load_state_dict(ours.norm.state_dict())
    theirs.decoder.layers.load_state_dict(ours.decoder.layers.state_dict())
    theirs.decoder.norm.load_state_dict(ours.decoder.norm.state_dict())
    source = torch.tensor([[3, 4, 5, 6], [7, 8, PADDING, PADDING]])
    target = torch.tensor([[START, 9, 10], [START, 3, 4]])
    hidden = source == PADDING
    expected = ours.decoder.logits(
        theirs(
            ours.tokens(source),
            ours.decoder.tokens(target),
            tgt_mask=~attention.causal_mask(3),
            src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
        )
    )
    torch.testing.assert_close(ours(source, target), expected, **EXACT)


@POSITIONS
def test_a_cache_changes_nothing(positions):
    torch.manual_seed(0)
    model = transformer.Transformer(11, 8, 2, 2, max_length=12, positions=positions).double()
    source = torch.randint(3, 11, (5, 6))
    plain = model.generate(source, 9, cached=False)
    assert torch.equal(model.generate(source, 9), plain)
    assert plain.shape == (5, 9)
    assert (plain[:, 0] == START).all()
    memory, mask = model.encode(source)
    caches = [attention.Cache() for _ in model.decoder.layers]
    stepwise = [model.decoder(plain[:, t : t + 1], memory, mask, caches) for t in range(9)]
    torch.testing.assert_close(torch.cat(stepwise, 1), model.decoder(plain, memory, mask), **EXACT)


def test_nothing_follows_an_end():
    torch.manual_seed(0)
    model = transformer.Transformer(4, 8, 2, 1, max_length=12)
    with torch.no_grad():
        model.decoder.logits.bias[END] = 100
    assert model.generate(torch.tensor([[3]]), 5).tolist() == [[START, END] + [PADDING] * 3]


@POSITIONS
def test_the_future_and_the_padding_change_nothing(positions):
    torch.manual_seed(1)
    model = transformer.Transformer(11, 8, 2, 2, max_length=12, positions=positions).double()
    source = torch.tensor([[3, 4, 5, PADDING]])
    first, second = torch.tensor([[START, 6, 7, 8]]), torch.tensor([[START, 6, 9, 10]])
    torch.testing.assert_close(model(source, first)[:, :2], model(source, second)[:, :2], **EXACT)
    longer = torch.cat([source, torch.full((1, 3), PADDING)], 1)
    torch.testing.assert_close(model(source, first), model(longer, first), **EXACT)


def test_without_positions_order_is_lost():
    torch.manual_seed(2)
    blind = transformer.Transformer(11, 8, 2, 1, max_length=9, positions="none").double()
    seeing = transformer.Transformer(11, 8, 2, 1, max_length=9).double()
    source, target = torch.tensor([[3, 4, 5]]), torch.tensor([[START, 6]])
    turned = source.flip(1)
    torch.testing.assert_close(blind(source, target), blind(turned, target), **EXACT)
    assert (seeing(source, target) - seeing(turned, target)).abs().max() > 1e-3


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 50))
def test_rotated_products_depend_on_the_distance_alone(first, second, by):
    query, key = numbers(1, 6), numbers(1, 6, seed=1)

    def product(i, j):
        return (attention.rotated(query, i) * attention.rotated(key, j)).sum()

    torch.testing.assert_close(product(first, second), product(first + by, second + by))
    torch.testing.assert_close(attention.rotated(query, first).norm(), query.norm())


def test_sinusoids_are_the_papers():
    waves = attention.sinusoidal(5, 6)
    for t in range(5):
        for i in range(3):
            angle = t / 10_000 ** (2 * i / 6)
            assert waves[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert waves[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_additive_attention_by_hand():
    layer = attention.AdditiveAttention(2, 3, 4).double()
    query, key = numbers(1, 1, 2), numbers(1, 5, 3, seed=1)
    mixed, weights = layer(query, key)
    state = layer.state_dict()
    scores = torch.stack(
        [
            state["score.weight"][0]
            @ (
                state["query.weight"] @ query[0, 0] + state["key.weight"] @ k + state["key.bias"]
            ).tanh()
            for k in key[0]
        ]
    )
    torch.testing.assert_close(weights[0, 0], scores.softmax(0), **EXACT)
    torch.testing.assert_close(mixed[0, 0], scores.softmax(0) @ key[0], **EXACT)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(3, 4, dtype=torch.bool), "mask is torch.bool of shape (3, 4); expected bool"),
        (torch.ones(2, 4), "mask is torch.float32 of shape (2, 4); expected bool"),
        (torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]]).bool(), "mask hides every position"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, message):
    q, k = torch.zeros(1, 2, 3), torch.zeros(1, 4, 3)
    with pytest.raises(ValueError, match=re.escape(message)):
        attention.scaled_dot_product(q, k, k, mask)
    with pytest.raises(ValueError, match=re.escape(message)):
        attention.AdditiveAttention(3, 3, 2)(q, k, mask)


@given(st.integers(1, 20), st.integers(1, 20))
def test_heads_must_divide_the_width(dim, heads):
    if dim % heads:
        with pytest.raises(ValueError, match=f"dim is {dim} and num_heads {heads}"):
            attention.MultiHeadAttention(dim, heads)
    else:
        assert attention.MultiHeadAttention(dim, heads)(torch.zeros(1, 2, dim)).shape == (1, 2, dim)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_a_sequence_fits_between_one_and_the_longest(source, target, written):
    model = transformer.Transformer(11, 4, 1, 1, max_length=9)
    pair = torch.full((1, source), 3), torch.full((1, target), START)
    if 1 <= source <= 9 and 1 <= target <= 9:
        assert model(*pair).shape == (1, target, 11)
        if 2 <= written <= 10:  # the last token is written, not read
            assert model.generate(pair[0], written).shape == (1, written)
    else:
        with pytest.raises(ValueError, match="expected at least one, and at most 9 in all"):
            model(*pair)


@pytest.mark.parametrize("length", [0, 10])
def test_empty_and_long_sequences_are_refused(length):
    model = transformer.Transformer(11, 8, 2, 1, max_length=9)
    with pytest.raises(ValueError, match=f"tokens has {length} positions"):
        model(torch.full((1, length), 3), torch.full((1, 1), START))
    with pytest.raises(ValueError, match="positions is 'fourier'; expected one of: sinusoidal"):
        transformer.Transformer(11, 8, 2, 1, max_length=9, positions="fourier")


@given(st.integers(-3, 13), st.booleans())
def test_a_number_that_is_no_token_is_refused(token, as_source):
    model = transformer.Transformer(11, 8, 2, 1, max_length=9)
    pair = [torch.tensor([[3, token]]), torch.tensor([[START, 4]])]
    source, target = pair if as_source else pair[::-1]
    if 0 <= token < 11:
        assert model(source, target).isfinite().all()
    else:
        with pytest.raises(ValueError, match=r"tokens holds -?\d+ to \d+; expected .* 0 to 10"):
            model(source, target)


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 5), st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_a_mask_of_another_shape_is_refused(queries, keys, shape):
    q, k = torch.zeros(2, 1, queries, 4), torch.zeros(2, 1, keys, 4)
    mask = torch.ones(shape, dtype=torch.bool)
    fits = all(m in (1, s) for m, s in zip(shape[::-1], (keys, queries, 1), strict=False))
    if fits:
        weights = attention.scaled_dot_product(q, k, k, mask)[1]
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, queries))
    else:
        with pytest.raises(ValueError, match="expected bool that broadcasts to"):
            attention.scaled_dot_product(q, k, k, mask)


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 5), st.data())
def test_a_query_that_may_look_nowhere_is_refused(queries, keys, data):
    shown = data.draw(
        st.lists(st.booleans(), min_size=queries * keys, max_size=queries * keys), label="shown"
    )
    mask = torch.tensor(shown).view(queries, keys)
    q, k = torch.zeros(1, queries, 4), torch.zeros(1, keys, 4)
    if mask.any(1).all():
        weights = attention.scaled_dot_product(q, k, k, mask)[1]
        assert (weights[0, ~mask] == 0).all()
    else:
        with pytest.raises(ValueError, match="mask hides every position from a query"):
            attention.scaled_dot_product(q, k, k, mask)


def test_each_position_can_have_its_own_view_of_the_memory():
    torch.manual_seed(3)
    model = transformer.Transformer(11, 8, 2, 2, max_length=9).double()
    source, target = torch.tensor([[3, 4, 5, 6]]), torch.tensor([[START, 7, 8]])
    memory, mask = model.encode(source)
    views = mask.repeat(1, 3, 1)  # (1, 3, 4)
    torch.testing.assert_close(model.decoder(target, memory, views), model(source, target), **EXACT)
    views[0, 1, 2] = False
    changed = (model.decoder(target, memory, views) != model(source, target)).any(2)[0]
    assert changed.tolist() == [False, True, True]


def test_a_source_of_padding_alone_is_refused():
    model = transformer.Transformer(11, 8, 2, 1, max_length=9)
    with pytest.raises(ValueError, match="mask hides every position"):
        model(torch.full((1, 3), PADDING), torch.full((1, 1), START))


def test_a_copy_overfits_one_batch():
    torch.manual_seed(0)
    model = transformer.Transformer(8, 16, 2, 1, max_length=8)
    source = torch.randint(3, 8, (8, 4))
    target = torch.cat([torch.full((8, 1), START), source.flip(1), torch.full((8, 1), END)], 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        loss = F.cross_entropy(model(source, target[:, :-1]).flatten(0, 1), target[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(model.generate(source, 6), target)
    assert copy.deepcopy(model).generate(source, 6).equal(target)
