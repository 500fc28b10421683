"""Boxes as a network predicts them: relative to anchors, with the logarithm of the sizes.

Source: Girshick et al. (2014), arXiv 1311.2524, appendix C; Ren, He, Girshick and Sun (2015),
arXiv 1506.01497, equation 2.
"""

import math

import torch
from torch import Tensor

from dl4cv.detection import boxes as box_ops
from dl4cv.detection import inputs

Weights = tuple[float, float, float, float]

#: The largest logarithm of a ratio of sizes that is decoded, lest a wild prediction overflow: a
#: box of 16 pixels becomes at most 1000 wide.
MAX_LOG_RATIO = math.log(1000 / 16)


def encode(boxes: Tensor, anchors: Tensor, weights: Weights = (1, 1, 1, 1)) -> Tensor:
    """Return what turns anchors into boxes: shifts of the centre and logarithms of size ratios.

    With centre (x, y), width w and height h of the box, and a for the anchor's:
    ((x − xₐ) / wₐ, (y − yₐ) / hₐ, log(w / wₐ), log(h / hₐ)), each times its weight.

    Args:
        boxes: (…, 4).
        anchors: (…, 4).
        weights: of the four, so that all have a spread near 1.

    Shape: boxes and anchors broadcast → (…, 4), no unit.

    Raises:
        ValueError: if a box or an anchor is empty or has x1 < x0 or y1 < y0, or a weight is not
            above 0.
    """
    centers, sizes = _not_empty("boxes", boxes)
    anchor_centers, anchor_sizes = _not_empty("anchors", anchors)
    shifts = (centers - anchor_centers) / anchor_sizes
    ratios = (sizes / anchor_sizes).log()
    return torch.cat([shifts, ratios], -1) * _checked(weights, shifts)


def decode(deltas: Tensor, anchors: Tensor, weights: Weights = (1, 1, 1, 1)) -> Tensor:
    """Return the boxes that deltas make of anchors: the inverse of ``encode``.

    Differentiable with respect to the deltas. Logarithms above ``MAX_LOG_RATIO`` count as that.

    Args:
        deltas: (…, 4).
        anchors: (…, 4).
        weights: those of ``encode``.

    Shape: deltas and anchors broadcast → (…, 4) in pixels.

    Raises:
        ValueError: if a delta is not finite, an anchor has x1 < x0 or y1 < y0, or a weight is not
            above 0.
    """
    deltas = inputs.floats("deltas", deltas, last=4)
    centers, sizes = box_ops.centers_and_sizes(inputs.boxes("anchors", anchors))
    shifts, ratios = (deltas / _checked(weights, deltas)).chunk(2, -1)
    new_sizes = sizes * ratios.clamp(max=MAX_LOG_RATIO).exp()
    return box_ops.from_centers(centers + sizes * shifts, new_sizes)


def _not_empty(name: str, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return centres and sizes, all of which are above 0."""
    centers, sizes = box_ops.centers_and_sizes(inputs.boxes(name, boxes))
    if not (sizes > 0).all():
        empty = boxes[(sizes == 0).any(-1)][0].tolist()
        raise ValueError(f"{name} holds {empty}, which is empty; expected x0 < x1 and y0 < y1")
    return centers, sizes


def _checked(weights: Weights, like: Tensor) -> Tensor:
    if len(weights) != 4 or not min(weights) > 0:
        raise ValueError(f"weights is {weights}; expected four values above 0")
    return like.new_tensor(weights)
