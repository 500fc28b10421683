"""The families of architectures: shapes, gradients, skips, and the cost against torch's count."""

import pytest
import torch
from dl4cv import exercises
from dl4cv.models import cost
from dl4cv.models.blocks import class_indices
from dl4cv.models.convnext import ConvNeXt, ConvNeXtBlock
from dl4cv.models.inception import Inception, InceptionBlock
from dl4cv.models.lenet import LeNet
from dl4cv.models.mobilenet import MobileNet
from dl4cv.models.resnet import BasicBlock, ResNet
from dl4cv.models.sprint import Sprint
from dl4cv.models.vgg import VGG
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

FAMILIES = [LeNet, VGG, Inception, ResNet, MobileNet, ConvNeXt, Sprint]
ANY_SIZE = [VGG, Inception, ResNet, MobileNet, ConvNeXt]


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_overfits_one_batch(family):
    model, x, y = family(num_classes=4), images(8), torch.arange(8) % 4
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("count", "classes"), [(1, 10), (3, 2)])
def test_shape_and_state_round_trip(family, count, classes):
    model, twin = family(num_classes=classes).eval(), family(num_classes=classes).eval()
    twin.load_state_dict(model.state_dict())
    scores = model(images(count))
    assert scores.shape == (count, classes)
    assert torch.equal(twin(images(count)), scores)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_s_scores_do_not_depend_on_its_batch(family):
    model = family().eval()
    torch.testing.assert_close(model(images(5))[2:3], model(images(5)[2:3]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_gets_a_gradient(family):
    model = family()
    F.cross_entropy(model(images(6)), torch.arange(6)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("family", FAMILIES)
def test_flops_and_parameters_equal_torchs_count(family):
    model = family().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images(1))
    assert cost.flops(model, images(1)[0]) == counter.get_total_flops()
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert cost.parameters(model) == vector.numel()


def test_counting_leaves_the_model_as_it_was():
    model = VGG()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cost.flops(model, images(1)[0])
    assert model.training
    assert not any(layer._forward_hooks for layer in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_block_whose_residual_is_zero_passes_its_input_on():
    model = ResNet(depth=20)
    block = model.blocks[0]
    nn.init.zeros_(block.residual[-1].weight)
    x = torch.rand(2, 16, 5, 5)
    torch.testing.assert_close(block(x), x)


def test_without_skips_nothing_is_passed_on():
    model = ResNet(depth=8, skip=False)
    block = model.blocks[0]
    nn.init.zeros_(block.residual[-1].weight)
    assert not block(torch.rand(2, 16, 5, 5)).any()


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_depth_counts_the_layers_with_weights(depth):
    model = ResNet(depth)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == depth


def test_a_block_that_downsamples_averages_and_pads_new_channels_with_zeros():
    model = ResNet(depth=8, width=4)
    block = model.blocks[1]
    nn.init.zeros_(block.residual[-1].weight)
    x = torch.rand(2, 4, 5, 6)
    out = block(x)
    assert out.shape == (2, 8, 3, 3)
    torch.testing.assert_close(out[:, :4, 0, 0], x[:, :, :2, :2].mean((2, 3)))
    torch.testing.assert_close(out[:, :4, 2, 0], x[:, :, 4, :2].mean(2))  # a square cut in half
    assert not out[:, 4:].any()


@pytest.mark.parametrize("depth", [2, 9, 0])
def test_a_depth_that_does_not_exist_is_named(depth):
    with pytest.raises(ValueError, match=rf"depth is {depth}; expected 6 n \+ 2"):
        ResNet(depth)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [0, 1])
def test_color_images_in_a_batch_of_none_or_one(family, count):
    model = family(in_channels=3, num_classes=2).eval()
    assert model(torch.rand(count, 3, 28, 28)).shape == (count, 2)


@pytest.mark.parametrize("family", ANY_SIZE)
@pytest.mark.parametrize("size", [(28, 40), (33, 9), (8, 11)])
def test_images_that_are_not_square(family, size):
    assert family().eval()(torch.rand(2, 1, *size)).shape == (2, 10)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_gives_about_the_same_scores(family):
    model = family().eval()
    with torch.no_grad():
        expected = model(images(4))
        scores = model.bfloat16()(images(4).bfloat16())
    assert scores.dtype == torch.bfloat16
    torch.testing.assert_close(scores.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_images_that_do_not_fit_are_named(family):
    for wrong in ((2, 3, 28, 28), (1, 28, 28), (2, 1, 28, 0)):
        with pytest.raises(ValueError, match=r"images has shape \(.*\); expected \(N, 1, H, W\)"):
            family()(torch.zeros(wrong))
    with pytest.raises(ValueError, match=r"images has dtype torch.uint8; expected floats"):
        family()(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))


def test_an_image_too_small_for_a_family_is_named():
    for family, side in ((LeNet, 27), (VGG, 7), (Inception, 2), (ConvNeXt, 3)):
        with pytest.raises(ValueError, match=f"expected .* with H and W from {side + 1}"):
            family()(torch.rand(2, 1, side, 28))
        assert family().eval()(torch.rand(2, 1, side + 1, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VGG(()), r"widths is \(\); expected one or more"),
        (lambda: VGG((8, 0)), r"widths is \(8, 0\); expected one or more, each at least 1"),
        (lambda: VGG(layers=0), "layers is 0; expected 1 or more"),
        (lambda: Inception(3), "width is 3; expected an even number"),
        (lambda: InceptionBlock(8, 12), "out_channels is 12; expected a multiple of 8"),
        (lambda: BasicBlock(8, 4), "out_channels is 4; expected at least in_channels, 8"),
        (lambda: MobileNet(blocks=0), "blocks is 0; expected 1 or more"),
        (lambda: ConvNeXt(kernel_size=4), "kernel_size is 4; expected an odd number"),
        (lambda: LeNet(in_channels=0), "in_channels is 0; expected 1 or more"),
        (lambda: Sprint(num_classes=0), "num_classes is 0; expected 1 or more"),
    ],
)
def test_a_size_that_does_not_exist_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_stage_of_convnext_halves_the_resolution():
    model = ConvNeXt((8, 8, 8), blocks=1)
    assert model.features(images(1)).shape == (1, 8, 3, 3)
    assert sum(isinstance(layer, ConvNeXtBlock) for layer in model.features) == 3


def test_counting_keeps_frozen_layers_frozen():
    model = VGG()
    model.features[1].eval()
    cost.flops(model, images(1)[0])
    assert model.training
    assert not model.features[1].training


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_integer_type_are_class_indices(dtype):
    labels = class_indices(torch.tensor([2, 0], dtype=dtype), 2, 3)
    torch.testing.assert_close(labels, torch.tensor([2, 0]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), "labels holds 3; expected classes from 0 to 2"),
        (torch.tensor([0, -1]), "labels holds -1; expected classes from 0 to 2"),
        (torch.tensor([0.0, 1.0]), r"labels has shape \(2,\) and dtype torch.float32"),
        (torch.tensor([0]), r"labels has shape \(1,\) .* expected \(2,\) integers"),
    ],
)
def test_labels_that_are_no_classes_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        class_indices(labels, 2, 3)


def test_exercises_tell_right_from_wrong():
    def separable(x, depthwise, pointwise):
        each = F.conv2d(x, depthwise[:, None], padding=1, groups=x.shape[1])
        return torch.einsum("nchw,fc->nfhw", each, pointwise)

    def fold(weight, gamma, beta, mean, variance, eps):
        scale = gamma / (variance + eps).sqrt()
        return scale[:, None, None, None] * weight, beta - scale * mean

    assert exercises.check("architectures/separable", separable).passed
    assert exercises.check("architectures/fold_batchnorm", fold).passed
    assert not exercises.check(
        "architectures/fold_batchnorm", lambda w, g, b, m, v, e: (w, b)
    ).passed
