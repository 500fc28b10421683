"""Saliency against closed forms: networks for which the answer can be written down."""

import pytest
import torch
from dl4cv.explain import saliency
from torch import nn
from torch.nn import functional as F

IMAGES = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0)).double()
CLASSES = torch.tensor([0, 2, 1])
WEIGHTS = torch.randn(3, 128, generator=torch.Generator().manual_seed(1)).double()


def linear(images):
    return images.flatten(1) @ WEIGHTS.T


def squares(images):
    return images.square().flatten(1) @ WEIGHTS.T


def convolutional() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, stride=2, padding=1),
        nn.ReLU6(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    ).double()


def test_the_gradient_of_a_linear_network_is_its_weights():
    found = saliency.gradient(linear, IMAGES, CLASSES)
    torch.testing.assert_close(found, WEIGHTS[CLASSES].view(3, 2, 8, 8))


def test_the_gradient_is_that_of_finite_differences():
    net, eps = convolutional(), 1e-6
    found = saliency.gradient(net, IMAGES, CLASSES)
    for place in [(0, 1, 3, 4), (1, 0, 0, 0), (2, 1, 7, 2)]:
        step = torch.zeros_like(IMAGES)
        step[place] = eps
        up, down = net(IMAGES + step), net(IMAGES - step)
        slope = (up - down)[place[0], CLASSES[place[0]]] / (2 * eps)
        assert found[place].item() == pytest.approx(slope.item(), abs=1e-7)


def test_nothing_but_the_images_gets_a_gradient():
    net = convolutional()
    saliency.gradient(net, IMAGES, CLASSES)
    saliency.integrated_gradients(net, IMAGES, CLASSES, steps=2)
    saliency.guided_gradient(net, IMAGES, CLASSES)
    assert all(weight.grad is None for weight in net.parameters())
    assert IMAGES.grad is None
    assert not IMAGES.requires_grad


def test_smoothing_averages_the_noise_away():
    sharp = saliency.gradient(squares, IMAGES, CLASSES)
    smooth = saliency.smooth_gradient(
        squares,
        IMAGES,
        CLASSES,
        std=0.5,
        samples=400,
        generator=torch.Generator().manual_seed(0),
    )
    few = saliency.smooth_gradient(
        squares, IMAGES, CLASSES, std=0.5, samples=1, generator=torch.Generator()
    )
    # The gradient of a square is linear, so the mean over noise is the gradient itself.
    assert (smooth - sharp).std() < 0.1 * (few - sharp).std()


@pytest.mark.parametrize("net", [linear, squares])
def test_integrated_gradients_of_polynomials_are_exact(net):
    found = saliency.integrated_gradients(net, IMAGES, CLASSES, steps=3)
    power = 1 if net is linear else 2
    expected = WEIGHTS[CLASSES].view(3, 2, 8, 8) * IMAGES**power
    torch.testing.assert_close(found, expected)


def test_integrated_gradients_are_complete():
    net = convolutional()
    baseline = torch.full((1, 2, 8, 8), 0.3).double()
    found = saliency.integrated_gradients(net, IMAGES, CLASSES, baseline=baseline, steps=200)
    gap = net(IMAGES) - net(baseline)
    expected = gap.gather(1, CLASSES[:, None])[:, 0]
    torch.testing.assert_close(found.sum((1, 2, 3)), expected, rtol=0.01, atol=1e-5)


def test_guided_gradients_let_positive_ones_alone_pass():
    net = convolutional()
    first, second = net[0], net[2]
    found = saliency.guided_gradient(net, IMAGES, CLASSES)
    a = F.conv2d(IMAGES, first.weight, first.bias, padding=1)
    b = F.conv2d(a.relu(), second.weight, second.bias, stride=2, padding=1)
    slope = net[6].weight[CLASSES][:, :, None, None].expand_as(b) / (b.shape[2] * b.shape[3])
    slope = slope.clamp(min=0) * ((b > 0) & (b < 6))
    slope = F.conv_transpose2d(slope, second.weight, stride=2, padding=1, output_padding=1)
    slope = slope.clamp(min=0) * (a > 0)
    torch.testing.assert_close(found, F.conv_transpose2d(slope, first.weight, padding=1))
    # The hooks are gone: what comes next is the plain gradient again.
    plain = saliency.gradient(net, IMAGES, CLASSES)
    assert not torch.allclose(plain, found)


def test_guiding_needs_a_relu():
    with pytest.raises(ValueError, match="net has no ReLU"):
        saliency.guided_gradient(nn.Flatten(), IMAGES, CLASSES)


