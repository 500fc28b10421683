"""How often a classifier is right."""

import torch
from torch import Tensor, nn

from dl4cv import runtime

#: Images at a time: enough to be fast, few enough for their activations to stay in memory.
CHUNK = 500


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of ``images`` whose highest score is that of their class.

    Shape: images (N, C, H, W) uint8, given to ``model`` as floats in [0, 1]; labels (N,) int64.
    Raises: ValueError if there are no images, or not one label for each.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            f"images holds {len(images)} and labels {len(labels)}; "
            "expected one label for each image, and at least one"
        )
    on, right = runtime.device(), 0
    for x, y in zip(images.split(CHUNK), labels.split(CHUNK), strict=True):
        guess = model(x.to(on).float() / 255).argmax(1)
        right += int((guess == y.to(on)).sum())
    return right / len(labels)
