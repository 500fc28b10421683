"""What a network looks at: how much each pixel of an image matters to the score of a class.

Everywhere ``net`` maps images (N, C, H, W) to logits (N, K), ``classes`` (N,) says whose logit is
asked about, and nothing but the images gets a gradient.
"""

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Net = Callable[[Tensor], Tensor]


def gradient(net: Net, images: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient of each image's logit with respect to its pixels.

    Shape: images (N, C, H, W), classes (N,) → (N, C, H, W).

    Raises:
        ValueError: if the shapes do not fit, or a class is not among the logits.

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks" (2014), section 3.
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(_chosen(net(images), classes).sum(), images)
    return found


def smooth_gradient(
    net: Net,
    images: Tensor,
    classes: Tensor,
    *,
    deviation: float = 0.1,
    samples: int = 25,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean of ``gradient`` over noisy copies of each image.

    Args:
        net: see the module.
        images: see the module.
        classes: see the module.
        deviation: of the normal noise that is added to each pixel.
        samples: copies of each image.
        generator: draws the noise, on the CPU.

    Shape: images (N, C, H, W), classes (N,) → (N, C, H, W).

    Raises:
        ValueError: if ``samples`` is below 1, or as ``gradient`` does.

    Source: Smilkov et al., "SmoothGrad" (2017), section 2.2.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected at least 1")
    total = torch.zeros_like(images)
    for _ in range(samples):
        noise = torch.randn(images.shape, generator=generator).to(images)
        total += gradient(net, images + deviation * noise, classes)
    return total / samples


def integrated_gradients(
    net: Net,
    images: Tensor,
    classes: Tensor,
    *,
    baseline: Tensor | None = None,
    steps: int = 50,
) -> Tensor:
    """Return what each pixel contributed on the straight way from a baseline to the image.

    The contributions of an image add up to its logit minus the baseline's, up to the error of the
    midpoint rule.

    Args:
        net: see the module.
        images: see the module.
        classes: see the module.
        baseline: where the ways begin, of a shape that broadcasts; black if None.
        steps: points at which the gradient is taken.

    Shape: images (N, C, H, W), classes (N,) → (N, C, H, W).

    Raises:
        ValueError: if ``steps`` is below 1, or as ``gradient`` does.

    Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (2017),
        equations 1 to 3.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    start = torch.zeros_like(images) if baseline is None else baseline.expand_as(images)
    way = images - start
    total = torch.zeros_like(images)
    for step in range(steps):
        total += gradient(net, start + (step + 0.5) / steps * way, classes)
    return way * total / steps


def guided_gradient(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient that results if every ReLU lets positive gradients alone pass.

    Shape: images (N, C, H, W), classes (N,) → (N, C, H, W).

    Raises:
        ValueError: if the network has no module of type ReLU or ReLU6, or as ``gradient`` does.

    Source: Springenberg et al., "Striving for Simplicity: The All Convolutional Net" (2015),
        section 3.4.
    """
    units = [module for module in net.modules() if isinstance(module, nn.ReLU | nn.ReLU6)]
    if not units:
        raise ValueError("net has no ReLU whose gradient could be guided; expected at least one")

    def guide(module: nn.Module, inputs: object, out: Tensor) -> None:
        out.register_hook(lambda grad: grad.clamp(min=0))

    with ExitStack() as hooks:
        for unit in units:
            hooks.enter_context(unit.register_forward_hook(guide))
        return gradient(net, images, classes)


def grad_cam(net: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return where the maps of a layer speak for the class, at the size of the images.

    Each map counts by the mean of its gradient; what speaks against the class is cut off.

    Args:
        net: see the module.
        layer: a part of ``net`` that returns maps (N, K, h, w).
        images: see the module.
        classes: see the module.

    Shape: images (N, C, H, W), classes (N,) → (N, H, W), at least 0.

    Raises:
        ValueError: if ``layer`` is not called or returns no maps, or as ``gradient`` does.

    Source: Selvaraju et al., "Grad-CAM" (2017), equations 1 and 2.
    """
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, out: Tensor) -> None:
        kept.append(out)

    # The maps get a gradient even where all weights are frozen.
    images = images.detach().requires_grad_()
    with torch.enable_grad(), layer.register_forward_hook(keep):
        score = _chosen(net(images), classes).sum()
        if len(kept) != 1 or kept[0].ndim != 4:
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
        ValueError: if ``window`` or ``stride`` is out of its range.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014),
        section 4.2.
    """
    height, width = images.shape[2:]
    if not 1 <= window <= min(height, width):
        raise ValueError(f"window is {window}; expected 1 to {min(height, width)}")
    if stride < 1:
        raise ValueError(f"stride is {stride}; expected at least 1")
    whole = _chosen(net(images), classes)
    falls, times = torch.zeros(len(images), height, width), torch.zeros(height, width)
    for top in range(0, height - window + 1, stride):
        for left in range(0, width - window + 1, stride):
            square = (slice(top, top + window), slice(left, left + window))
            hidden = images.clone()
            hidden[:, :, *square] = fill
            fall = whole - _chosen(net(hidden), classes)
            falls[:, *square] += fall.cpu()[:, None, None]
            times[square] += 1
    return falls / times.clamp(min=1)


def strength(contributions: Tensor) -> Tensor:
    """Return one number a pixel: the largest absolute value over its channels.

    Shape: (N, C, H, W) → (N, H, W), at least 0.
    """
    return contributions.abs().amax(1)


def share_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of each map that lies inside its mask; what is negative counts as 0.

    A map that does not look at anything has the share that the mask has of the image.

    Shape: maps (N, H, W), masks (N, H, W) bool → (N,) in [0, 1].

    Raises:
        ValueError: if the shapes differ.
    """
    if maps.shape != masks.shape:
        raise ValueError(f"masks has shape {tuple(masks.shape)}; expected {tuple(maps.shape)}")
    maps = maps.clamp(min=0).flatten(1)
    maps = torch.where(maps.sum(1, keepdim=True) > 0, maps, torch.ones_like(maps))
    return (maps * masks.flatten(1)).sum(1) / maps.sum(1)


def _chosen(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the logit of each image's class. Shape: (N, K), (N,) → (N,)."""
    if logits.ndim != 2 or classes.shape != logits.shape[:1]:
        raise ValueError(
            f"classes has shape {tuple(classes.shape)} with logits of {tuple(logits.shape)}; "
            "expected (N,) and (N, K)"
        )
    if classes.min() < 0 or classes.max() >= logits.shape[1]:
        raise ValueError(
            f"classes spans {int(classes.min())} to {int(classes.max())}; "
            f"expected 0 to {logits.shape[1] - 1}"
        )
    return logits.gather(1, classes.to(logits.device)[:, None])[:, 0]