def test_grad_cam_after_average_pooling_is_the_class_activation_map():
    net = convolutional()
    found = saliency.grad_cam(net, net[3], IMAGES, CLASSES)
    maps = net[:4](IMAGES)
    places = maps.shape[2] * maps.shape[3]
    small = torch.einsum("nk,nkhw->nhw", net[6].weight[CLASSES], maps).relu() / places
    large = F.interpolate(small[:, None], size=(8, 8), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(found, large)


def test_grad_cam_works_where_all_weights_are_frozen():
    net = convolutional().requires_grad_(False)
    assert saliency.grad_cam(net, net[1], IMAGES, CLASSES).shape == (3, 8, 8)


class Chain(nn.Module):
    """A small network whose ReLUs are written in several ways, one for each of its letters."""

    def __init__(self, relus) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.relus = relus
        self.convolutions = nn.ModuleList(nn.Conv2d(2, 2, 3, padding=1) for _ in relus)
        self.last = nn.Linear(2, 3)
        self.double()

    def forward(self, x):
        for convolution, relu in zip(self.convolutions, self.relus, strict=True):
            x = relu(convolution(x) + x)
        return self.last(x.mean((2, 3)))


RELUS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "function": F.relu,
    "function in place": lambda x: F.relu(x, inplace=True),
    "torch": torch.relu,
    "method": torch.Tensor.relu,
    "method in place": torch.Tensor.relu_,
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "threshold": lambda x: F.threshold(x, 0, 0),
}


@pytest.mark.parametrize("way", RELUS)
def test_every_way_to_write_a_relu_is_guided(way):
    # Module and other ways mixed: what is left unguided would change the gradient.
    modules = Chain([nn.ReLU(), nn.ReLU(), nn.ReLU()])
    mixed = Chain([nn.ReLU(), RELUS[way], RELUS[way]])
    expected = saliency.guided_gradient(modules, IMAGES, CLASSES)
    torch.testing.assert_close(saliency.guided_gradient(mixed, IMAGES, CLASSES), expected)
    assert not torch.allclose(expected, saliency.gradient(modules, IMAGES, CLASSES))


@pytest.mark.parametrize("way", [F.relu6, nn.ReLU6(), lambda x: x.clamp(0, 6)])
def test_a_relu6_is_guided_however_it_is_written(way):
    expected = saliency.guided_gradient(Chain([nn.ReLU6(), nn.ReLU6()]), IMAGES, CLASSES)
    found = saliency.guided_gradient(Chain([nn.ReLU6(), way]), IMAGES, CLASSES)
    torch.testing.assert_close(found, expected)


def test_a_hardtanh_is_no_relu():
    with pytest.raises(ValueError, match="net has no ReLU"):
        saliency.guided_gradient(Chain([F.hardtanh, F.leaky_relu]), IMAGES, CLASSES)


