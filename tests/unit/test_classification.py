"""Accuracy against a count by hand, over sizes that do not divide."""

import pytest
import torch
from dl4cv.metrics import classification
from torch import nn


class Brightest(nn.Module):
    """Gives class k the brightness of pixel k."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.max() <= 1
        return images.flatten(1)


@pytest.mark.parametrize("count", [1, 499, 500, 1234])
def test_accuracy_counts_what_is_right(count):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(256, (count, 1, 2, 2), generator=generator, dtype=torch.uint8)
    labels = torch.randint(4, (count,), generator=generator)
    rows = zip(images.flatten(1).tolist(), labels.tolist(), strict=True)
    right = sum(row.index(max(row)) == label for row, label in rows)
    assert classification.accuracy(Brightest(), images, labels) == right / count


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_labels_may_be_integers_of_any_type(dtype):
    images = torch.randint(256, (50, 1, 2, 2), dtype=torch.uint8)
    labels = images.flatten(1).argmax(1).to(dtype)
    assert classification.accuracy(Brightest(), images, labels) == 1


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(0, 1, 2, 2).byte(), torch.zeros(0).long()),
        (torch.zeros(3, 1, 2, 2).byte(), torch.zeros(2).long()),
        (torch.zeros(3, 1, 2, 2).byte(), torch.zeros(3, 1).long()),
        (torch.zeros(3, 1, 2, 2), torch.zeros(3).long()),
    ],
)
def test_what_is_wrong_is_named(images, labels):
    with pytest.raises(ValueError, match=r"images has shape \(.*\) and type .*; expected"):
        classification.accuracy(Brightest(), images, labels)


def test_no_gradients_are_kept():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
    model.register_forward_hook(lambda *given: seen.append(given[-1].requires_grad))
    seen: list[bool] = []
    classification.accuracy(model, torch.zeros(3, 1, 2, 2).byte(), torch.zeros(3).long())
    assert seen == [False]
