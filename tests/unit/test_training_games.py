"""Losses of several terms, minimized in turn, and the moving average of weights."""

import pytest
import torch
from dl4cv import runtime, training
from torch import nn

pytestmark = pytest.mark.usefixtures("cache")


class Two(nn.Module):
    """Two numbers that play against each other."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(1.0))
        self.y = nn.Parameter(torch.tensor(2.0))


def game(model, batch):
    """x descends on x·y, then y climbs on it, from where x is by then."""
    yield "x", model.x * model.y.detach()
    yield "y", -model.x.detach() * model.y


def fit(model, loss_fn, steps=3, **settings):
    optimizer = settings.pop("optimizer", torch.optim.SGD(model.parameters(), lr=0.1))
    batches = settings.pop("batches", lambda step: (torch.zeros(4),))
    return training.fit(
        model, batches, loss_fn, optimizer, **{"name": "test/game", "steps": steps} | settings
    )


def test_terms_are_minimized_one_after_another():
    model, x, y = Two(), 1.0, 2.0
    history = fit(model, game)
    losses = {"x": [], "y": []}
    for _ in range(3):
        losses["x"].append(x * y)
        x -= 0.1 * y
        losses["y"].append(-x * y)
        y += 0.1 * x
    assert (model.x.item(), model.y.item()) == pytest.approx((x, y), rel=1e-6)
    assert history.loss_terms["x"] == pytest.approx(losses["x"], rel=1e-6)
    assert history.loss_terms["y"] == pytest.approx(losses["y"], rel=1e-6)
    sums = [a + b for a, b in zip(losses["x"], losses["y"], strict=True)]
    assert history.losses == pytest.approx(sums, abs=1e-6)


def test_a_term_moves_only_what_it_reaches_even_with_momentum():
    model = Two()

    def only_x(model, batch):
        yield "x", model.x.square()

    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    fit(model, only_x, optimizer=optimizer)
    assert model.y.item() == 2.0
    assert model.x.item() < 1.0


def test_a_term_that_is_yielded_twice_is_recorded_as_its_mean():
    model = Two()

    def twice(model, batch):
        yield "x", model.x.square()
        yield "x", model.x.square()

    history = fit(model, twice, steps=1)
    assert model.x.item() == pytest.approx(0.64, rel=1e-6)
    assert history.loss_terms == {"x": pytest.approx([(1 + 0.64) / 2])}


def test_terms_come_from_the_store():
    first = fit(Two(), game)
    again = fit(Two(), game)
    assert (first.trained_now, again.trained_now) == (True, False)
    assert first.loss_terms == again.loss_terms


def test_a_term_that_is_not_finite_is_named():
    def bad(model, batch):
        yield "x", model.x * 1
        yield "y", model.y * torch.inf

    with pytest.raises(training.TrainingError, match="the loss of y is inf at step 0"):
        fit(Two(), bad)


def test_a_game_that_yields_nothing_is_an_error():
    with pytest.raises(ValueError, match="loss_fn yielded nothing at step 0"):
        fit(Two(), lambda model, batch: iter(()))


def test_after_step_waits_for_all_terms():
    model, seen = Two(), []
    fit(
        model, game, steps=1, after_step=lambda model: seen.append((model.x.item(), model.y.item()))
    )
    assert seen == [(model.x.item(), model.y.item())]


def test_the_average_is_updated_after_each_step():
    model = training.EMA(nn.Linear(2, 1), decay=0.5)
    before = model.model.weight.detach().clone()

    def loss_fn(model, batch):
        return model.model.weight.sum() + 0 * model(torch.zeros(1, 2)).sum()

    optimizer = torch.optim.SGD(model.model.parameters(), lr=0.1)
    fit(model, loss_fn, steps=1, optimizer=optimizer, after_step=lambda ema: ema.update())
    # The first update keeps 2/11 of the old weights.
    expected = before * 2 / 11 + (before - 0.1) * 9 / 11
    torch.testing.assert_close(model.average.weight.cpu(), expected, atol=1e-6, rtol=0)


def test_the_average_follows_its_formula_and_serves_evaluation():
    model = training.EMA(nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1)))
    model.decay = 0.3
    weights = [model.model[0].weight.detach().clone()]
    mean = weights[0].clone()
    for t in range(1, 6):
        with torch.no_grad():
            model.model[0].weight.add_(t)
        model.model(torch.rand(4, 1))
        model.update()
        keep = min(0.3, (1 + t) / (10 + t))
        mean = keep * mean + (1 - keep) * model.model[0].weight
    torch.testing.assert_close(model.average[0].weight, mean.detach())
    torch.testing.assert_close(model.average[1].running_mean, model.model[1].running_mean)
    x = torch.rand(3, 1)
    torch.testing.assert_close(model.train()(x), model.model(x))
    model.eval()
    torch.testing.assert_close(model(x), model.average(x))
    assert not any(p.requires_grad for p in model.average.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_an_error(decay):
    with pytest.raises(ValueError, match="decay is"):
        training.EMA(nn.Linear(1, 1), decay=decay)


def test_losses_of_a_game_are_computed_under_autocast():
    seen = []

    def watching(model, batch):
        seen.append(torch.is_autocast_enabled(runtime.device().type))
        yield "x", model.x.square()
        seen.append(torch.is_autocast_enabled(runtime.device().type))

    fit(Two(), watching, steps=1)
    assert seen == [runtime.has_fast_bf16(runtime.device())] * 2
