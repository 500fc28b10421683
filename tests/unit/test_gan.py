"""The games against their formulas, the gradient penalty against closed forms, the networks."""

import math
from types import SimpleNamespace

import pytest
import torch
from dl4cv import exercises, training
from dl4cv.models import gan
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("cache")


def players(latent_dim: int = 3) -> gan.GAN:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    discriminator = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0))
    return gan.GAN(generator, discriminator, latent_dim=latent_dim).double()


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
    ("loss_fn", "formula"),
    [
        (gan.vanilla_loss, vanilla),
        (gan.least_squares_loss, least_squares),
        (gan.hinge_loss, hinge),
    ],
)
def test_losses_and_gradients_are_those_of_the_formula(model, loss_fn, formula):
    first, second = formula(*scores(model))
    theirs = list(model.discriminator.parameters())
    ours = list(model.generator.model.parameters())
    wanted = torch.autograd.grad(first, theirs, retain_graph=True)
    wanted_of_generator = torch.autograd.grad(second, ours)
    moves = loss_fn(model, REAL)
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


def test_the_generator_plays_against_the_updated_discriminator(model):
    moves = gan.vanilla_loss(model, REAL)
    next(moves)
    with torch.no_grad():
        model.discriminator[2].bias += 1
    _, loss = next(moves)
    torch.testing.assert_close(loss, F.softplus(-scores(model)[1]).mean())


def test_the_wasserstein_loss_updates_the_critic_on_each_batch(model, monkeypatch):
    monkeypatch.setattr(gan, "gradient_penalty", lambda critic, real, fake: torch.tensor(0.25))
    real, fake = scores(model)
    moves = list(gan.wasserstein_loss(model, REAL, REAL, REAL, penalty=8.0))
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


def test_the_penalty_can_be_differentiated_with_respect_to_the_critics_weights():
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


def test_training_moves_both_players_the_average_and_the_snapshots():
    images = torch.rand(32, 1, 28, 28)
    model = gan.GAN(gan.dense_generator(4), gan.dense_discriminator(), latent_dim=4)
    noise = model.noise(25, torch.Generator().manual_seed(0))
    history = training.fit(
        model,
        lambda step: (images,),
        gan.vanilla_loss,
        torch.optim.Adam([*model.generator.model.parameters(), *model.discriminator.parameters()]),
        name="test/gan",
        steps=4,
        after_step=gan.GAN.update_average,
        evaluate=lambda model: {"samples": (255 * model.sample(noise)).round().byte()},
        evaluate_every=2,
    )
    assert set(history.loss_terms) == {"discriminator", "generator"}
    assert int(model.generator.updates) == 4
    steps, samples = history.snapshot("samples")
    assert list(steps) == [2, 4]
    assert samples.shape == (2, 25, 1, 28, 28)
    # Sampled under bfloat16 where that is fast, which may move a pixel by a gray level or two.
    last = (255 * model.sample(noise)).round()
    torch.testing.assert_close(samples[1].float(), last, rtol=0, atol=2)
    assert not torch.equal(samples[0], samples[1])


def test_the_average_follows_the_generator(model):
    before = model.generator.average[0].weight.clone()
    with torch.no_grad():
        model.generator.model[0].weight += 1
    model.update_average()
    assert int(model.generator.updates) == 1
    assert (model.generator.average[0].weight > before).all()


def history(**terms) -> SimpleNamespace:
    return SimpleNamespace(name="test/gan", loss_terms=terms)


def test_a_discriminator_that_won_is_an_error_that_says_when():
    gan.check_discriminator(history(discriminator=[0.5] * 400 + [0.001] * 250 + [0.4] * 100))
    with pytest.raises(
        training.TrainingError, match=r"test/gan: .* below 0.01 .* from step 400 on"
    ):
        gan.check_discriminator(history(discriminator=[9.0] * 400 + [0.001] * 320))


def test_a_critic_has_no_loss_to_be_stuck_at():
    gan.check_discriminator(history(critic=[0.0] * 400))


def test_frozen_leaves_alone_what_was_frozen_before():
    layer = nn.Linear(2, 1)
    layer.bias.requires_grad_(False)
    with gan.frozen(layer):
        assert not layer.weight.requires_grad
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_losses_are_finite_in_every_precision(dtype):
    model, real = players().to(dtype), REAL.to(dtype)
    for loss_fn in (gan.vanilla_loss, gan.least_squares_loss, gan.hinge_loss, gan.wasserstein_loss):
        for _, loss in loss_fn(model, real):
            assert loss.isfinite()
            assert loss.dtype == dtype


@pytest.mark.parametrize("count", [0, 1, 501])
def test_any_number_of_images_is_sampled(count):
    model = gan.GAN(
        gan.convolutional_generator(3, hidden=4, width=1),
        gan.convolutional_discriminator(hidden=4, width=1),
        latent_dim=3,
    )
    assert model.sample(model.noise(count)).shape == (count, 1, 28, 28)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.sample(torch.zeros(2, 4)), r"noise has shape \(2, 4\); expected \(N, 3\)"),
        (lambda m: next(gan.hinge_loss(m, REAL[:0])), r"real has shape \(0, 4\)"),
        (lambda m: next(gan.hinge_loss(m, REAL.long())), "dtype torch.int64; expected .* floats"),
        (lambda m: next(gan.wasserstein_loss(m)), "real has no batches"),
        (lambda m: gan.gradient_penalty(m.discriminator, REAL[:0], REAL[:0]), r"real has shape"),
        (lambda m: gan.InstanceNoise(-0.1), r"std is -0.1; expected at least 0"),
        (lambda m: players(latent_dim=0), "latent_dim is 0; expected 1 or more"),
        (lambda m: gan.check_discriminator(history(), window=0), "window is 0; expected 1"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(players())


def test_exercises_tell_right_from_wrong():
    check = exercises.check
    assert check("gans/optimal_discriminator", lambda p, q: p / (p + q)).passed
    assert not check("gans/optimal_discriminator", lambda p, q: q / (p + q)).passed

    def norms(g):
        return g.flatten(1).norm(dim=1)

    assert check("gans/gradient_penalty", lambda g: (norms(g) - 1).square().mean()).passed
    assert not check("gans/gradient_penalty", lambda g: (g.norm() - 1).square()).passed
