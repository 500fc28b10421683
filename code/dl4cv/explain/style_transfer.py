"""Style transfer: the content of one picture in the style of another.

Content is the features of a deep layer, place by place. Style is which of a layer's maps are high
or low together, wherever that is. Losses are relative, so that layers compare.

Source: Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (2016).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.explain.inputs import check_images, widen

#: What red, green and blue weigh in brightness (Y) and in two differences of colour (I and Q).
YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))

#: A sum of squares below this has nothing to be relative to: one colour, no variance.
TINY = 1e-20


class HasLayers(Protocol):
    """A network with layers by name, such as those of ``dl4cv.pretrained.imagenet``."""

    def activations(self, images: Tensor, layers: Iterable[str], /) -> Mapping[str, Tensor]:
        """Return the features of the named layers, (N, C, H′, W′) each."""
        ...


@dataclass(frozen=True)
class Style:
    """The style of N pictures, or of one for all, in one layer.

    Attributes:
        mean: (N, C, 1, 1), of each map over all places.
        gram: (N, C, C), the Gram matrix of the maps less their means.
    """

    mean: Tensor
    gram: Tensor


def features(
    network: HasLayers, images: Tensor, layers: Sequence[str], *, scales: Sequence[int] = (1, 2, 4)
) -> dict[str, Tensor]:
    """Return the pixels, and the features of layers for the images in several sizes.

    The kernels of a layer have a size in pixels. In an image of half the size they see strokes
    twice as long.

    Args:
        network: whose layers.
        images: (N, 3, H, W) in [0, 1].
        layers: their names.
        scales: by how much the images are made smaller; 1 leaves them.

    Returns:
        ``pixels``, and ``layer/scale`` for each pair of both; (N, C, H′, W′) each.

    Raises:
        ValueError: if a scale is below 1 or above the images' height or width.
    """
    if not all(1 <= scale <= min(images.shape[2:]) for scale in scales):
        raise ValueError(f"scales is {scales}; expected 1 to {min(images.shape[2:])} each")
    found = {"pixels": images}
    for scale in scales:
        view = images
        if scale > 1:
            view = F.interpolate(images, scale_factor=1 / scale, mode="bilinear", antialias=True)
        maps = network.activations(view, layers)
        found |= {f"{layer}/{scale}": maps[layer] for layer in layers}
    return found


def gram(features: Tensor) -> Tensor:
    """Return the mean product of each pair of maps, over all places.

    Shape: (N, C, H, W) → (N, C, C). The mean makes maps of any size comparable.

    Raises:
        ValueError: if ``features`` has another number of dimensions.

    Source: Gatys et al. (2016), equation 3, divided by the number of places.
    """
    if features.ndim != 4:
        raise ValueError(f"features has shape {tuple(features.shape)}; expected (N, C, H, W)")
    flat = widen(features).flatten(2)  # (N, C, H·W)
    return flat @ flat.mT / flat.shape[2]


def style_of(features: Mapping[str, Tensor]) -> dict[str, Style]:
    """Return the style of pictures in each layer, from their features in these layers."""
    means = {name: maps.mean((2, 3), keepdim=True) for name, maps in features.items()}
    return {name: Style(means[name], gram(maps - means[name])) for name, maps in features.items()}


def content_loss(now: Tensor, wanted: Tensor) -> Tensor:
    """Return the squared distance of features from those wanted, relative to the latter's square.

    Where all wanted features are 0, the distance is not divided by anything.

    Shape: both (N, C, H, W) → ().

    Raises:
        ValueError: if the shapes differ.

    Source: Gatys et al. (2016), equation 1, made relative.
    """
    _check(now, wanted)
    now, wanted = widen(now), widen(wanted)
    return (now - wanted).square().sum() / _norm(wanted.square().sum())


def style_loss(now: Mapping[str, Tensor], wanted: Mapping[str, Style]) -> Tensor:
    """Return the mean, over pictures and layers, of the relative squared distance of Gram matrices.

    The *wanted* means are subtracted from the maps, so that a difference of the means counts too.
    Where a picture has no style, since nothing varies in it, its distance is not divided.

    Args:
        now: features of each layer, (N, C, H, W).
        wanted: the style that it should have; its layers are those that count.

    Raises:
        ValueError: if there is no layer, or one is missing in ``now``.

    Source: Gatys et al. (2016), equations 4 and 5, made relative, and less the means.
    """
    if not wanted:
        raise ValueError("wanted is empty; expected at least one layer")
    if missing := wanted.keys() - now.keys():
        raise ValueError(f"now has no features of: {', '.join(sorted(missing))}")
    losses = []
    for name, style in wanted.items():
        gap = (gram(now[name] - style.mean) - style.gram).square().sum((1, 2))
        losses.append((gap / _norm(style.gram.square().sum((1, 2)))).mean())
    return torch.stack(losses).mean()


def mixed(a: Mapping[str, Style], b: Mapping[str, Style], fraction: float) -> dict[str, Style]:
    """Return the style between two others: ``fraction`` of b, the rest of a.

    Raises:
        ValueError: if ``fraction`` is not in [0, 1] or the layers differ.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; expected 0 to 1")
    if a.keys() != b.keys():
        raise ValueError(f"the styles have layers {sorted(a)} and {sorted(b)}; expected the same")
    return {
        name: Style(
            torch.lerp(a[name].mean, b[name].mean, fraction),
            torch.lerp(a[name].gram, b[name].gram, fraction),
        )
        for name in a
    }


