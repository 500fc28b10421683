"""How good detections are: precision, recall and average precision, as COCO defines them.

A detection is right if its IoU with an object of its class reaches a threshold, and no detection
with a higher score has that object. The definition in full is COCO's code, pycocotools, with which
the tests compare.

Source: Lin et al. (2014), arXiv 1405.0312.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.metrics.detection_matching import Detections, Matches, Objects, match

#: 0.50, 0.55, … 0.95, to the last bit as in COCO's code: an IoU may equal a threshold.
IOU_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
#: The recalls at which precision is read: 0, 0.01, … 1.
RECALLS = torch.from_numpy(np.linspace(0, 1, 101))
#: Least and largest area of COCO's small, medium and large objects, in square pixels.
AREAS = {
    "all": (0.0, math.inf),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, math.inf),
}


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision and recall of each of K classes at each of T thresholds.

    Attributes:
        ap: (K, T) float64 in [0, 1]; not a number for a class without objects.
        recall: (K, T) float64 in [0, 1], the fraction of objects that were found at all.
        thresholds: of IoU, T of them.
    """

    ap: Tensor
    recall: Tensor
    thresholds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """mAP: the mean over classes and thresholds."""
        return float(self.ap.nanmean())

    @property
    def mean_recall(self) -> float:
        """AR: the mean of the recall over classes and thresholds."""
        return float(self.recall.nanmean())

    @property
    def per_class(self) -> Tensor:
        """(K,) the mean over thresholds."""
        return self.ap.mean(1)

    def at(self, threshold: float) -> float:
        """Return the mean over classes at one threshold, such as mAP50 at 0.5.

        Raises:
            ValueError: if it is none of ``thresholds``.
        """
        for column, known in zip(self.ap.T, self.thresholds, strict=True):
            if math.isclose(known, threshold):
                return float(column.nanmean())
        raise ValueError(f"threshold is {threshold}; expected one of {self.thresholds}")


def average_precision(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    num_classes: int,
    *,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
    area: tuple[float, float] = AREAS["all"],
    max_detections: int = 100,
    class_agnostic: bool = False,
) -> AveragePrecision:
    """Return COCO's average precision and recall of the detections in a set of scenes.

    Args:
        detections: of each scene.
        objects: of each scene, in the same order.
        num_classes: K; labels are 0 to K − 1.
        thresholds: of IoU.
        area: least and largest area of an object, in square pixels. Smaller and larger ones are
            neither to be found nor wrong to find. (The area of the box; COCO's annotations give
            that of the mask.)
        max_detections: of each class in a scene; those with the highest scores count.
        class_agnostic: whether all classes are one, so that only the boxes matter; K is then 1.

    Raises:
        ValueError: if there is no scene, there are not as many ``objects`` as ``detections``, a
            label is not below K, or a setting is out of its range.
    """
    matches = match(
        detections,
        objects,
        num_classes,
        thresholds=thresholds,
        area=area,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )
    once = torch.ones(matches.num_scenes, dtype=torch.float64)
    return AveragePrecision(*_ap_and_recall(_by_class(matches), once), tuple(thresholds))


def interval(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    num_classes: int,
    *,
    generator: torch.Generator,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
    samples: int = 1000,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of mAP: how much it depends on which scenes these are.

    N scenes are drawn with replacement from the N that there are, many times over, and mAP is
    computed of each draw; the interval leaves out 2.5 % of the draws on either side.

    Args:
        detections: of each scene.
        objects: of each scene, in the same order.
        num_classes: K; labels are 0 to K − 1.
        generator: of the draws.
        thresholds: of IoU.
        samples: how many draws.

    Raises:
        ValueError: as ``average_precision``, or if ``samples`` is below 1 or no scene has objects.

    Source: Efron (1979), "Bootstrap Methods: Another Look at the Jackknife".
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected at least 1")
    matches = match(detections, objects, num_classes, thresholds=thresholds)
    if not matches.counted.any():
        raise ValueError("objects holds no object to be found; expected at least one")
    n, parts, means = matches.num_scenes, _by_class(matches), []
    for _ in range(samples):
        drawn = torch.randint(n, (n,), generator=generator)
        times = drawn.bincount(minlength=n).double()  # how often each scene was drawn
        means.append(_ap_and_recall(parts, times)[0].nanmean())
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.stack(means).nanquantile(ends).tolist()
    return low, high


def precision_recall(
    correct: Tensor, num_objects: float, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return precision and recall after each detection, from the highest score to the lowest.

    Precision is the fraction of detections so far that are right, recall the fraction of objects
    that they have found.

    Args:
        correct: (…, D) bool, highest score first.
        num_objects: how many there are to be found.
        weights: (…, D), how often each detection counts; once if None.

    Shape: → (…, D), (…, D) float64 in [0, 1]; recall is not a number if there are no objects.
    """
    weights = torch.ones_like(correct) if weights is None else weights
    right = (correct * weights).double().cumsum(-1)
    shown = weights.double().cumsum(-1)
    return right / shown.where(shown > 0, 1), right / num_objects


def interpolated_ap(precision: Tensor, recall: Tensor) -> Tensor:
    """Return the mean, over 101 recalls, of the highest precision at that recall or a higher one.

    Shape: precision (…, D) and recall (…, D), of ``precision_recall`` → (…) float64 in [0, 1].
    """
    highest = precision.flip(-1).cummax(-1).values.flip(-1)
    highest = F.pad(highest, (0, 1))  # precision is 0 where a recall is never reached
    places = RECALLS.expand(*recall.shape[:-1], -1).contiguous()
    reached = torch.searchsorted(recall.contiguous(), places)  # the first detection there, or D
    return highest.gather(-1, reached).mean(-1)


@dataclass(frozen=True)
class _OfClass:
    """The D detections of one class, highest score first, and its G objects that count.

    Attributes:
        correct: (T, D) bool.
        shown: (T, D) bool, whether a detection counts as right or wrong.
        scenes: (D,) int64.
        object_scenes: (G,) int64.
    """

    correct: Tensor
    shown: Tensor
    scenes: Tensor
    object_scenes: Tensor


def _by_class(matches: Matches) -> list[_OfClass]:
    correct, shown = matches.correct, ~matches.ignored
    parts = []
    for k in range(matches.num_classes):
        own = matches.labels == k
        there = matches.counted & (matches.object_labels == k)
        parts.append(
            _OfClass(
                correct[:, own],
                shown[:, own],
                matches.scenes[own],
                matches.object_scenes[there],
            )
        )
    return parts


def _ap_and_recall(parts: Sequence[_OfClass], times: Tensor) -> tuple[Tensor, Tensor]:
    """Return both for each class if each scene counts so many times.

    Shape: times (N,) → (K, T), (K, T); not a number where there are no objects.
    """
    ap, recalls = [], []
    for part in parts:
        total = times[part.object_scenes].sum()
        weights = times[part.scenes] * part.shown
        curve = precision_recall(part.correct, float(total), weights)
        ap.append(interpolated_ap(*curve).where(total > 0, math.nan))
        recalls.append((part.correct * weights).sum(1) / total)
    return torch.stack(ap), torch.stack(recalls)