class Hidden(torch.autograd.Function):
    """A ReLU whose backward pass is written by hand."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, dy):
        return dy * (ctx.saved_tensors[0] > 0)


def test_a_relu_that_may_hide_is_an_error():
    net = Chain([F.relu, Hidden.apply])
    with pytest.raises(ValueError, match="net has HiddenBackward; expected no"):
        saliency.guided_gradient(net, IMAGES, CLASSES)


@pytest.mark.parametrize("behind", [nn.ReLU(inplace=True), torch.Tensor.relu_])
def test_grad_cam_at_a_convolution_does_not_notice_what_works_in_place_behind_it(behind):
    class Net(nn.Module):
        def __init__(self, relu) -> None:
            super().__init__()
            torch.manual_seed(5)
            self.conv, self.relu, self.last = nn.Conv2d(2, 4, 3), relu, nn.Linear(4, 3)
            self.double()

        def forward(self, x):
            return self.last(self.relu(self.conv(x)).mean((2, 3)))

    plain, in_place = Net(nn.ReLU()), Net(behind)
    expected = saliency.grad_cam(plain, plain.conv, IMAGES, CLASSES)
    found = saliency.grad_cam(in_place, in_place.conv, IMAGES, CLASSES)
    torch.testing.assert_close(found, expected)
    assert expected.max() > 0


@pytest.mark.parametrize("index", [5, 6])
def test_grad_cam_needs_maps(index):
    net = convolutional()
    with pytest.raises(ValueError, match="layer gave no maps"):
        saliency.grad_cam(net, net[index], IMAGES, CLASSES)


def test_occlusion_of_a_linear_network():
    found = saliency.occlusion(linear, IMAGES, CLASSES, window=2, stride=2, fill=0.0)
    parts = (WEIGHTS[CLASSES].view(3, 2, 8, 8) * IMAGES).sum(1)  # what each pixel adds
    blocks = F.avg_pool2d(parts[:, None], 2)[:, 0] * 4
    expected = blocks.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_where_squares_overlap_occlusion_averages_them():
    parts = (WEIGHTS[CLASSES].view(3, 2, 8, 8) * IMAGES).sum(1)
    falls = F.avg_pool2d(parts[:, None], 3, stride=1)[:, 0] * 9  # of each square, (3, 6, 6)
    expected = torch.zeros(3, 8, 8).double()
    for y in range(8):
        for x in range(8):
            tops = range(max(0, y - 2), min(5, y) + 1)
            lefts = range(max(0, x - 2), min(5, x) + 1)
            over = torch.stack([falls[:, top, left] for top in tops for left in lefts])
            expected[:, y, x] = over.mean(0)
    found = saliency.occlusion(linear, IMAGES, CLASSES, window=3, stride=1, fill=0.0)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_occlusion_fills_with_grey_and_leaves_the_images_alone():
    before = IMAGES.clone()
    found = saliency.occlusion(linear, IMAGES, CLASSES, window=8, stride=1)
    gap = linear(IMAGES) - linear(torch.full_like(IMAGES, 0.5))
    expected = gap.gather(1, CLASSES[:, None])[:, 0, None, None].expand(3, 8, 8)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(IMAGES, before)


METHODS = {
    "gradient": saliency.gradient,
    "smooth": lambda *given: saliency.smooth_gradient(*given, samples=2),
    "integrated": lambda *given: saliency.integrated_gradients(*given, steps=2),
    "guided": saliency.guided_gradient,
    "cam": lambda net, *given: saliency.grad_cam(net, net[2], *given),
    "occlusion": lambda *given: saliency.occlusion(*given, window=2, stride=2),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_classes_may_be_integers_of_any_type(method, dtype):
    torch.manual_seed(0)
    expected = METHODS[method](convolutional(), IMAGES, CLASSES)
    torch.manual_seed(0)
    found = METHODS[method](convolutional(), IMAGES, CLASSES.to(dtype))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("count", "height", "width"), [(0, 8, 8), (1, 8, 8), (2, 5, 9)])
def test_batches_of_none_and_of_one_and_images_that_are_not_square(method, count, height, width):
    images = torch.rand(count, 2, height, width).double()
    found = METHODS[method](convolutional(), images, torch.arange(count) % 3)
    assert found.shape in [(count, 2, height, width), (count, height, width)]
    assert found.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_enough(method, dtype):
    torch.manual_seed(0)
    expected = METHODS[method](convolutional(), IMAGES, CLASSES)
    torch.manual_seed(0)
    found = METHODS[method](convolutional().to(dtype), IMAGES.to(dtype), CLASSES)
    assert found.shape == expected.shape
    # A difference of two logits keeps few digits; the gradients keep their direction.
    likeness = F.cosine_similarity(found.double().flatten(), expected.flatten(), dim=0)
    assert likeness > (0.5 if method == "occlusion" else 0.95)


@pytest.mark.parametrize("method", METHODS)
def test_bytes_are_no_images(method):
    with pytest.raises(ValueError, match=r"type torch\.uint8; expected"):
        METHODS[method](convolutional(), IMAGES.byte(), CLASSES)


def test_where_no_square_comes_occlusion_is_silent():
    found = saliency.occlusion(linear, IMAGES, CLASSES, window=3, stride=3)
    assert (found[:, 6:] == 0).all()
    assert (found[:, :, 6:] == 0).all()
    assert (found[:, :6, :6] != 0).all()


def test_the_energy_inside_a_mask():
    maps = torch.tensor([[[1.0, 3.0], [-5.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = torch.tensor([[[True, False], [True, False]], [[True, False], [False, False]]])
    assert saliency.energy_inside(maps, masks).tolist() == [0.25, 0.25]
    for wrong in (masks[:1], 255 * masks.byte()):
        with pytest.raises(ValueError, match=r"masks has shape .*; expected \(2, 2, 2\), bool"):
            saliency.energy_inside(maps, wrong)


def test_the_energy_inside_a_large_map_of_half_precision():
    maps = torch.full((1, 300, 300), 8.0, dtype=torch.float16)
    masks = torch.zeros(1, 300, 300, dtype=torch.bool)
    masks[:, :75] = True
    assert saliency.energy_inside(maps, masks).tolist() == [0.25]


def test_a_saliency_map_is_the_largest_over_channels():
    assert saliency.saliency_map(torch.tensor([[[[1.0]], [[-3.0]]]])).tolist() == [[[3.0]]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: saliency.gradient(linear, IMAGES, CLASSES[:2]), r"classes has shape \(2,\)"),
        (
            lambda: saliency.gradient(linear, IMAGES, CLASSES + 1),
            "classes spans 1 to 3; expected 0",
        ),
        (lambda: saliency.gradient(linear, IMAGES, CLASSES - 1), "classes spans -1 to 1"),
        (
            lambda: saliency.gradient(linear, IMAGES, CLASSES.float()),
            "classes has type torch.float32",
        ),
        (lambda: saliency.smooth_gradient(linear, IMAGES, CLASSES, samples=0), "samples is 0"),
        (lambda: saliency.integrated_gradients(linear, IMAGES, CLASSES, steps=0), "steps is 0"),
        (lambda: saliency.occlusion(linear, IMAGES, CLASSES, window=9, stride=1), "window is 9"),
        (lambda: saliency.occlusion(linear, IMAGES, CLASSES, window=2, stride=0), "stride is 0"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
