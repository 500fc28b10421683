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
        ({"epsilon": float("nan")}, "epsilon is nan; expected at least 0"),
        ({"epsilon": 0.1, "scale": 255}, r"images spans \[.*\]; expected floats in \[0, 1\]"),
    ],
)
def test_wrong_arguments_are_named(settings, message):
    batch = images() * settings.pop("scale", 1)
    with pytest.raises(ValueError, match=message):
        adversarial.pgd(net(), batch, LABELS, rate=0.1, **({"steps": 1} | settings))


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_labels_may_be_integers_of_any_type(attack, dtype):
    model, batch = net(), images()
    found = []
    for labels in (LABELS, LABELS.to(dtype)):
        if attack == "fgsm":
            found.append(adversarial.fgsm(model, batch, labels, epsilon=0.1))
        else:
            found.append(
                adversarial.pgd(
                    model,
                    batch,
                    labels,
                    epsilon=0.1,
                    rate=0.05,
                    steps=2,
                    generator=torch.Generator().manual_seed(0),
                )
            )
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:3], r"classes has shape \(3,\) with logits of \(4, 3\)"),
        (LABELS + 1, "classes spans 1 to 3; expected 0 to 2"),
        (LABELS.float(), "classes has type torch.float32; expected integers"),
        (F.one_hot(LABELS), r"classes has shape \(4, 3\)"),
    ],
)
def test_labels_that_are_no_classes_are_errors(labels, message):
    with pytest.raises(ValueError, match=message):
        adversarial.fgsm(net(), images(), labels, epsilon=0.1)


def test_bytes_are_no_images():
    batch = (images() * 255).byte()
    with pytest.raises(ValueError, match=r"images has shape .* and type torch.uint8; expected"):
        adversarial.fgsm(net(), batch, LABELS, epsilon=0.1)


def test_an_empty_batch_comes_back_empty():
    model, none = net(), images()[:0]
    for labels in (LABELS[:0], LABELS[:0].int()):
        assert adversarial.fgsm(model, none, labels, epsilon=0.1).shape == (0, 1, 6, 6)
        assert adversarial.pgd(model, none, labels, epsilon=0.1, rate=0.1, steps=2).shape == (
            0,
            1,
            6,
            6,
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_attacks_keep_the_type_of_the_images(dtype):
    model, batch = net().to(dtype), images().to(dtype)
    moved = adversarial.pgd(model, batch, LABELS, epsilon=0.25, rate=0.1, steps=3)
    assert moved.dtype == dtype
    assert (moved - batch).abs().max() <= 0.25 + 1e-2
    assert 0 <= moved.min() <= moved.max() <= 1


def test_the_last_step_of_many_is_held_too():
    # One step that is longer than the ball is wide must end on its border.
    model, batch = net(), images().clamp(0.4, 0.6)
    moved = adversarial.pgd(model, batch, LABELS, epsilon=0.1, rate=5.0, steps=1)
    torch.testing.assert_close((moved - batch).abs(), torch.full_like(batch, 0.1))