def match_color_statistics(picture: Tensor, source: Tensor) -> Tensor:
    """Return ``picture`` with the mean colour and the covariance of colours of ``source``.

    What would leave [0, 1] is cut off.

    Shape: (N, 3, H, W) in [0, 1], source (N or 1, 3, H′, W′) → as picture.

    Raises:
        ValueError: if either holds something else than floats in [0, 1].

    Source: Gatys et al., "Preserving Color in Neural Artistic Style Transfer" (2016),
        arXiv:1606.05897, section 3.1, with symmetric roots.
    """
    check_images(picture, name="picture")
    check_images(source, name="source")
    own, wanted = (images.flatten(2).double() for images in (picture, source))  # (N, 3, P)
    means = own.mean(2, keepdim=True), wanted.mean(2, keepdim=True)
    spread = _root(_covariance(wanted - means[1])) @ torch.linalg.inv(
        _root(_covariance(own - means[0]) + 1e-8 * torch.eye(3).to(own))
    )
    moved = spread @ (own - means[0]) + means[1]
    return moved.view(picture.shape).clamp(0, 1).to(picture)


def preserve_color(picture: Tensor, source: Tensor) -> Tensor:
    """Return the brightness of ``picture`` with the colours of ``source``, place by place.

    Shape: both (N, 3, H, W) in [0, 1] → the same.

    Raises:
        ValueError: if the shapes differ.

    Source: Gatys et al., "Preserving Color in Neural Artistic Style Transfer" (2016),
        arXiv:1606.05897, section 3.2.
    """
    _check(picture, source)
    basis = torch.tensor(YIQ, device=picture.device)
    bright = torch.einsum("yc,nchw->nyhw", basis.to(picture), picture)
    colored = torch.einsum("yc,nchw->nyhw", basis.to(picture), source)
    joined = torch.cat([bright[:, :1], colored[:, 1:]], 1)
    return torch.einsum("cy,nyhw->nchw", basis.inverse().to(picture), joined).clamp(0, 1)


def _norm(squares: Tensor) -> Tensor:
    """Return what a squared distance is divided by: sums of squares, or 1 where there is none."""
    return torch.where(squares > TINY, squares, torch.ones_like(squares))


def _covariance(centred: Tensor) -> Tensor:
    """Return the covariance of colours. Shape: (N, 3, P) → (N, 3, 3)."""
    return centred @ centred.mT / centred.shape[2]


def _root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of positive semidefinite matrices. (N, 3, 3), as given."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag_embed(values.clamp(min=0).sqrt()) @ vectors.mT


def _check(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"the shapes are {tuple(a.shape)} and {tuple(b.shape)}; expected the same")
