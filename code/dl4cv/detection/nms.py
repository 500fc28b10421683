"""Non-maximum suppression: of boxes that overlap, the one with the highest score stays."""

import numpy as np
import torch
from torch import Tensor

from dl4cv.detection import boxes as box_ops
from dl4cv.detection import inputs


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return which boxes stay, highest score first.

    From the highest score to the lowest, each box that is still there removes those after it whose
    IoU with it is above the threshold. Of equal scores, the earlier box comes first.

    Args:
        boxes: (N, 4).
        scores: (N,), of any range.
        iou_threshold: in [0, 1].

    Shape: → (K,) int64, indices of boxes.

    Raises:
        ValueError: if the shapes do not agree, a value is not finite, a box has x1 < x0 or
            y1 < y0, or ``iou_threshold`` is outside [0, 1].
    """
    scores = inputs.scores(scores, len(boxes))
    return _greedy(_overlapping(boxes, iou_threshold), scores)


def batched_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Return which boxes stay if only boxes with the same label remove each other.

    Args:
        boxes: (N, 4).
        scores: (N,), of any range.
        labels: (N,) integers from 0, such as the class of each box, or its image.
        iou_threshold: in [0, 1].

    Shape: → (K,) int64, indices of boxes, highest score first.

    Raises:
        ValueError: as ``nms``, or if a label is negative or no integer.
    """
    scores, labels = inputs.scores(scores, len(boxes)), inputs.labels(labels, len(boxes))
    return _greedy(_overlapping(boxes, iou_threshold) & (labels[:, None] == labels), scores)


def _overlapping(boxes: Tensor, iou_threshold: float) -> Tensor:
    """Return which pairs of boxes overlap by more than the threshold. Shape: (N, 4) → (N, N)."""
    inputs.fraction("iou_threshold", iou_threshold)
    return box_ops.iou_matrix(boxes, boxes) > iou_threshold


def _greedy(removes: Tensor, scores: Tensor) -> Tensor:
    """Return which boxes stay. Shape: (N, N) bool, whether one would remove the other, (N,)."""
    order = scores.argsort(descending=True, stable=True)
    spares = ~removes[order][:, order].cpu().numpy()  # NumPy, whose small steps take less time
    stays = np.ones(len(order), dtype=bool)
    for i in range(len(order)):
        if stays[i]:
            stays[i + 1 :] &= spares[i, i + 1 :]
    return order[torch.from_numpy(stays).to(order.device)]
