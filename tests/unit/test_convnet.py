"""Networks from the book's own convolutions, and how far their units see."""

import pytest
import torch
from dl4cv import layers, losses, optim
from dl4cv.layers.receptive_field import receptive_fields
from dl4cv.models import convnet


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "make",
    [convnet.three_layers, convnet.deep, lambda **g: convnet.deep((4, 4), normalize=False, **g)],
)
def test_a_net_overfits_one_batch(make):
    net, x, y = make(generator=torch.Generator().manual_seed(0)), images(8), torch.arange(8)
    optimizer = optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss, dscores = losses.softmax_loss(net(x), y)
        net.backward(dscores)
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize(
    "settings",
    [
        [(3, 1, 1)],
        [(5, 2, 2), (3, 1, 1)],
        [(3, 2, 1), (3, 2, 1), (3, 1, 1)],
        [(3, 1, 1), "pool", (3, 1, 1), "pool", (5, 1, 2)],
    ],
)
def test_receptive_field_equals_where_the_gradient_reaches(settings):
    net = layers.Sequential()
    for setting in settings:
        layer = layers.MaxPool2d(2) if setting == "pool" else layers.Conv2d(1, 1, *setting)
        if isinstance(layer, layers.Conv2d):
            layer.weight.fill_(1)
        net.append(layer)
    side = 65
    # Each pixel has a turn to win the maxima, so each one that can be seen is seen.
    seen = torch.zeros(side, side, dtype=torch.bool)
    for seed in range(30):
        x = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(seed))
        y = net(x)
        dy = torch.zeros_like(y)
        dy[0, 0, y.shape[2] // 2, y.shape[3] // 2] = 1
        seen |= net.backward(dy)[0, 0] > 0
    rows = seen.any(1).nonzero()
    reach = receptive_fields(net)[-1]
    assert int(rows[-1] - rows[0]) + 1 == reach.size
    shift = torch.zeros_like(dy)
    shift[0, 0, y.shape[2] // 2 + 1, y.shape[3] // 2] = 1
    net(x)
    if "pool" not in settings:
        moved = (net.backward(shift)[0, 0] > 0).any(1).nonzero()
        assert int(moved[0] - rows[0]) == reach.stride


@pytest.mark.parametrize("make", [convnet.three_layers, convnet.deep])
def test_color_images_in_any_number(make):
    net = make(in_channels=3, num_classes=4)
    net.eval()
    for count in (0, 1, 3):
        assert net(torch.rand(count, 3, 28, 28)).shape == (count, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: convnet.deep((8,)), r"widths is \(8,\); expected at least two"),
        (lambda: convnet.deep((8, 0)), r"widths is \(8, 0\); expected one or more"),
        (lambda: convnet.three_layers(0), "filters is 0; expected 1 or more"),
    ],
)
def test_a_size_that_does_not_exist_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("layer", [layers.Linear(4, 4), torch.nn.Conv2d(1, 1, 3)])
def test_a_reach_that_cannot_be_told_is_an_error(layer):
    with pytest.raises(ValueError, match=rf"net holds a {type(layer).__name__}; expected"):
        receptive_fields([layers.Conv2d(1, 1, 3), layer])
