"""Adversarial examples: inside the ball, inside the picture, and in the right direction."""

import pytest
import torch
from dl4cv.explain import adversarial
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

LABELS = torch.tensor([0, 1, 2, 1])


def images(seed: int = 0) -> torch.Tensor:
    return torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.Tanh(), nn.Linear(16, 3))


def losses(model, batch):
    return F.cross_entropy(model(batch), LABELS, reduction="none")


@settings(max_examples=30, deadline=None)
@given(
    epsilon=st.floats(0, 0.5),
    rate=st.floats(0, 0.3),
    steps=st.integers(1, 5),
    targeted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_no_pixel_leaves_the_ball_or_the_picture(epsilon, rate, steps, targeted, seed):
    model, batch = net(), images(seed)
    found = [
        adversarial.fgsm(model, batch, LABELS, epsilon=epsilon, targeted=targeted),
        adversarial.pgd(
            model, batch, LABELS, epsilon=epsilon, rate=rate, steps=steps, targeted=targeted
        ),
    ]
    for moved in found:
        assert moved.shape == batch.shape
        assert (moved - batch).abs().max() <= epsilon + 1e-6
        assert moved.min() >= 0
        assert moved.max() <= 1


def test_on_a_linear_network_the_step_is_the_sign_of_the_weights():
    weights = torch.randn(36, generator=torch.Generator().manual_seed(3))

    def logits(batch):  # of two classes
        score = batch.flatten(1) @ weights
        return torch.stack([score, -score], 1)

    batch = images().clamp(0.2, 0.8)
    moved = adversarial.fgsm(logits, batch, torch.zeros(4).long(), epsilon=0.1)
    expected = -0.1 * weights.sign().view(1, 1, 6, 6).expand_as(batch)
    torch.testing.assert_close(moved - batch, expected)
    toward = adversarial.fgsm(logits, batch, torch.zeros(4).long(), epsilon=0.1, targeted=True)
    torch.testing.assert_close(toward - batch, -expected)


def test_the_loss_rises_and_more_with_many_steps():
    model, batch = net(), images()
    one = adversarial.fgsm(model, batch, LABELS, epsilon=0.2)
    many = adversarial.pgd(
        model, batch, LABELS, epsilon=0.2, rate=0.05, steps=40, generator=torch.Generator()
    )
    before = losses(model, batch)
    assert (losses(model, one) > before).all()
    assert (losses(model, many) > before).all()
    assert losses(model, many).sum() >= losses(model, one).sum() - 1e-4


def test_a_target_is_approached():
    model, batch = net(), images()
    moved = adversarial.pgd(model, batch, LABELS, epsilon=0.3, rate=0.05, steps=20, targeted=True)
    assert (losses(model, moved) < losses(model, batch)).all()


def test_many_steps_start_at_random_but_from_the_generator():
    model, batch = net(), images()

    def attack(seed):
        generator = torch.Generator().manual_seed(seed)
        return adversarial.pgd(
            model, batch, LABELS, epsilon=0.1, rate=0.0, steps=1, generator=generator
        )

    assert torch.equal(attack(1), attack(1))
    assert not torch.equal(attack(1), attack(2))
    assert not torch.equal(attack(1), batch)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": -0.1}, "epsilon is -0.1; expected at least 0"),
        ({"epsilon": 0.1, "steps": 0}, "steps is 0; expected at least 1"),
        ({"epsilon": 0.1, "scale": 255}, r"images spans \[.*\]; expected floats in \[0, 1\]"),
    ],
)
def test_wrong_arguments_are_named(settings, message):
    batch = images() * settings.pop("scale", 1)
    with pytest.raises(ValueError, match=message):
        adversarial.pgd(net(), batch, LABELS, rate=0.1, **({"steps": 1} | settings))
