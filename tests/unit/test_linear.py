"""The linear classifier against torch.nn.Linear with autograd."""

import pytest
import torch
from dl4cv import gradcheck, losses
from dl4cv.models import linear
from torch import nn
from torch.nn import functional as F


def problem(count: int = 9, features: int = 6, classes: int = 4, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    model = linear.LinearClassifier(
        features, classes, generator=generator, std=0.5, dtype=torch.float64
    )
    model.bias += torch.randn(classes, generator=generator, dtype=torch.float64)
    images = torch.randn(count, features, generator=generator, dtype=torch.float64)
    return model, images, torch.randint(classes, (count,), generator=generator)


def twin(model: linear.LinearClassifier) -> nn.Linear:
    classes, features = model.weight.shape
    other = nn.Linear(features, classes, dtype=torch.float64)
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (losses.softmax_loss, F.cross_entropy),
        (losses.svm_loss, lambda s, y: s.shape[1] * F.multi_margin_loss(s, y)),
    ],
)
def test_loss_and_gradients_equal_torchs(ours, torchs, l2):
    model, images, labels = problem()
    other = twin(model)
    torch.testing.assert_close(model.scores(images), other(images).detach())
    expected = torchs(other(images), labels) + l2 * other.weight.square().sum()
    expected.backward()
    loss, gradients = model.loss(images, labels, ours, l2)
    torch.testing.assert_close(loss, expected.detach(), atol=1e-10, rtol=1e-10)
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("loss_fn", [losses.softmax_loss, losses.svm_loss])
def test_gradients_equal_numerical_ones(loss_fn, name):
    model, images, labels = problem(seed=1)
    _, gradients = model.loss(images, labels, loss_fn, 0.1)

    def value(moved):
        model.load_state_dict({**model.state_dict(), name: moved})
        return model.loss(images, labels, loss_fn, 0.1)[0]

    numerical = gradcheck.numerical_gradient(value, getattr(model, name))
    assert gradcheck.relative_error(gradients[name], numerical) < 1e-8


def test_predicts_the_highest_score():
    model = linear.LinearClassifier(2, 3)
    model.load_state_dict(
        {"weight": torch.tensor([[1.0, 0], [0, 1], [-1, -1]]), "bias": torch.tensor([0.0, 0, 5])}
    )
    images = torch.tensor([[9.0, 0], [0, 9], [1, 1]])
    assert model.predict(images).tolist() == [0, 1, 2]


@pytest.mark.parametrize("loss_fn", [losses.softmax_loss, losses.svm_loss])
def test_learns_one_batch_by_heart(loss_fn):
    _, images, labels = problem(count=12, features=20)
    model = linear.LinearClassifier(20, 4, dtype=torch.float64)
    for _ in range(200):
        _, gradients = model.loss(images, labels, loss_fn)
        for name, parameter in model.state_dict().items():
            parameter -= 0.5 * gradients[name]
    assert torch.equal(model.predict(images), labels)


def test_state_goes_round_and_is_a_copy():
    model, images, _ = problem()
    other = linear.LinearClassifier(6, 4, dtype=torch.float64)
    other.load_state_dict(twin(model).state_dict())
    torch.testing.assert_close(other.scores(images), model.scores(images))
    model.weight += 1
    assert not torch.equal(other.weight, model.weight)


def test_first_weights_are_small_and_follow_the_generator():
    first, second = (
        linear.LinearClassifier(784, 10, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(first.weight, second.weight)
    assert first.weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert not first.bias.any()


def test_what_is_wrong_is_named():
    model, images, labels = problem()
    with pytest.raises(ValueError, match=r"images has shape \(9, 5\); expected \(N, 6\)"):
        model.scores(images[:, 1:])
    with pytest.raises(ValueError, match=r"images has shape \(6,\); expected \(N, 6\)"):
        model.predict(images[0])
    with pytest.raises(ValueError, match="l2 is -1; expected a number of at least 0"):
        model.loss(images, labels, losses.svm_loss, -1)
    with pytest.raises(ValueError, match="labels holds 4; expected classes from 0 to 3"):
        model.loss(images, labels + 4 - labels, losses.softmax_loss)
    with pytest.raises(ValueError, match="in_features is 0 and out_features 3"):
        linear.LinearClassifier(0, 3)
    with pytest.raises(ValueError, match="std is -1; expected at least 0"):
        linear.LinearClassifier(2, 3, std=-1)
    with pytest.raises(ValueError, match=r"images has dtype torch.uint8; expected torch.float64"):
        model.scores(images.byte())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_about_the_same_scores(dtype):
    model, images, _ = problem()
    half = linear.LinearClassifier(6, 4, dtype=dtype)
    half.load_state_dict(model.state_dict())
    scores = half.scores(images.to(dtype))
    assert scores.dtype == dtype
    torch.testing.assert_close(scores.double(), model.scores(images), atol=0.05, rtol=0.05)
    assert half.predict(images[:0].to(dtype)).shape == (0,)


def test_a_state_that_does_not_fit_changes_nothing():
    model, _, _ = problem()
    before = model.weight.clone()
    with pytest.raises(ValueError, match=r"state has the keys \['weight'\]; expected"):
        model.load_state_dict({"weight": before + 1})
    with pytest.raises(ValueError, match=r"bias in state has shape \(3,\); expected \(4,\)"):
        model.load_state_dict({"weight": before + 1, "bias": torch.zeros(3)})
    assert torch.equal(model.weight, before)
