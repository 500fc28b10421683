"""The games against their formulas, the gradient penalty against closed forms, the film."""

import math

import pytest
import torch
from dl4cv import training
from dl4cv.models import gan
from torch import nn
from torch.nn import functional as F


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path))


def players(**settings) -> gan.GAN:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    discriminator = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0))
    return gan.GAN(generator, discriminator, latent=3, **settings).double()


@pytest.fixture
def model(monkeypatch) -> gan.GAN:
    """Players whose noise is always the same, in float64."""
    made = players()
    noise = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    monkeypatch.setattr(made, "noise", lambda count, generator=None: noise[:count])
    return made


REAL = torch.randn(6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def scores(model: gan.GAN) -> tuple[torch.Tensor, torch.Tensor]:
    return model.discriminator(REAL), model.discriminator(model.generator(model.noise(6)))


def vanilla(real, fake):
    loss = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    return loss(real, ones) + loss(fake, zeros), loss(fake, ones)


def least_squares(real, fake):
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    mse = F.mse_loss
    return (mse(real, ones) + mse(fake, zeros)) / 2, mse(fake, ones) / 2


def hinge(real, fake):
    ones = torch.ones_like(real)
    loss = F.hinge_embedding_loss  # of −1: how far the input falls short of the margin
    return loss(real, -ones) + loss(-fake, -ones), -fake.mean()


@pytest.mark.parametrize(
    ("game", "formula"),
    [
        (gan.vanilla_game, vanilla),
        (gan.least_squares_game, least_squares),
        (gan.hinge_game, hinge),
    ],
)
def test_losses_and_gradients_are_those_of_the_formula(model, game, formula):
    first, second = formula(*scores(model))
    theirs = list(model.discriminator.parameters())
    ours = list(model.generator.model.parameters())
    wanted = torch.autograd.grad(first, theirs, retain_graph=True)
    wanted_of_generator = torch.autograd.grad(second, ours)
    moves = game(model, REAL)
    part, loss = next(moves)
    assert part == "discriminator"
    torch.testing.assert_close(loss, first)
    loss.backward()
    assert all(p.grad is None for p in ours)
    torch.testing.assert_close([p.grad for p in theirs], list(wanted))
    model.zero_grad(set_to_none=True)
    part, loss = next(moves)
    assert part == "generator"
    torch.testing.assert_close(loss, second)
    loss.backward()
    assert all(p.grad is None for p in theirs)
    torch.testing.assert_close([p.grad for p in ours], list(wanted_of_generator))
    assert all(p.requires_grad for p in theirs)
    assert list(moves) == []
    assert int(model.generator.updates) == 1


def test_the_generator_answers_the_discriminator_as_it_is_by_then(model):
    moves = gan.vanilla_game(model, REAL)
    next(moves)
    with torch.no_grad():
        model.discriminator[2].bias += 1
    _, loss = next(moves)
    torch.testing.assert_close(loss, F.softplus(-scores(model)[1]).mean())


def test_the_wasserstein_game_gives_the_critic_its_turns(model, monkeypatch):
    monkeypatch.setattr(gan, "gradient_penalty", lambda critic, real, fake: torch.tensor(0.25))
    real, fake = scores(model)
    moves = list(gan.wasserstein_game(model, REAL, REAL, REAL, penalty=8.0))
    assert [part for part, _ in moves] == ["critic", "critic", "critic", "generator"]
    for _, loss in moves[:3]:
        torch.testing.assert_close(loss, fake.mean() - real.mean() + 8 * 0.25)
    torch.testing.assert_close(moves[3][1], -fake.mean())


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("pixels", [1, 9])
def test_the_penalty_of_a_linear_critic(slope, pixels):
    real, fake = torch.rand(4, pixels), torch.rand(4, pixels)
    penalty = gan.gradient_penalty(lambda x: slope * x.flatten(1).sum(1), real, fake)
    assert penalty.item() == pytest.approx((slope * math.sqrt(pixels) - 1) ** 2, abs=1e-5)


def test_the_penalty_is_taken_between_real_and_fake_image_by_image():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.square().flatten(1).sum(1) / 2  # its gradient is x itself

    real, fake = torch.zeros(500, 1, 2, 2), torch.ones(500, 1, 2, 2)
    penalty = gan.gradient_penalty(critic, real, fake)
    (between,) = seen
    share = between[:, 0, 0, 0]
    torch.testing.assert_close(between, share[:, None, None, None].expand_as(between))
    assert share.min() < 0.05
    assert share.max() > 0.95
    torch.testing.assert_close(penalty, (2 * share - 1).square().mean())


def test_the_penalty_can_be_differentiated_by_the_critics_weights():
    weight = torch.tensor([2.0, 0.0], requires_grad=True)
    gan.gradient_penalty(lambda x: x @ weight, torch.rand(3, 2), torch.rand(3, 2)).backward()
    torch.testing.assert_close(weight.grad, torch.tensor([2.0, 0.0]))  # 2 (‖w‖ − 1) w / ‖w‖


def test_a_penalty_between_shapes_that_differ_is_an_error():
    with pytest.raises(ValueError, match=r"real has shape \(3, 2\), fake \(4, 2\)"):
        gan.gradient_penalty(lambda x: x.sum(1), torch.rand(3, 2), torch.rand(4, 2))


def test_frozen_lets_gradients_through_and_ends_after_an_error():
    layer = nn.Linear(2, 1)
    x = torch.rand(3, 2, requires_grad=True)
    with pytest.raises(KeyError), gan.frozen(layer):  # noqa: PT012
        layer(x).sum().backward()
        raise KeyError
    assert layer.weight.grad is None
    assert x.grad is not None
    assert layer.weight.requires_grad


@pytest.mark.parametrize(
    ("generator", "discriminator"),
    [
        (gan.dense_generator, gan.dense_discriminator),
        (gan.convolutional_generator, gan.convolutional_discriminator),
    ],
)
def test_networks_have_the_shapes_they_say(generator, discriminator):
    images = generator(5)(torch.randn(3, 5))
    assert images.shape == (3, 1, 28, 28)
    assert images.min() >= 0
    assert images.max() <= 1
    assert discriminator()(images).shape == (3,)


def test_instance_noise_is_added_in_training_only():
    torch.manual_seed(0)
    noise, images = gan.InstanceNoise(0.3), torch.rand(100, 1, 28, 28)
    added = noise(images) - images
    assert added.mean().item() == pytest.approx(0, abs=0.01)
    assert added.std().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(noise.eval()(images), images, rtol=0, atol=0)


def test_each_kind_of_networks_learns_a_few_steps_and_films_them():
    images = torch.rand(32, 1, 28, 28)
    model = gan.GAN(gan.dense_generator(4), gan.dense_discriminator(), latent=4, frames=2)

    def evaluate(model):
        model.record()
        return {"count": float(model.filmed)}

    def fit():
        return training.fit(
            model,
            lambda step: (images,),
            gan.vanilla_game,
            torch.optim.Adam(
                [*model.generator.model.parameters(), *model.discriminator.parameters()]
            ),
            name="test/gan",
            steps=4,
            evaluate=evaluate,
            evaluate_every=2,
        )

    history = fit()
    assert set(history.loss_terms) == {"discriminator", "generator"}
    assert int(model.filmed) == 2
    last = model.sample(model.noise(gan.GAN.CAST, torch.Generator().manual_seed(0)))
    # Filmed under bfloat16 where that is fast, which may move a pixel by a grey level or two.
    torch.testing.assert_close(model.film[1].float(), (last * 255).round(), rtol=0, atol=2)
    assert not torch.equal(model.film[0], model.film[1])
    with pytest.raises(IndexError):
        model.record()


def history(losses) -> training.History:
    return training.History("test/gan", "", losses, {"discriminator": losses})


def test_a_discriminator_that_won_is_an_error_that_says_when():
    gan.check_balance(history([0.5] * 400 + [0.001] * 250 + [0.4] * 100))
    with pytest.raises(
        training.TrainingError, match=r"test/gan: .* below 0.01 .* from step 400 on"
    ):
        gan.check_balance(history([9.0] * 400 + [0.001] * 320))


def test_a_critic_has_no_loss_to_be_stuck_at():
    game = history([0.0] * 400)
    game.loss_terms["critic"] = game.loss_terms.pop("discriminator")
    gan.check_balance(game)
