"""Which detection has which object: the greedy matching that average precision is built on.

Source: Lin et al. (2014), arXiv 1405.0312; the rules in full are those of COCO's code, pycocotools.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dl4cv.detection import boxes as box_ops
from dl4cv.detection import inputs


@dataclass(frozen=True)
class Detections:
    """What a detector found in a scene, in any order.

    Attributes:
        boxes: (D, 4), (x0, y0, x1, y1) in pixels.
        scores: (D,), of any range.
        labels: (D,) integers, the classes, from 0.

    Raises:
        ValueError: if the shapes do not agree, a value is not finite, a box has x1 < x0 or
            y1 < y0, or a label is negative or no integer.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        inputs.boxes("boxes", self.boxes, ndim=2)
        inputs.scores(self.scores, len(self.boxes))
        inputs.labels(self.labels, len(self.boxes))


@dataclass(frozen=True)
class Objects:
    """What there is in a scene.

    Attributes:
        boxes: (G, 4), (x0, y0, x1, y1) in pixels.
        labels: (G,) integers, the classes, from 0.
        crowd: (G,) bool, whether a box is around many objects. A detection of which a crowd covers
            enough counts neither as right nor as wrong. None if there is no crowd.

    Raises:
        ValueError: as ``Detections``, or if ``crowd`` is not (G,) bool.
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor | None = None

    def __post_init__(self) -> None:
        inputs.boxes("boxes", self.boxes, ndim=2)
        inputs.labels(self.labels, len(self.boxes))
        crowd = self.crowd
        if crowd is not None and (crowd.shape != self.labels.shape or crowd.dtype != torch.bool):
            raise ValueError(
                f"crowd is {crowd.dtype} of shape {tuple(crowd.shape)}; expected bool, "
                f"({len(self.boxes)},)"
            )


@dataclass(frozen=True)
class Matches:
    """The D detections of all scenes, highest score first, and the G objects that they have.

    Attributes:
        boxes: (D, 4) float64.
        scores: (D,) float64.
        labels: (D,) int64.
        scenes: (D,) int64.
        found: (T, D) int64, the object that each has at each threshold, or −1.
        ignored: (T, D) bool, whether it counts neither as right nor as wrong.
        object_boxes: (G, 4) float64.
        object_labels: (G,) int64.
        object_scenes: (G,) int64.
        counted: (G,) bool, whether an object is to be found.
        num_scenes: how many there are.
        num_classes: K.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    scenes: Tensor
    found: Tensor
    ignored: Tensor
    object_boxes: Tensor
    object_labels: Tensor
    object_scenes: Tensor
    counted: Tensor
    num_scenes: int
    num_classes: int

    @property
    def correct(self) -> Tensor:
        """(T, D) bool, whether a detection is right."""
        return (self.found >= 0) & ~self.ignored


def match(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    num_classes: int,
    *,
    thresholds: Sequence[float],
    area: tuple[float, float] = (0, math.inf),
    max_detections: int = 100,
    class_agnostic: bool = False,
) -> Matches:
    """Return which detection has which object.

    In each scene and class, from the highest score to the lowest, a detection takes the object
    that is left and overlaps it most, if their IoU reaches the threshold. An object that does not
    count is taken only if no other fits; a crowd is never used up. Of equal scores, the earlier
    detection comes first; of equally near objects, it takes the last.

    Arguments and errors are those of ``detection.average_precision``.
    """
    _check(detections, objects, num_classes, thresholds, area, max_detections)
    box, label, scene = _flat("detections", detections, num_classes)
    object_box, object_label, object_scene = _flat("objects", objects, num_classes)
    if class_agnostic:
        label, object_label, num_classes = 0 * label, 0 * object_label, 1
    score = torch.cat([own.scores.detach().cpu() for own in detections]).double()
    crowd = torch.cat([_crowd(own) for own in objects])

    order = score.argsort(descending=True, stable=True)
    group = scene * num_classes + label
    order = order[rank(group[order]) < max_detections]
    box, score, label, scene, group = (x[order] for x in (box, score, label, scene, group))

    def outside(boxes: Tensor) -> Tensor:
        size = box_ops.area(boxes)
        return (size < area[0]) | (size > area[1])

    counted = ~crowd & ~outside(object_box)
    rivals = _Rivals(object_box, object_scene * num_classes + object_label, crowd, counted)
    found = rivals.taken_by(box, group, thresholds)  # (T, D)
    in_vain = ~torch.cat([counted, counted.new_zeros(1)])[found]
    return Matches(
        boxes=box,
        scores=score,
        labels=label,
        scenes=scene,
        found=found,
        ignored=in_vain.where(found >= 0, outside(box)),
        object_boxes=object_box,
        object_labels=object_label,
        object_scenes=object_scene,
        counted=counted,
        num_scenes=len(objects),
        num_classes=num_classes,
    )


