"""What a network looks at: how much each pixel of an image matters to the score of a class.

Everywhere ``net`` maps images (N, C, H, W) to logits (N, K), ``classes`` (N,) holds the class whose
logit is explained, as integers of any type, and nothing but the images gets a gradient.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.nn import functional as F

from dl4cv.explain.inputs import Net, check_images, chosen


def gradient(net: Net, images: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient of each image's logit with respect to its pixels.

    Shape: images (N, C, H, W), classes (N,) → (N, C, H, W).

    Raises:
        ValueError: if the images are not floats, the shapes do not fit, or a class is not among the
            logits.

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks" (2014),
        arXiv:1312.6034, section 3.
    """
    images, score = _score(net, images, classes)
    return torch.autograd.grad(score, images)[0]


def smooth_gradient(
    net: Net,
    images: Tensor,
    classes: Tensor,
    *,
    std: float = 0.1,
    samples: int = 25,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean of ``gradient`` over noisy copies of each image.

    Args:
        net: see the module.
        images: see the module.
        classes: see the module.
        std: standard deviation of the normal noise that is added to each pixel.
        samples: copies of each image.
        generator: draws the noise, on the CPU.

    Shape: images (N, C, H, W), classes (N,) → (N, C, H, W).

    Raises:
        ValueError: if ``samples`` is below 1, or as ``gradient`` does.

    Source: Smilkov et al., "SmoothGrad" (2017), arXiv:1706.03825, section 2.2.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected at least 1")
    check_images(images, in_range=False)
    total = torch.zeros_like(images)
    for _ in range(samples):
        noise = torch.randn(images.shape, generator=generator).to(images)
        total += gradient(net, images + std * noise, classes)
    return total / samples


def integrated_gradients(
    net: Net,
    images: Tensor,
    classes: Tensor,
    *,
    baseline: Tensor | None = None,
    steps: int = 50,
) -> Tensor:
    """Return what each pixel contributed along the straight line from a baseline to the image.

    The contributions of an image add up to its logit minus the baseline's, up to the error of the
    midpoint rule.

    Args:
        net: see the module.
        images: see the module.
        classes: see the module.
        baseline: where the lines begin, of a shape that broadcasts; black if None.
        steps: points at which the gradient is taken.

    Shape: images (N, C, H, W), classes (N,) → (N, C, H, W).

    Raises:
        ValueError: if ``steps`` is below 1, or as ``gradient`` does.

    Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (2017),
        arXiv:1703.01365, equations 1 to 3.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    check_images(images, in_range=False)
    start = torch.zeros_like(images) if baseline is None else baseline.expand_as(images)
    way = images - start
    total = torch.zeros_like(images)
    for step in range(steps):
        total += gradient(net, start + (step + 0.5) / steps * way, classes)
    return way * total / steps


def guided_gradient(net: Net, images: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient that results if every ReLU lets only positive gradients pass.

    A ReLU is whatever cuts off at 0: a module, a function, in place or not, ReLU6 or ``clamp``.

    Shape: images (N, C, H, W), classes (N,) → (N, C, H, W).

    Raises:
        ValueError: if the network has no ReLU, or a backward pass of its own in which one could
            hide (a ``torch.autograd.Function``), or as ``gradient`` does.

    Source: Springenberg et al., "Striving for Simplicity: The All Convolutional Net" (2015),
        arXiv:1412.6806, section 3.4.
    """
    images, score = _score(net, images, classes)
    nodes = list(_graph(score.grad_fn))
    if opaque := [type(n).__name__ for n in nodes if isinstance(n, BackwardCFunction)]:
        raise ValueError(f"net has {opaque[0]}; expected no autograd.Function, which hides ReLUs")
    units = [node for node in nodes if _cuts_at_zero(node)]
    if not units:
        raise ValueError("net has no ReLU whose gradient could be guided; expected at least one")
    for unit in units:
        unit.register_prehook(lambda grads: tuple(grad.clamp(min=0) for grad in grads))
    return torch.autograd.grad(score, images)[0]


def grad_cam(net: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return where the maps of a layer speak for the class, at the size of the images.

    Each map is weighted by the mean of its gradient; what speaks against the class is cut off.

    Args:
        net: see the module.
        layer: a part of ``net`` that returns maps (N, K, h, w).
        images: see the module.
        classes: see the module.

    Shape: images (N, C, H, W), classes (N,) → (N, H, W), at least 0.

    Raises:
        ValueError: if ``layer`` is not called or returns no maps, or as ``gradient`` does.

    Source: Selvaraju et al., "Grad-CAM" (2017), arXiv:1610.02391, equations 1 and 2.
    """
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, out: Tensor) -> Any:
        kept.append(out)
        # What comes next may work in place: it gets a copy.
        return out.clone() if isinstance(out, Tensor) else None

    with layer.register_forward_hook(keep):
        # The maps get a gradient even where all weights are frozen, since the images do.
        images, score = _score(net, images, classes)
    if len(kept) != 1 or not isinstance(kept[0], Tensor) or kept[0].ndim != 4:
        raise ValueError("layer gave no maps (N, K, h, w) in one call; expected a part of net")
    (slopes,) = torch.autograd.grad(score, kept[0])
    maps = (slopes.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu()
    size = images.shape[2:]
    return F.interpolate(maps.detach(), size=size, mode="bilinear", align_corners=False)[:, 0]


@torch.no_grad()
def occlusion(
    net: Net,
    images: Tensor,
    classes: Tensor,
    *,
    window: int,
    stride: int,
    fill: float = 0.5,
) -> Tensor:
    """Return how much the logit falls when a grey square hides a pixel, averaged over squares.

    Args:
        net: see the module.
        images: see the module.
        classes: see the module.
        window: side of the square, in pixels.
        stride: pixels from one square to the next.
        fill: the grey.

    Shape: images (N, C, H, W), classes (N,) → (N, H, W); 0 where no square comes.

    Raises:
        ValueError: if ``window`` or ``stride`` is out of its range, or as ``gradient`` does.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014),
        arXiv:1311.2901, section 4.2.
    """
    check_images(images, in_range=False)
    height, width = images.shape[2:]
    if not 1 <= window <= min(height, width):
        raise ValueError(f"window is {window}; expected 1 to {min(height, width)}")
    if stride < 1:
        raise ValueError(f"stride is {stride}; expected at least 1")
    whole = chosen(net(images), classes)
    falls, times = torch.zeros(len(images), height, width), torch.zeros(height, width)
    for top in range(0, height - window + 1, stride):
        for left in range(0, width - window + 1, stride):
            square = (slice(top, top + window), slice(left, left + window))
            hidden = images.clone()
            hidden[:, :, *square] = fill
            fall = whole - chosen(net(hidden), classes)
            falls[:, *square] += fall.cpu()[:, None, None]
            times[square] += 1
    return falls / times.clamp(min=1)


def saliency_map(contributions: Tensor) -> Tensor:
    """Return one value a pixel: the largest absolute value over its channels.

    Shape: (N, C, H, W) → (N, H, W), at least 0.
    """
    return contributions.abs().amax(1)


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the fraction of each map that lies inside its mask; what is negative counts as 0.

    A map without anything positive gets the fraction of the image that the mask covers.

    Shape: maps (N, H, W), masks (N, H, W) bool → (N,) in [0, 1].

    Raises:
        ValueError: if the shapes differ, or ``masks`` is not bool.

    Source: the energy-based pointing game of Wang et al., "Score-CAM" (2020), arXiv:1910.01279.
    """
    if maps.shape != masks.shape or masks.dtype != torch.bool:
        raise ValueError(
            f"masks has shape {tuple(masks.shape)} and type {masks.dtype}; "
            f"expected {tuple(maps.shape)}, bool"
        )
    maps = maps.clamp(min=0).flatten(1).float()
    maps = torch.where(maps.sum(1, keepdim=True) > 0, maps, torch.ones_like(maps))
    return (maps * masks.flatten(1)).sum(1) / maps.sum(1)


def _score(net: Net, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return a copy of the images that gets a gradient, and the sum of their classes' logits."""
    check_images(images, in_range=False)
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        return images, chosen(net(images), classes).sum()


def _graph(root: Any) -> Iterator[Any]:
    """Yield the nodes of the backward pass behind ``root``, each once."""
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
            yield node


def _cuts_at_zero(node: Any) -> bool:
    """Whether a node of the backward pass belongs to a ReLU, by whatever name it was called."""
    lower = [getattr(node, f"_saved_{name}", None) for name in ("min", "min_val", "threshold")]
    cuts = any(v == 0 for v in lower if isinstance(v, int | float))
    return cuts or node.name() == "ReluBackward0"
