"""The speed run: its network, and that a run is what it says."""

import pytest
import torch
from dl4cv.data.labelled import LabelledImages
from dl4cv.models import sprint
from torch.nn import functional as F


@pytest.fixture
def bars(tmp_path, monkeypatch):
    """Images of a horizontal and a vertical bar, and a run store of their own."""
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path))
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
    first = sprint.run(bars, bars, seed=3, steps=8)
    again = sprint.run(bars, bars, seed=3, steps=8)
    assert first.trained_now
    assert not again.trained_now
    assert first.losses == again.losses
    assert first.last("accuracy") > 0.9
    assert sprint.run(bars, bars, seed=4, steps=8).losses != first.losses


def test_a_perfect_score_still_costs_a_little():
    # With a tenth of each label spread over all classes, being sure is not free.
    scores = torch.full((1, 10), -30.0)
    scores[0, 4] = 30.0
    loss = sprint.loss_fn(lambda images: scores, torch.zeros(1), torch.tensor([4]))
    assert loss.item() == pytest.approx(0.1 * 0.9 * 60, rel=1e-4)
