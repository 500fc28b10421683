"""What the methods of this folder have in common: how images, classes and logits come in."""

from collections.abc import Callable

import torch
from torch import Tensor

#: A network as these methods see it: images (N, C, H, W) to logits (N, K).
Net = Callable[[Tensor], Tensor]


def check_images(images: Tensor, *, name: str = "images", in_range: bool = True) -> None:
    """Make sure that ``images`` are floats (N, C, H, W), and in [0, 1] if ``in_range``.

    Raises:
        ValueError: if they are not.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"{name} has shape {tuple(images.shape)} and type {images.dtype}; "
            "expected (N, C, H, W), floats"
        )
    if in_range and images.numel() and not (images.min() >= 0 and images.max() <= 1):
        span = f"[{images.min():g}, {images.max():g}]"
        raise ValueError(f"{name} spans {span}; expected floats in [0, 1]")


def chosen(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the logit of each image's class. Shape: (N, K), (N,) → (N,).

    Raises:
        ValueError: if the shapes do not fit, or a class is not an integer from 0 to K − 1.
    """
    return logits.gather(1, as_classes(classes, logits)[:, None])[:, 0]


def as_classes(classes: Tensor, logits: Tensor) -> Tensor:
    """Return ``classes`` as int64 on the logits' device, after checking them as ``chosen`` says."""
    if logits.ndim != 2 or classes.shape != logits.shape[:1]:
        raise ValueError(
            f"classes has shape {tuple(classes.shape)} with logits of {tuple(logits.shape)}; "
            "expected (N,) and (N, K)"
        )
    if classes.is_floating_point() or classes.dtype == torch.bool:
        raise ValueError(f"classes has type {classes.dtype}; expected integers")
    if len(classes) and (classes.min() < 0 or classes.max() >= logits.shape[1]):
        raise ValueError(
            f"classes spans {int(classes.min())} to {int(classes.max())}; "
            f"expected 0 to {logits.shape[1] - 1}"
        )
    return classes.to(logits.device, torch.int64)


def widen(values: Tensor) -> Tensor:
    """Return half-precision values in float32, in which sums of squares do not overflow."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
