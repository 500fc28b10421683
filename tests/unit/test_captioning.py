"""Captioners and the ways to write with them."""

import itertools

import pytest
import torch
from dl4cv.data.captions import END, PADDING, START
from dl4cv.models import captioning, decoding
from torch.nn import functional as F

KINDS = pytest.mark.parametrize("kind", [captioning.LSTMCaptioner, captioning.AttentionCaptioner])


class Chain:
    """A model of five tokens in which the last two decide the next one's logits."""

    def __init__(self, seed: int) -> None:
        self.table = 2 * torch.randn(5, 5, 5, generator=torch.Generator().manual_seed(seed))

    def start(self, images):
        return (torch.full((len(images),), START),)

    def step(self, tokens, state):
        return self.table[state[0], tokens].clone(), (tokens,)


def log_probability(model, row):
    """Return that of a sequence of tokens, written out; no sequence pads before its END."""
    total, before = 0.0, START
    for token, chosen in itertools.pairwise(row):
        if token == END:
            break
        logits = model.table[before, token].clone()
        total += float(logits.log_softmax(0)[chosen])
        before = token
    return total


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_most_probable_sequence(seed):
    model, length = Chain(seed), 4
    every = []
    for words in itertools.product([START, END, 3, 4], repeat=length - 1):
        row = [START, *words]
        if END in words:
            end = row.index(END)
            row[end + 1 :] = [PADDING] * (length - end - 1)
        every.append(row)
    best = max(every, key=lambda row: log_probability(model, row))
    tokens, total = decoding.beam(model, torch.zeros(2, 1), length, width=5**3)
    assert tokens.tolist() == [best, best]
    assert total.tolist() == pytest.approx([log_probability(model, best)] * 2, abs=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_a_beam_of_one_is_greedy_and_a_wider_one_is_no_worse(seed):
    model, images = Chain(seed), torch.zeros(1, 1)
    first, total = decoding.beam(model, images, 6, width=1)
    assert torch.equal(first, decoding.greedy(model, images, 6))
    assert total.item() == pytest.approx(log_probability(model, first[0].tolist()), abs=1e-4)
    _, wider = decoding.beam(model, images, 6, width=5**5)
    assert wider >= total - 1e-5


def test_samples_have_the_models_frequencies():
    model, n = Chain(0), 20_000
    drawn = decoding.sample(
        model, torch.zeros(n, 1), 2, generator=torch.Generator().manual_seed(0)
    )[:, 1]
    logits = model.table[START, START].clone()
    logits[PADDING] = -torch.inf
    shares = drawn.bincount(minlength=5) / n
    assert (shares - logits.softmax(0)).abs().max() < 0.02  # over five standard errors
    cold = decoding.sample(model, torch.zeros(50, 1), 6, temperature=1e-3)
    assert torch.equal(cold, decoding.greedy(model, torch.zeros(50, 1), 6))


@KINDS
def test_teacher_forcing_is_one_step_after_another(kind):
    torch.manual_seed(0)
    model = kind(9, 16, 16).eval()
    cells, tokens = torch.rand(2, 64, 16), torch.tensor([[START, 4, 5], [START, 6, END]])
    state = model.start(cells)
    for t in range(3):
        logits, state = model.step(tokens[:, t], state)
        torch.testing.assert_close(model(cells, tokens)[:, t], logits)
    if kind is captioning.AttentionCaptioner:
        assert state[-1].shape == (2, 64)
        torch.testing.assert_close(state[-1].sum(1), torch.ones(2))


@KINDS
def test_a_captioner_overfits_one_batch(kind):
    torch.manual_seed(0)
    model = kind(12, 16, 32)
    cells = torch.randn(6, 64, 16)
    words = torch.randint(3, 12, (6, 4))
    target = torch.cat([torch.full((6, 1), START), words, torch.full((6, 1), END)], 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(200):
        logits = model(cells, target[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    assert torch.equal(decoding.greedy(model, cells, 6), target)


@KINDS
def test_a_state_dict_makes_the_same_model(kind):
    first, second = kind(9, 8, 8).eval(), kind(9, 8, 8).eval()
    second.load_state_dict(first.state_dict())
    cells, tokens = torch.rand(1, 64, 8), torch.tensor([[START, 4]])
    torch.testing.assert_close(first(cells, tokens), second(cells, tokens))


def test_the_last_word_decides_where_attention_looks():
    torch.manual_seed(0)
    model = captioning.AttentionCaptioner(9, 8, 8).eval()
    state = model.start(torch.randn(1, 64, 8))
    looks = [model.step(torch.tensor([word]), state)[1][-1] for word in (4, 5)]
    assert not torch.allclose(*looks)


def test_what_was_found_and_where_it_lies_count():
    torch.manual_seed(0)
    model = captioning.AttentionCaptioner(9, 8, 8).eval()
    cells = torch.randn(1, 64, 8)
    state, word = model.start(cells), torch.tensor([4])
    logits, (h, c, found, *rest) = model.step(word, state)
    swapped = model.step(word, model.start(cells.flip(1)))[0]
    assert not torch.allclose(logits, swapped)
    after = model.step(word, (h, c, found, *rest))[0]
    assert not torch.allclose(after, model.step(word, (h, c, -found, *rest))[0])


def test_before_the_first_word_the_state_has_looked():
    torch.manual_seed(0)
    model = captioning.AttentionCaptioner(9, 8, 8, glances=2).eval()
    cells = torch.randn(1, 64, 8)
    planned = model.start(cells)
    torch.testing.assert_close(planned[-1].sum(1), torch.ones(1))
    model.glances = 0
    state = model.start(cells)
    assert not state[-1].any()
    for _ in range(2):
        _, state = model.step(torch.tensor([START]), state)
    torch.testing.assert_close(state[0], planned[0])


def test_every_word_sees_the_picture():
    torch.manual_seed(0)
    model = captioning.LSTMCaptioner(9, 8, 8).eval()
    h, c, picture = model.start(torch.randn(1, 64, 8))
    _, (h, c, again) = model.step(torch.tensor([START]), (h, c, picture))
    assert torch.equal(again, picture)
    seen, unseen = (model.step(torch.tensor([4]), (h, c, p))[0] for p in (again, -again))
    assert not torch.allclose(seen, unseen)


def test_cells_of_the_encoder_lie_where_their_pixels_lie():
    torch.manual_seed(0)
    encoder = captioning.Encoder(8).double().eval()
    picture = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    other = picture.clone()
    other[:, :, 8:16, 48:56] = 1  # the second row's seventh cell
    change = (encoder(other) - encoder(picture)).abs().sum(2)[0].view(8, 8)
    rows, columns = (change > 0).nonzero().T
    assert rows.max() == 1 + 3  # a cell sees as far as three cells away
    assert columns.min() == 6 - 3


def test_settings_out_of_range_are_named():
    model, images = Chain(0), torch.zeros(1, 1)
    for write in (decoding.greedy, decoding.sample):
        with pytest.raises(ValueError, match="length is 1; expected at least 2"):
            write(model, images, 1)
    with pytest.raises(ValueError, match="width is 0; expected at least 1"):
        decoding.beam(model, images, 4, width=0)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature is"):
            decoding.sample(model, images, 4, temperature=temperature)
