"""How often a classifier is right."""

import torch
from torch import Tensor, nn

from dl4cv import runtime

#: Images at a time: enough to be fast, few enough for their activations to stay in memory.
BATCH_SIZE = 500


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of ``images`` whose highest logit is that of their class.

    Its standard error is ``evidence.standard_error(accuracy, len(labels))``.

    Args:
        model: maps floats in [0, 1], (N, C, H, W), to logits (N, K).
        images: (N, C, H, W) uint8.
        labels: (N,), integers of any type.

    Raises:
        ValueError: if there are no images, they are not uint8, or not one label is there for each.
    """
    if len(images) == 0 or labels.shape != images.shape[:1] or images.dtype != torch.uint8:
        raise ValueError(
            f"images has shape {tuple(images.shape)} and type {images.dtype}, labels has shape "
            f"{tuple(labels.shape)}; expected (N, C, H, W) uint8 and (N,), with N at least 1"
        )
    on, correct = runtime.device(), 0
    for x, y in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True):
        guess = model(x.to(on).float() / 255).argmax(1)
        correct += int((guess == y.to(on)).sum())
    return correct / len(labels)
