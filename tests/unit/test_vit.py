"""Vision transformers against torchvision's, their patches, and attention rollout."""

import math
import re

import pytest
import torch
from dl4cv import exercises, optim, training
from dl4cv.explain.rollout import rollout
from dl4cv.models import vit
from dl4cv.models.vit import ViT
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer
from twins import EXACT, numbers

#: Ours to torchvision's, of everything but the blocks.
NAMES = {
    "patches.weight": "conv_proj.weight",
    "patches.bias": "conv_proj.bias",
    "class_token": "class_token",
    "positions": "encoder.pos_embedding",
    "norm.weight": "encoder.ln.weight",
    "norm.bias": "encoder.ln.bias",
    "head.weight": "heads.head.weight",
    "head.bias": "heads.head.bias",
}
PARTS = {
    "norm1": "ln_1",
    "self_attn": "self_attention",
    "norm2": "ln_2",
    "linear1": "mlp.0",
    "linear2": "mlp.3",
}


def small(**settings) -> ViT:
    torch.manual_seed(0)
    return ViT(8, 4, dim=8, num_layers=2, num_heads=2, num_classes=3, **settings).eval()


def twin(name: str) -> str:
    """Return torchvision's name of a parameter of ours."""
    if found := re.fullmatch(r"layers\.(\d+)\.(\w+)\.(.*)", name):
        block, part, rest = found.groups()
        return f"encoder.layers.encoder_layer_{block}.{PARTS[part]}.{rest}"
    return NAMES[name]


@pytest.mark.parametrize("channels", [1, 3])
def test_it_equals_torchvisions_with_gradients(channels):
    theirs = VisionTransformer(8, 4, 2, 2, 8, 32, num_classes=3, norm_layer=nn.LayerNorm).double()
    theirs.conv_proj = nn.Conv2d(channels, 8, 4, 4).double()
    for block in theirs.encoder.layers:
        block.mlp[1] = nn.ReLU()
    ours = small(in_channels=channels).double()
    own = dict(ours.named_parameters())
    other = dict(theirs.named_parameters())
    assert {twin(name) for name in own} == set(other)
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(own.items()):
            parameter.copy_(numbers(*parameter.shape, seed=seed, scale=0.3))
            other[twin(name)].copy_(parameter.view(other[twin(name)].shape))
    images, dy = numbers(5, channels, 8, 8), numbers(5, 3, seed=99)
    got, expected = ours(images), theirs(images)
    torch.testing.assert_close(got, expected, **EXACT)
    got.backward(dy)
    expected.backward(dy)
    for name, parameter in own.items():
        gradient = other[twin(name)].grad.view(parameter.shape)
        torch.testing.assert_close(parameter.grad, gradient, **EXACT, msg=name)


def test_the_convolution_is_a_linear_layer_on_each_patch():
    net = small(in_channels=3).double()
    images = numbers(2, 3, 8, 8)
    flat = vit.patchify(images, 4)  # (2, 4, 48)
    expected = F.linear(flat, net.patches.weight.flatten(1), net.patches.bias)
    torch.testing.assert_close(net.tokens(images)[:, 1:], expected + net.positions[1:], **EXACT)
    token = (net.class_token + net.positions[0]).expand(2, -1)
    torch.testing.assert_close(net.tokens(images)[:, 0], token, **EXACT)


