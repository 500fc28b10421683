"""Features of a region: a grid of fixed size, whatever the size of the box."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.detection import inputs
from dl4cv.layers.windows import Pair, pair


def roi_pool(
    features: Tensor, boxes: Sequence[Tensor], output_size: int | Pair, *, spatial_scale: float
) -> Tensor:
    """Return the largest feature in each bin of each box, with everything rounded to whole cells.

    The corners of a box are rounded to the nearest cell, the last one included. Of its L rows, bin
    i holds those from ⌊i L / P⌋ up to ⌈(i + 1) L / P⌉, not included; likewise across. A bin that
    lies outside the map is 0.

    Args:
        features: (N, C, H, W).
        boxes: for each image (Kₙ, 4), in pixels.
        output_size: P × Q bins, down and across, or one number for both.
        spatial_scale: cells per pixel: 1 / stride.

    Shape: → (K, C, P, Q), the boxes of all images in succession.

    Raises:
        ValueError: if the shapes do not agree, a value is not finite, a box has x1 < x0 or
            y1 < y0, or a setting is out of its range.

    Source: Girshick (2015), arXiv 1504.08083, section 2.1.
    """
    features, boxes = _checked(features, boxes, spatial_scale)
    down, across = pair("output_size", output_size)
    height, width = features.shape[2:]
    pooled = [features[:0, :, :1, :1].expand(-1, -1, down, across)]  # of no box at all
    for image, own in zip(features, boxes, strict=True):
        for x0, y0, x1, y1 in (own * spatial_scale + 0.5).floor().long().tolist():
            if x0 < width and y0 < height and x1 >= 0 and y1 >= 0:
                # A negative margin crops; a positive one lies outside the map.
                margins = (-x0, x1 + 1 - width, -y0, y1 + 1 - height)
                region = F.pad(image, margins, value=-math.inf)  # (C, y1 + 1 − y0, x1 + 1 − x0)
            else:
                region = torch.full_like(image, -math.inf)
            pooled.append(F.adaptive_max_pool2d(region, (down, across))[None])
    result = torch.cat(pooled)
    return result.masked_fill(result.isinf(), 0)


def roi_align(
    features: Tensor,
    boxes: Sequence[Tensor],
    output_size: int | Pair,
    *,
    spatial_scale: float,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> Tensor:
    """Return the mean of bilinear samples in each bin of each box, without any rounding.

    A sample outside the map by at most one cell takes the nearest feature; further out it is 0.
    A bilinear weight is the product of one weight down and one across, and so is the mean of a
    bin's. Differentiable with respect to the features and to the boxes.

    Args:
        features: (N, C, H, W).
        boxes: for each image (Kₙ, 4), in pixels.
        output_size: P × Q bins, down and across, or one number for both.
        spatial_scale: cells per pixel: 1 / stride.
        sampling_ratio: samples in a bin, down and across.
        aligned: whether a feature lies at the centre of its cell. Otherwise it lies at the
            corner, so that all is shifted by half a cell, and a box is at least one cell wide and
            high: what the first implementations did.

    Shape: → (K, C, P, Q), the boxes of all images in succession.

    Raises:
        ValueError: if the shapes do not agree, a value is not finite, a box has x1 < x0 or
            y1 < y0, or a setting is out of its range.

    Source: He, Gkioxari, Dollár and Girshick (2017), arXiv 1703.06870, section 3.
    """
    features, boxes = _checked(features, boxes, spatial_scale)
    if sampling_ratio < 1:
        raise ValueError(f"sampling_ratio is {sampling_ratio}; expected at least 1")
    down, across = pair("output_size", output_size)
    pooled = []
    for image, own in zip(features, boxes, strict=True):
        corner, end = (own * spatial_scale - (0.5 if aligned else 0)).chunk(2, 1)  # (Kₙ, 2)
        size = end - corner if aligned else (end - corner).clamp(min=1)
        height, width = image.shape[1:]
        rows = _weights(corner[:, 1], size[:, 1], down, sampling_ratio, height)  # (Kₙ, P, H)
        columns = _weights(corner[:, 0], size[:, 0], across, sampling_ratio, width)  # (Kₙ, Q, W)
        with torch.autocast(image.device.type, enabled=False):  # 16 bits would move the samples
            mixed = torch.einsum("kph,chw->kcpw", rows, image)
            pooled.append(torch.einsum("kcpw,kqw->kcpq", mixed, columns))
    return torch.cat(pooled)


def _weights(start: Tensor, length: Tensor, bins: int, samples: int, size: int) -> Tensor:
    """Return how much of each feature of an axis is in the mean of each bin.

    Shape: start (K,), length (K,), in cells → (K, bins, size) in [0, 1].
    """
    count = bins * samples
    steps = (torch.arange(count).to(start) + 0.5) / count
    places = start[:, None] + length[:, None] * steps  # (K, bins · samples)
    inside = (places >= -1) & (places <= size)
    cells = torch.arange(size).to(start)
    distances = (places.clamp(0, size - 1)[..., None] - cells).abs()
    weights = (1 - distances).clamp(min=0) * inside[..., None]
    return weights.unflatten(1, (bins, samples)).mean(2)


def _checked(
    features: Tensor, boxes: Sequence[Tensor], spatial_scale: float
) -> tuple[Tensor, list[Tensor]]:
    """Return features and boxes as floats of one type."""
    features = inputs.floats("features", features)
    if features.ndim != 4 or len(boxes) != len(features) or features.numel() == 0:
        raise ValueError(
            f"features has shape {tuple(features.shape)} and there are boxes of {len(boxes)} "
            "images; expected (N, C, H, W), all at least 1, and boxes of N images"
        )
    inputs.positive("spatial_scale", spatial_scale)
    named = ((f"boxes[{n}]", own) for n, own in enumerate(boxes))
    return features, [inputs.boxes(name, own, ndim=2).to(features) for name, own in named]