def rank(groups: Tensor) -> Tensor:
    """Return for each entry how many of its group there are before it.

    Shape: (D,) integers, the group of each → (D,) int64.
    """
    ordered, order = groups.sort(stable=True)
    first = torch.searchsorted(ordered, ordered)  # of the entry's group
    return torch.empty_like(groups).scatter(0, order, torch.arange(len(groups)) - first)


def members(groups: Tensor, count: int) -> Tensor:
    """Return the entries of each group, filled up with −1.

    Shape: (D,) integers, the group of each, below ``count`` → (count, S) int64.
    """
    places = rank(groups)
    size = int(places.max()) + 1 if len(places) else 0
    table = torch.full((count, size), -1)
    table[groups, places] = torch.arange(len(groups))
    return table


@dataclass(frozen=True)
class _Rivals:
    """The objects that detections of the same group, of one scene and class, compete for.

    Attributes:
        boxes: (G, 4).
        groups: (G,) int64.
        crowd: (G,) bool.
        counted: (G,) bool.
    """

    boxes: Tensor
    groups: Tensor
    crowd: Tensor
    counted: Tensor

    def taken_by(self, boxes: Tensor, groups: Tensor, thresholds: Sequence[float]) -> Tensor:
        """Return the object that each detection takes at each threshold, or −1.

        All groups go ahead at once: first the best detection of each, then the second best.

        Shape: boxes (D, 4) and groups (D,), highest score first → (T, D).
        """
        found = torch.full((len(thresholds), len(boxes)), -1)
        if found.numel() == 0 or len(self.boxes) == 0:
            return found
        _, number = torch.cat([groups, self.groups]).unique(return_inverse=True)  # from 0, no gaps
        own, of_objects = number.tensor_split([len(groups)])
        candidates = members(of_objects, int(number.max()) + 1)[own]  # (D, S)
        taken = torch.zeros(len(thresholds), len(self.boxes), dtype=torch.bool)
        places = rank(groups)
        for k in range(int(places.max()) + 1):
            now = (places == k).nonzero()[:, 0]
            found[:, now] = self._best(boxes[now], candidates[now], taken, thresholds)
            threshold, at = (found[:, now] >= 0).nonzero(as_tuple=True)
            taken[threshold, found[threshold, now[at]]] = True
        return found

    def _best(
        self, boxes: Tensor, candidates: Tensor, taken: Tensor, thresholds: Sequence[float]
    ) -> Tensor:
        """Return what one detection of each group takes at each threshold, or −1.

        Shape: boxes (R, 4), candidates (R, S) objects or −1, taken (T, G) bool → (T, R).
        """
        beside = boxes[:, None], self.boxes[candidates]
        overlaps = box_ops.coverage(*beside).where(self.crowd[candidates], box_ops.iou(*beside))
        least = torch.tensor(thresholds, dtype=torch.float64).clamp(max=1 - 1e-10)[:, None, None]
        free = (self.crowd | ~taken)[:, candidates] & (candidates >= 0)
        fits = free & (overlaps >= least)  # (T, R, S)
        wanted = fits & self.counted[candidates]
        fits = wanted.where(wanted.any(-1, keepdim=True), fits)
        best = overlaps.where(fits, -1).flip(-1).argmax(-1, keepdim=True)  # of equals, the last
        objects = candidates.flip(-1).expand(fits.shape).gather(-1, best)[..., 0]
        return objects.where(fits.any(-1), -1)


def _flat(
    name: str, parts: Sequence[Detections] | Sequence[Objects], num_classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return all boxes, their labels and their scenes. Shape: (sum of counts, 4), (…), (…)."""
    boxes = torch.cat([part.boxes.detach().cpu() for part in parts]).double()
    labels = torch.cat([part.labels.cpu() for part in parts]).long()
    if (labels >= num_classes).any():
        raise ValueError(
            f"{name} hold label {int(labels.max())}; expected labels from 0 to {num_classes - 1}"
        )
    counts = torch.tensor([len(part.boxes) for part in parts])
    return boxes, labels, torch.arange(len(parts)).repeat_interleave(counts)


def _crowd(objects: Objects) -> Tensor:
    none = torch.zeros(len(objects.boxes), dtype=torch.bool)
    return none if objects.crowd is None else objects.crowd.cpu()


def _check(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    num_classes: int,
    thresholds: Sequence[float],
    area: tuple[float, float],
    max_detections: int,
) -> None:
    if len(detections) != len(objects) or not objects:
        raise ValueError(
            f"there are detections of {len(detections)} scenes and objects of {len(objects)}; "
            "expected as many, and at least one scene"
        )
    for name, value in (("num_classes", num_classes), ("max_detections", max_detections)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")
    if not thresholds or not all(0 <= threshold <= 1 for threshold in thresholds):
        raise ValueError(f"thresholds is {thresholds}; expected at least one, all in [0, 1]")
    if not 0 <= area[0] <= area[1]:
        raise ValueError(f"area is {area}; expected the least and the largest, from 0")
