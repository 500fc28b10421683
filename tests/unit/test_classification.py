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


@pytest.mark.parametrize(("images", "labels"), [(0, 0), (3, 2)])
def test_what_is_wrong_is_named(images, labels):
    x = torch.zeros(images, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match=f"images holds {images} and labels {labels}; expected"):
        classification.accuracy(Brightest(), x, torch.zeros(labels).long())
