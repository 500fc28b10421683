"""Adversarial examples: small changes that make a network err.

Images are floats in [0, 1], ``net`` maps them to logits (N, K), and no pixel moves by more than ε.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Net = Callable[[Tensor], Tensor]


def fgsm(
    net: Net, images: Tensor, labels: Tensor, *, epsilon: float, targeted: bool = False
) -> Tensor:
    """Return the images moved by ε in every pixel, to where the loss rises fastest.

    Args:
        net: see the module.
        images: (N, C, H, W) in [0, 1].
        labels: (N,), the true classes, or the wanted ones.
        epsilon: how far each pixel moves.
        targeted: whether ``labels`` are the wanted classes, towards which the loss then falls.

    Shape: (N, C, H, W) in [0, 1].

    Raises:
        ValueError: if ``epsilon`` is below 0 or the images are not in [0, 1].

    Source: Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples" (2015),
        section 4.
    """
    _check(images, epsilon)
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
    """Return what many small steps of ``fgsm`` arrive at, from a random start, held within ε.

    Args:
        net: see the module.
        images: (N, C, H, W) in [0, 1].
        labels: (N,), the true classes, or the wanted ones.
        epsilon: how far a pixel may end from where it was.
        rate: how far each pixel moves in a step.
        steps: how many.
        targeted: whether ``labels`` are the wanted classes.
        generator: draws the start, on the CPU.

    Shape: (N, C, H, W) in [0, 1].

    Raises:
        ValueError: if ``epsilon`` is below 0, ``steps`` below 1 or the images not in [0, 1].

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (2018),
        section 2.1.
    """
    _check(images, epsilon)
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
        loss = F.cross_entropy(net(images), labels.to(images.device), reduction="sum")
        (slope,) = torch.autograd.grad(loss, images)
    return -slope.sign() if targeted else slope.sign()


def _check(images: Tensor, epsilon: float) -> None:
    if epsilon < 0:
        raise ValueError(f"epsilon is {epsilon}; expected at least 0")
    if not (images.min() >= 0 and images.max() <= 1):
        span = f"[{images.min():g}, {images.max():g}]"
        raise ValueError(f"images spans {span}; expected floats in [0, 1]")
