"""The speed run: its networks, and its recipe."""

import pytest
import torch
from dl4cv import recipes
from dl4cv.data.labelled import LabelledImages
from dl4cv.models import sprint
from torch import nn
from torch.nn import functional as F


@pytest.fixture
def bars(cache):
    """Images of a horizontal and a vertical bar, and an empty run store."""
    images = torch.zeros(512, 1, 28, 28, dtype=torch.uint8)
    images[::2, :, 12:16] = 255
    images[1::2, :, :, 12:16] = 255
    return LabelledImages(images, torch.arange(512) % 2, ("across", "down"), "00" * 32)


@pytest.mark.parametrize("count", [1, 5])
def test_an_image_gets_ten_scores_that_do_not_depend_on_its_batch(count):
    torch.manual_seed(0)
    model, images = sprint.Sprint().eval(), torch.rand(count, 1, 28, 28)
    scores = model(images)
    assert scores.shape == (count, 10)
    torch.testing.assert_close(model(images[:1]), scores[:1], atol=1e-5, rtol=1e-4)


def test_it_overfits_a_batch():
    torch.manual_seed(0)
    model, images, labels = sprint.Sprint(), torch.rand(16, 1, 28, 28), torch.arange(16) % 10
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    assert F.cross_entropy(model(images), labels) < 0.05


def test_a_run_learns_and_repeats(bars):
    first = recipes.sprint(bars, bars, seed=3, steps=8)
    again = recipes.sprint(bars, bars, seed=3, steps=8)
    assert first.trained_now
    assert not again.trained_now
    assert first.losses == again.losses
    assert first.last("accuracy") > 0.9
    assert recipes.sprint(bars, bars, seed=4, steps=8).losses != first.losses


def test_a_perfect_score_still_costs_a_little(bars):
    # With a tenth of each label spread over all classes, being sure is not free.
    class Sure(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(30.0))

        def forward(self, images):
            down = images[:, 0, 0, 14:15] > 0.5  # (N, 1)
            return self.scale * torch.cat(
                [
                    1 - 2 * down.float(),
                    2 * down - 1.0,
                    *[-torch.ones_like(images[:, 0, 0, :1])] * 8,
                ],
                1,
            )

    def loss(**keywords):
        return recipes.sprint(bars, bars, 0, steps=1, network=Sure, **keywords).losses[0]

    assert loss() == pytest.approx(0.1 * 0.9 * 60, rel=1e-2)
    assert loss(label_smoothing=0.0) == pytest.approx(0, abs=1e-6)


def test_each_part_of_the_recipe_can_be_taken_away(bars):
    whole = recipes.sprint(bars, bars, 0, steps=4)
    for part in ({"lr": 1e-3}, {"betas": (0.9, 0.999)}, {"one_cycle": False}):
        assert recipes.sprint(bars, bars, 0, steps=4, **part).losses != whole.losses


def test_the_baseline_is_the_network_of_the_usual_example():
    model = sprint.baseline()
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert sum(p.numel() for p in model.parameters()) == 1_199_882
