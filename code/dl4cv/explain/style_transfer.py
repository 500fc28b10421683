"""Style transfer: the content of one picture in the style of another.

Content is what a deep layer answers, place by place. Style is which of a layer's maps answer
together, wherever that is. Losses are relative: 1 is the loss of a layer that is silent.

Source: Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (2016).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

#: What red, green and blue weigh in brightness (Y) and in two differences of colour (I and Q).
YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def gram(features: Tensor) -> Tensor:
    """Return the mean product of each pair of maps, over all places.

    Shape: (N, C, H, W) → (N, C, C). The mean makes maps of any size comparable.

    Raises:
        ValueError: if ``features`` has another number of dimensions.

    Source: Gatys et al. (2016), equation 3, divided by the number of places.
    """
    if features.ndim != 4:
        raise ValueError(f"features has shape {tuple(features.shape)}; expected (N, C, H, W)")
    flat = features.flatten(2)  # (N, C, H·W)
    return flat @ flat.mT / flat.shape[2]


def content_loss(now: Tensor, wanted: Tensor) -> Tensor:
    """Return the squared distance of features from those wanted, relative to the latter's square.

    Shape: both (N, C, H, W) → ().

    Source: Gatys et al. (2016), equation 1, made relative.
    """
    _check(now, wanted)
    return (now - wanted).square().sum() / wanted.square().sum()


def style_loss(
    now: Mapping[str, Tensor], wanted: Mapping[str, Tensor], weights: Mapping[str, float]
) -> Tensor:
    """Return the weighted mean, over layers, of the relative squared distance of Gram matrices.

    Args:
        now: features of each layer, (N, C, H, W).
        wanted: Gram matrices of each layer, (N, C, C); those of one picture serve for N.
        weights: of the layers, which say which layers count.

    Raises:
        ValueError: if a layer is missing or the weights do not add up to more than 0.

    Source: Gatys et al. (2016), equations 4 and 5, made relative.
    """
    total = sum(weights.values())
    if total <= 0:
        raise ValueError(f"weights add up to {total}; expected more than 0")
    if missing := weights.keys() - (now.keys() & wanted.keys()):
        raise ValueError(f"no features or no Gram matrix of: {', '.join(sorted(missing))}")
    losses = []
    for name, weight in weights.items():
        gap = (gram(now[name]) - wanted[name]).square().sum((1, 2))
        losses.append(weight * (gap / wanted[name].square().sum((1, 2))).mean())
    return torch.stack(losses).sum() / total


def mixed(a: Mapping[str, Tensor], b: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return Gram matrices between those of two styles: ``share`` of b, the rest of a.

    Raises:
        ValueError: if ``share`` is not in [0, 1] or the layers differ.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; expected 0 to 1")
    if a.keys() != b.keys():
        raise ValueError(f"the styles have layers {sorted(a)} and {sorted(b)}; expected the same")
    return {name: torch.lerp(a[name], b[name], share) for name in a}


def with_colours_of(picture: Tensor, source: Tensor) -> Tensor:
    """Return the brightness of ``picture`` in the colours of ``source``.

    Shape: both (N, 3, H, W) in [0, 1] → the same.

    Raises:
        ValueError: if the shapes differ.

    Source: Gatys et al., "Preserving Color in Neural Artistic Style Transfer" (2016), section 3.2.
    """
    _check(picture, source)
    basis = torch.tensor(YIQ).to(picture)
    bright = torch.einsum("yc,nchw->nyhw", basis, picture)
    coloured = torch.einsum("yc,nchw->nyhw", basis, source)
    joined = torch.cat([bright[:, :1], coloured[:, 1:]], 1)
    return torch.einsum("cy,nyhw->nchw", torch.linalg.inv(basis), joined).clamp(0, 1)


def _check(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"the shapes are {tuple(a.shape)} and {tuple(b.shape)}; expected the same")
