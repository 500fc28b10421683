"""Boxes: their areas, how much they overlap, their centres and sizes.

A box is (x0, y0, x1, y1) in pixels, x1 and y1 exclusive: x1 − x0 pixels wide, y1 − y0 high. It may
be empty: without width or height. Boxes of integers or of half precision give float32.
"""

import torch
from torch import Tensor

from dl4cv.detection import inputs


def area(boxes: Tensor) -> Tensor:
    """Return width times height, in square pixels. Shape: (…, 4) → (…).

    Raises:
        ValueError: if ``boxes`` are not boxes.
    """
    return _area(inputs.boxes("boxes", boxes))


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union (Jaccard index) of each pair of boxes.

    Differentiable with respect to both; the gradient is 0 where they do not overlap.

    Shape: a (…, 4) and b (…, 4), broadcast → (…).
    Units: [0, 1]; 0 where both boxes are empty.

    Raises:
        ValueError: if ``a`` or ``b`` are not boxes.
    """
    a, b = inputs.boxes("a", a), inputs.boxes("b", b)
    intersection, union = _intersection_and_union(a, b)
    return _ratio(intersection, union)


def iou_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union of each box of ``a`` with each of ``b``.

    Shape: a (N, 4), b (M, 4) → (N, M).
    Units: [0, 1]; 0 where both boxes are empty.

    Raises:
        ValueError: if ``a`` or ``b`` are not boxes.
    """
    a, b = inputs.boxes("a", a, ndim=2), inputs.boxes("b", b, ndim=2)
    intersection, union = _intersection_and_union(a[:, None], b)
    return _ratio(intersection, union)


def coverage(a: Tensor, b: Tensor) -> Tensor:
    """Return the fraction of each box of ``a`` that its partner in ``b`` covers.

    Shape: a (…, 4) and b (…, 4), broadcast → (…).
    Units: [0, 1]; 0 where the box of ``a`` is empty.

    Raises:
        ValueError: if ``a`` or ``b`` are not boxes.
    """
    a, b = inputs.boxes("a", a), inputs.boxes("b", b)
    intersection, _ = _intersection_and_union(a, b)
    return _ratio(intersection, _area(a))


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalised intersection over union of each pair of boxes.

    From IoU it takes the fraction of the smallest box around both, C, that neither covers:
    IoU − (|C| − |a ∪ b|) / |C|. So it still has a gradient where the boxes do not overlap.

    Shape: a (…, 4) and b (…, 4), broadcast → (…).
    Units: [−1, 1]; 0 where the box around both is empty.

    Raises:
        ValueError: if ``a`` or ``b`` are not boxes.

    Source: Rezatofighi et al. (2019), arXiv 1902.09630, algorithm 1.
    """
    a, b = inputs.boxes("a", a), inputs.boxes("b", b)
    intersection, union = _intersection_and_union(a, b)
    upper_left = torch.minimum(a[..., :2], b[..., :2])
    lower_right = torch.maximum(a[..., 2:], b[..., 2:])
    around = (lower_right - upper_left).prod(-1)
    return _ratio(intersection, union) - _ratio(around - union, around)


def centers_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return (x, y) of each centre, and width and height. Shape: (…, 4) → (…, 2), (…, 2).

    Raises:
        ValueError: if ``boxes`` are not boxes.
    """
    boxes = inputs.boxes("boxes", boxes)
    sizes = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + sizes / 2, sizes


def from_centers(centers: Tensor, sizes: Tensor) -> Tensor:
    """Return the boxes of given centres and sizes. Shape: (…, 2), (…, 2) → (…, 4)."""
    return torch.cat([centers - sizes / 2, centers + sizes / 2], -1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return the part of each box that lies in the image, empty where none does.

    Shape: (…, 4) → the same.

    Raises:
        ValueError: if ``boxes`` are not boxes.
    """
    boxes = inputs.boxes("boxes", boxes)
    x, y = boxes[..., ::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x, y], -1).flatten(-2)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _intersection_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    upper_left = torch.maximum(a[..., :2], b[..., :2])
    lower_right = torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (lower_right - upper_left).clamp(min=0).prod(-1)
    return intersection, _area(a) + _area(b) - intersection


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, and 0 where there is nothing, with a gradient that is finite."""
    return part / torch.where(whole > 0, whole, 1)
