"""The PixelCNNs: masks, causality, exact normalisation, and the cached sampler."""

import itertools

import pytest
import torch
from dl4cv import exercises
from dl4cv.models import autoregressive
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli

NETS = [autoregressive.PixelCNN, autoregressive.GatedPixelCNN]


def tiny(make, shape=(5, 6), *, blocks=2, kernel_size=3, seed=0):
    torch.manual_seed(seed)
    net = make(shape, channels=4, blocks=blocks, kernel_size=kernel_size).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return net.eval()


def before(row, column, shape):
    order = torch.arange(shape[0] * shape[1]).reshape(shape)
    return order < order[row, column]


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("kind", ["A", "B"])
def test_mask_is_the_reading_order(kind, size):
    expected = before(size // 2, size // 2, (size, size))
    expected[size // 2, size // 2] = kind == "B"
    assert torch.equal(autoregressive.mask(kind, size).bool(), expected)


@pytest.mark.parametrize(("kind", "size"), [("C", 3), ("A", 4), ("A", 0)])
def test_mask_refuses_what_does_not_exist(kind, size):
    with pytest.raises(ValueError, match=r"(kind|kernel_size) is .*; expected"):
        autoregressive.mask(kind, size)


@pytest.mark.parametrize("kind", ["A", "B"])
def test_masked_convolution_equals_one_with_the_full_kernel(kind):
    torch.manual_seed(0)
    ours = autoregressive.MaskedConv2d(3, 4, 5, kind=kind).double()
    full = torch.nn.Conv2d(3, 4, 5, padding=2).double()
    full.weight.data[:, :, :3] = ours.conv.weight.data
    full.weight.data *= autoregressive.mask(kind, 5)
    full.bias.data = ours.conv.bias.data
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(x), full(x))


@settings(max_examples=25)
@given(
    make=st.sampled_from(NETS),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel_size=st.sampled_from([3, 5]),
    blocks=st.integers(0, 3),
    data=st.data(),
)
def test_a_pixel_changes_no_logit_at_or_before_it(make, shape, kernel_size, blocks, data):
    row = data.draw(st.integers(0, shape[0] - 1))
    column = data.draw(st.integers(0, shape[1] - 1))
    net = tiny(make, shape, blocks=blocks, kernel_size=kernel_size)
    image = torch.rand(1, 1, *shape, dtype=torch.float64)
    other = image.clone()
    other[0, 0, row, column] += 1
    with torch.no_grad():
        changed = (net(image) != net(other))[0, 0]
    assert not (changed & (before(row, column, shape))).any()
    assert not changed[row, column]
    assert not (
        autoregressive.receptive_field(net, row, column, shape) & ~before(row, column, shape)
    ).any()


@pytest.mark.parametrize("make", NETS)
def test_the_pixel_to_the_left_and_the_one_above_are_seen(make):
    net = tiny(make)
    seen = autoregressive.receptive_field(net, 3, 3, (5, 6))
    assert seen[3, 2]
    assert seen[2, 3]
    assert seen[2, 4]


def test_type_b_lets_a_layer_see_its_own_position():
    layer = autoregressive.MaskedConv2d(1, 1, 3, kind="B").double()
    assert autoregressive.receptive_field(layer, 2, 2, (4, 4))[2, 2]


def test_only_the_plain_net_has_a_blind_spot():
    shape, earlier = (7, 7), before(6, 3, (7, 7))
    blind = {}
    for make in NETS:
        torch.manual_seed(0)
        net = make(shape, channels=16, blocks=7, kernel_size=3)
        seen = autoregressive.receptive_field(net, 6, 3, shape)
        blind[make] = int((earlier & ~seen).sum())
    assert blind == {autoregressive.PixelCNN: 3, autoregressive.GatedPixelCNN: 0}


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 3)])
def test_probabilities_of_all_images_add_up_to_one(make, shape):
    net = tiny(make, shape)
    pixels = shape[0] * shape[1]
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=pixels))).double()
    images = every.reshape(-1, 1, *shape)
    with torch.no_grad():
        logits = net(images)
    log_p = Bernoulli(logits=logits).log_prob(images).flatten(1).sum(1)
    torch.testing.assert_close(log_p.exp().sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(-autoregressive.nll(logits, images), log_p)


def test_nll_are_float32_at_least():
    logits, images = torch.zeros(1, 1, 28, 28).bfloat16(), torch.ones(1, 1, 28, 28)
    expected = 784 * torch.tensor([2.0]).log()
    torch.testing.assert_close(autoregressive.nll(logits, images), expected)


def test_nll_refuses_other_shapes():
    with pytest.raises(ValueError, match="logits has shape"):
        autoregressive.nll(torch.zeros(2, 1, 3, 3), torch.zeros(2, 1, 3, 4))


def test_nll_of_a_set_equals_that_of_its_images():
    net = tiny(autoregressive.PixelCNN)
    images = (torch.rand(260, 1, 5, 6) < 0.5).double()
    with torch.no_grad():
        expected = autoregressive.nll(net(images), images)
    torch.testing.assert_close(autoregressive.nll_per_image(net, images), expected)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.parametrize("kernel_size", [3, 7])
def test_cached_sampling_equals_the_naive_one(rows, kernel_size, temperature):
    net = tiny(autoregressive.GatedPixelCNN, (6, 7), kernel_size=kernel_size)
    noise = torch.rand(9, 1, 6, 7, dtype=torch.float64)
    half = (torch.rand(9, 1, 6, 7) < 0.5).double()
    watched = []
    keywords = {"given": half, "rows": rows, "temperature": temperature}
    fast = autoregressive.sample(
        net, noise, **keywords, callback=lambda images, logits: watched.append(logits)
    )
    assert torch.equal(fast, autoregressive.sample_naive(net, noise, **keywords))
    assert torch.equal(fast[:, :, :rows], half[:, :, :rows])
    with torch.no_grad():
        torch.testing.assert_close(torch.stack(watched, 1), net(fast)[:, 0, rows:])


def test_a_low_temperature_takes_the_likelier_value():
    net = tiny(autoregressive.GatedPixelCNN)
    noise = torch.rand(4, 1, 5, 6, dtype=torch.float64)
    images = autoregressive.sample(net, noise, temperature=1e-6)
    with torch.no_grad():
        assert torch.equal(images, (net(images) > 0).double())


@pytest.mark.parametrize("keywords", [{"temperature": 0.0}, {"rows": 2}, {"rows": 9}])
def test_sampling_refuses(keywords):
    net = tiny(autoregressive.GatedPixelCNN)
    with pytest.raises(ValueError, match=r"is .*; expected"):
        autoregressive.sample(net, torch.rand(1, 1, 5, 6).double(), **keywords)


@pytest.mark.parametrize("make", NETS)
def test_overfits_one_batch(make):
    torch.manual_seed(0)
    net = make((6, 6), channels=16, blocks=2, kernel_size=3)
    images = (torch.rand(2, 1, 6, 6) < 0.5).float()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(150):
        loss = autoregressive.nll(net(images), images).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 3  # two images need at least ln 2


def test_a_state_dict_makes_the_round_trip():
    net, other = tiny(autoregressive.GatedPixelCNN), tiny(autoregressive.GatedPixelCNN, seed=1)
    other.load_state_dict(net.state_dict())
    x = torch.rand(1, 1, 5, 6).double()
    assert torch.equal(net(x), other(x))


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_zeros_and_ones_of_any_type_are_images(make, dtype):
    net, images = tiny(make), (torch.rand(3, 1, 5, 6) < 0.5).double()
    torch.testing.assert_close(
        autoregressive.nll_per_image(net, images.to(dtype)),
        autoregressive.nll_per_image(net, images),
    )


@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_of_none_or_one(count):
    net, noise = tiny(autoregressive.GatedPixelCNN), torch.rand(count, 1, 5, 6)
    images = autoregressive.sample(net, noise)
    assert torch.equal(images, autoregressive.sample_naive(net, noise))
    assert images.dtype == noise.dtype
    assert autoregressive.nll_per_image(net, images).shape == (count,)


def test_half_precision_samples_and_scores():
    net, noise = tiny(autoregressive.GatedPixelCNN).bfloat16(), torch.rand(4, 1, 5, 6)
    images = autoregressive.sample(net, noise)
    assert set(images.unique().tolist()) <= {0.0, 1.0}
    assert autoregressive.nll_per_image(net, images).dtype == torch.float32


GATED, NOISE = autoregressive.GatedPixelCNN, torch.rand(2, 1, 5, 6).double()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GATED(kernel_size=4), "kernel_size is 4; expected an odd number, 3 or more"),
        (lambda: GATED(kernel_size=1), "kernel_size is 1; expected an odd number, 3 or more"),
        (lambda: GATED((5, 0)), r"shape is \(5, 0\); expected"),
        (lambda: tiny(GATED)(NOISE[..., 1:]), r"images has shape .* expected \(N, 1, 5, 6\)"),
        (lambda: autoregressive.gate(torch.zeros(1, 3)), "x has 3 channels; expected an even"),
        (
            lambda: autoregressive.nll(torch.zeros(2, 3), torch.full((2, 3), 255).byte()),
            "images holds 255; expected zeros and ones",
        ),
        (
            lambda: autoregressive.receptive_field(tiny(GATED), -1, 0, (5, 6)),
            r"row is -1 and column 0; expected a pixel of \(5, 6\)",
        ),
        (lambda: autoregressive.sample(tiny(GATED), NOISE[0]), "noise has shape"),
        (lambda: autoregressive.sample(tiny(GATED), NOISE[..., 1:]), "images has shape"),
        (
            lambda: autoregressive.sample(tiny(GATED), NOISE, given=NOISE[:1], rows=1),
            "given has shape",
        ),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_exercises_tell_right_from_wrong():
    check = exercises.check
    assert check("autoregressive/mask", autoregressive.mask).passed
    assert not check("autoregressive/mask", lambda kind, size: torch.ones(size, size)).passed
    assert not check("autoregressive/bits_per_dimension", lambda nats, shape: nats).passed
    naive = lambda s, x: (x * s.sigmoid().log() + (1 - x) * (1 - s.sigmoid()).log()).sum((1, 2, 3))  # noqa: E731
    assert not check("autoregressive/log_likelihood", naive).passed
    late = lambda s, u, t: (u < s.sigmoid() / t).double()  # noqa: E731
    assert not check("autoregressive/temperature", late).passed