@settings(max_examples=25)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)
)
def test_patches_are_cut_row_by_row_and_put_together_again(count, channels, size, rows, columns):
    images = numbers(count, channels, rows * size, columns * size)
    patches = vit.patchify(images, size)
    assert patches.shape == (count, rows * columns, channels * size**2)
    last = images[:, :, -size:, -size:].flatten(1)
    torch.testing.assert_close(patches[:, -1], last, **EXACT)
    if columns > 1:
        second = images[:, :, :size, size : 2 * size].flatten(1)
        torch.testing.assert_close(patches[:, 1], second, **EXACT)
    again = vit.unpatchify(patches, size, *images.shape[2:])
    torch.testing.assert_close(again, images, **EXACT)


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_shuffling_moves_whole_patches(seed):
    generator = torch.Generator().manual_seed(seed)
    images = numbers(3, 2, 6, 9, seed=seed)
    order = torch.randperm(6, generator=generator)
    moved = vit.patchify(vit.shuffled(images, order, 3), 3)
    assert torch.equal(moved, vit.patchify(images, 3)[:, order])
    back = vit.shuffled(vit.shuffled(images, order, 3), order.argsort(), 3)
    assert torch.equal(back, images)
    orders = torch.rand(3, 6, generator=generator).argsort(1)
    each = vit.shuffled(images, orders, 3)
    alone = [vit.shuffled(images[k : k + 1], orders[k], 3) for k in range(3)]
    assert torch.equal(each, torch.cat(alone))


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(4)))
def test_without_positions_the_order_does_not_matter(order):
    images = numbers(3, 1, 8, 8)
    moved = vit.shuffled(images, torch.tensor(order), 4)
    for pool in ("class", "mean"):
        blind = small(pool=pool, positions=False).double()
        torch.testing.assert_close(blind(moved), blind(images), **EXACT)


def test_with_positions_an_order_is_another_order_of_the_positions():
    net, images = small().double(), numbers(3, 1, 8, 8)
    order = torch.tensor([2, 0, 3, 1])
    moved = vit.shuffled(images, order, 4)
    before = net(images)
    assert not torch.allclose(net(moved), before)
    with torch.no_grad():
        net.positions[1:] = net.positions[1:][order]
    torch.testing.assert_close(net(moved), before, **EXACT)


def test_the_mean_is_over_the_patches():
    net, seen = small(pool="mean").double(), {}
    net.norm.register_forward_hook(lambda *found: seen.update(x=found[2]))
    logits = net(numbers(2, 1, 8, 8))
    assert seen["x"].shape == (2, 4, 8)
    torch.testing.assert_close(logits, net.head(seen["x"].mean(1)), **EXACT)


def test_an_image_does_not_depend_on_the_batch():
    net, images = small().double(), numbers(4, 1, 8, 8)
    torch.testing.assert_close(net(images)[2:3], net(images[2:3]), **EXACT)


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_it_learns_a_batch_by_heart(pool):
    net = small(pool=pool)
    images, labels = numbers(6, 1, 8, 8).float(), torch.tensor([0, 1, 2, 0, 1, 2])
    training.fit(
        net,
        lambda step: (images, labels),
        lambda model, x, y: F.cross_entropy(model(x), y),
        torch.optim.AdamW(net.parameters(), lr=1e-2),
        name="test/vit",
        steps=60,
    )
    assert F.cross_entropy(net(images), labels) < 0.05


