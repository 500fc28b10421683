"""The six families: shapes, gradients, what skips do, and what each costs against torch's count."""

import pytest
import torch
from dl4cv.models import cost
from dl4cv.models.convnext import ConvNeXt
from dl4cv.models.inception import Inception
from dl4cv.models.lenet import LeNet
from dl4cv.models.mobilenet import MobileNet
from dl4cv.models.resnet import ResNet
from dl4cv.models.vgg import VGG
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

FAMILIES = [LeNet, VGG, Inception, ResNet, MobileNet, ConvNeXt]


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_overfits_one_batch(family):
    model, x, y = family(classes=4), images(8), torch.arange(8) % 4
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
    model, twin = family(classes=classes).eval(), family(classes=classes).eval()
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


def test_a_block_that_halves_passes_means_on_and_begins_new_channels_at_zero():
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
