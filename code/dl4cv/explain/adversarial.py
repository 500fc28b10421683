"""Adversarial examples: small changes that make a network err.

Images are floats in [0, 1], ``net`` maps them to logits (N, K), and no pixel moves by more than ε.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.explain.inputs import Net, as_classes, check_images


def fgsm(
    net: Net, images: Tensor, labels: Tensor, *, epsilon: float, targeted: bool = False
) -> Tensor:
    """Return the images moved by ε in every pixel, to where the loss rises fastest.

    Args:
        net: see the module.
        images: (N, C, H, W) in [0, 1].
        labels: (N,), the true classes, or the wanted ones; integers of any type.
        epsilon: how far each pixel moves.
        targeted: whether ``labels`` are the wanted classes, towards which the loss then falls.

    Shape: (N, C, H, W) in [0, 1].

    Raises:
        ValueError: if ``epsilon`` is below 0 or not finite, the images are not floats in [0, 1], or
            a label is no class.

    Source: Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples" (2015),
        arXiv:1412.6572, section 4.
    """
    _check(images, epsilon=epsilon)
    return (images + epsilon * _uphill(net, images, labels, targeted)).clamp(0, 1)


def pgd(
    net: Net,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    rate: float,
    steps: int,
    targeted: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the result of many small steps of ``fgsm``, from a random start, held within ε.

    Args:
        net: see the module.
        images: (N, C, H, W) in [0, 1].
        labels: (N,), the true classes, or the wanted ones; integers of any type.
        epsilon: how far a pixel may end from where it was.
        rate: how far each pixel moves in a step.
        steps: how many.
        targeted: whether ``labels`` are the wanted classes.
        generator: draws the start, on the CPU.

    Shape: (N, C, H, W) in [0, 1].

    Raises:
        ValueError: if ``steps`` is below 1, or as ``fgsm`` does; ``rate`` is held to the range of
            ``epsilon``.

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (2018),
        arXiv:1706.06083, section 2.1.
    """
    _check(images, epsilon=epsilon, rate=rate)
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    shift = (2 * torch.rand(images.shape, generator=generator).to(images) - 1) * epsilon
    moved = (images + shift).clamp(0, 1)
    for _ in range(steps):
        moved = moved + rate * _uphill(net, moved, labels, targeted)
        moved = images + (moved - images).clamp(-epsilon, epsilon)
        moved = moved.clamp(0, 1)
    return moved


def _uphill(net: Net, images: Tensor, labels: Tensor, targeted: bool) -> Tensor:
    """Return the sign of the direction in which the loss rises, or falls if ``targeted``."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = net(images)
        loss = F.cross_entropy(logits, as_classes(labels, logits), reduction="sum")
        (slope,) = torch.autograd.grad(loss, images)
    return -slope.sign() if targeted else slope.sign()


def _check(images: Tensor, **moves: float) -> None:
    for name, value in moves.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}; expected at least 0, and finite")
    check_images(images)