def test_muon_leaves_tables_to_adam():
    table, matrix = numbers(5, 3), numbers(4, 3, seed=1)
    ours = [nn.Parameter(table.clone()), nn.Parameter(matrix.clone())]
    groups = [{"params": ours[1:]}, {"params": ours[:1], "lr": 0.003, "momentum": 0}]
    optimizer = vit.Muon(groups, lr=0.02, momentum=0.6, weight_decay=0.1)
    rows = nn.Parameter(table.clone())
    adam = torch.optim.AdamW([rows], lr=0.003, weight_decay=0.1)
    weights = nn.Parameter(matrix.clone())
    muon = optim.Muon([weights], lr=0.02, momentum=0.6, weight_decay=0.1)
    for step in range(3):
        ours[0].grad = rows.grad = numbers(3, 5, seed=step + 2).T  # not contiguous
        ours[1].grad = weights.grad = numbers(4, 3, seed=step + 9)
        for each in (optimizer, adam, muon):
            each.step()
    torch.testing.assert_close(ours[0], rows, **EXACT)
    torch.testing.assert_close(ours[1], weights, **EXACT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 5}, "patch_size is 5; expected a divisor of 8 × 8 pixels"),
        ({"patch_size": 0}, "patch_size is 0; expected 1 or more"),
        ({"num_heads": 3}, "dim is 8 and num_heads 3; expected a dim that num_heads divides"),
        ({"num_layers": 0}, "num_layers is 0; expected 1 or more"),
        ({"pool": "max"}, "pool is 'max'; expected one of: class, mean"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ViT(**{"image_size": 8, "patch_size": 4, "dim": 8, "num_heads": 2, **settings})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(0, 1, 8, 8), "images is an empty batch; expected at least one image"),
        (torch.rand(1, 3, 8, 8), "images has shape (1, 3, 8, 8); expected (N, 1, H, W)"),
        (torch.rand(1, 1, 12, 8), "H and W from 8 to 8"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "expected floats in [0, 1]"),
    ],
)
def test_images_that_do_not_fit(images, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        small()(images)


def test_patches_that_do_not_fit():
    images = torch.rand(2, 1, 6, 9)
    for size in (2, 4, 0):
        with pytest.raises(ValueError, match=f"patch_size is {size}; expected a divisor of 6 × 9"):
            vit.patchify(images, size)
    with pytest.raises(ValueError, match="patches holds 5 an image; expected 6"):
        vit.unpatchify(torch.rand(2, 5, 9), 3, 6, 9)
    for order in (torch.arange(5), torch.tensor([0, 0, 1, 2, 3, 4]), torch.arange(6).repeat(3, 1)):
        with pytest.raises(ValueError, match="expected permutations of 0 to 5"):
            vit.shuffled(images, order, 3)


def test_rollout_by_hand():
    # One head each; in the first block, the second token looks at the first alone.
    first = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    second = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    # With the identity: [[1, 0], [½, ½]], then [[½, ½], [¼, ¾]] times that.
    expected = torch.tensor([[[0.75, 0.25], [0.625, 0.375]]])
    torch.testing.assert_close(rollout([first, second]), expected)


def test_rollout_takes_the_mean_of_the_heads():
    heads = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]])
    torch.testing.assert_close(rollout([heads]), torch.tensor([[[0.75, 0.25], [0.25, 0.75]]]))


@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(0, 100))
def test_rollout_gives_weights(blocks, heads, length, seed):
    weights = [numbers(2, heads, length, length, seed=seed + k).softmax(-1) for k in range(blocks)]
    found = rollout(weights)
    assert found.shape == (2, length, length)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(2, length).double(), **EXACT)
    # Through each block, half of a token stays where it was.
    assert (found.diagonal(dim1=1, dim2=2) >= 0.5**blocks - 1e-12).all()


def test_rollout_follows_the_blocks_in_order():
    # Token 0 reads token 1, and then token 1 reads token 2: nothing of 2 gets to 0.
    first, second = torch.eye(3)[[1, 1, 2]], torch.eye(3)[[0, 2, 2]]
    found = rollout([first[None, None], second[None, None]])[0]
    assert found[0, 2] == 0
    assert math.isclose(rollout([second[None, None], first[None, None]])[0, 0, 2], 0.25)


@pytest.mark.parametrize("shapes", [[], [(2, 1, 3, 4)], [(2, 1, 3, 3), (2, 1, 4, 4)], [(3, 3)]])
def test_weights_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match=re.escape("expected (N, h, T, T), one or more")):
        rollout([torch.ones(shape) for shape in shapes])


def test_exercises_tell_right_from_wrong():
    check = exercises.check
    assert check("vit/patchify", vit.patchify).passed
    assert not check("vit/patchify", lambda x, size: vit.patchify(x.mT, size)).passed
    assert not check("vit/parameters", lambda *_: 0).passed
    assert not check("vit/resize_positions", lambda positions, old, new: positions).passed
