"""What a detector does wrong, taken apart by kind, and what each kind costs in average precision.

Source: Bolya, Foley, Hays and Hoffman (2020), arXiv 2008.08115 (TIDE).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dl4cv.detection import boxes as box_ops
from dl4cv.metrics import detection, detection_matching
from dl4cv.metrics.detection_matching import Detections, Matches, Objects

#: What is wrong with a detection: the first that applies, but for ``both``, which is what is left.
#:
#: - ``localization``: it overlaps an object of its class, by less than the foreground threshold.
#: - ``classification``: it is on an object of another class.
#: - ``duplicate``: it is on an object that a detection with a higher score has.
#: - ``background``: it hardly overlaps any object.
#: - ``both``: it overlaps an object of another class, by less than the foreground threshold.
#:
#: And ``missed``: an object that no detection has, nor would have if class or box were mended.
KINDS = ("localization", "classification", "duplicate", "background", "both", "missed")


@dataclass(frozen=True)
class Errors:
    """The errors of a detector by kind.

    Attributes:
        counts: how many there are of each of ``KINDS``.
        costs: how much mAP at the foreground threshold would rise if those of one kind were mended,
            and no others. They do not add up to what is missing.
        ap: mAP at the foreground threshold as it is.
    """

    counts: dict[str, int]
    costs: dict[str, float]
    ap: float


def take_apart(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    num_classes: int,
    *,
    foreground: float = 0.5,
    background: float = 0.1,
) -> Errors:
    """Return how many errors of each kind there are, and what each kind costs.

    A wrong detection is mended by giving it the class, or the box, of the object that it overlaps
    most, unless another has that object or would with a higher score; else, and for the other
    kinds, by removing it. Missed objects are mended by not counting them.

    Args:
        detections: of each scene.
        objects: of each scene, in the same order.
        num_classes: K; labels are 0 to K − 1.
        foreground: from which IoU a detection is on an object.
        background: below which IoU it overlaps hardly any.

    Raises:
        ValueError: as ``detection.average_precision``, or if not
            0 ≤ ``background`` ≤ ``foreground`` ≤ 1, or no object is to be found.
    """
    if not 0 <= background <= foreground <= 1:
        raise ValueError(
            f"background is {background} and foreground {foreground}; expected "
            "0 ≤ background ≤ foreground ≤ 1"
        )
    matches = detection_matching.match(detections, objects, num_classes, thresholds=[foreground])
    if not matches.counted.any():
        raise ValueError("objects holds no object to be found; expected at least one")
    correct, shown = matches.correct[0], ~matches.ignored[0]
    (own, own_object), (other, other_object) = _nearest(matches)

    of_kind = _kinds(own, other, shown & ~correct, foreground, background)
    meant = torch.full_like(own_object, -1)  # the object that a detection would have if mended
    meant = own_object.where(of_kind["localization"], meant)
    meant = other_object.where(of_kind["classification"], meant)
    taken = torch.zeros_like(matches.counted)
    taken[matches.found[0, correct]] = True
    first = detection_matching.rank(meant) == 0  # of those that mean this object
    mendable = first & (meant >= 0) & ~taken[meant]
    aimed_at = torch.zeros_like(taken)
    aimed_at[meant[meant >= 0]] = True
    missed = matches.counted & ~taken & ~aimed_at

    labels, object_labels = matches.labels, matches.object_labels
    totals = object_labels[matches.counted].bincount(minlength=num_classes)
    ap = _mean_ap(labels, correct, shown, totals)
    costs = {}
    for kind, mask in of_kind.items():
        mended = mask & mendable
        new = object_labels[meant].where(mended, labels), correct | mended, shown & (~mask | mended)
        costs[kind] = _mean_ap(*new, totals) - ap
    left = totals - object_labels[missed].bincount(minlength=num_classes)
    left = left.where((left > 0) | (totals == 0), 1)  # AP is 0 where all of a class are missed
    costs["missed"] = _mean_ap(labels, correct, shown, left) - ap
    counts = {kind: int(mask.sum()) for kind, mask in (of_kind | {"missed": missed}).items()}
    return Errors(counts, costs, ap)


def _kinds(
    own: Tensor, other: Tensor, wrong: Tensor, foreground: float, background: float
) -> dict[str, Tensor]:
    """Return which detections are errors of each kind.

    Shape: (D,) each: the largest IoU with an object of its class, and of the others, and whether a
        detection is wrong → (D,) bool for each kind but ``missed``.
    """
    rules = {
        "localization": (own >= background) & (own < foreground),
        "classification": other >= foreground,
        "duplicate": own >= foreground,
        "background": torch.maximum(own, other) < background,
        "both": torch.ones_like(wrong),
    }
    of_kind = {}
    for kind, applies in rules.items():
        of_kind[kind] = wrong & applies
        wrong = wrong & ~applies
    return of_kind


def _mean_ap(labels: Tensor, correct: Tensor, shown: Tensor, totals: Tensor) -> float:
    """Return the mean AP of the classes that have objects.

    Shape: labels (D,), correct (D,) and shown (D,) bool, highest score first, totals (K,).
    """
    aps = []
    for k in totals.nonzero()[:, 0].tolist():
        own = correct[(labels == k) & shown]
        aps.append(detection.interpolated_ap(*detection.precision_recall(own, int(totals[k]))))
    return float(torch.stack(aps).mean())


def _nearest(matches: Matches) -> list[tuple[Tensor, Tensor]]:
    """Return the largest IoU of each detection with an object of its class, and that object.

    And then the same for objects of the other classes.

    Shape: (D,) each; where it overlaps none, the IoU is 0 and the object −1.
    """
    objects = matches.counted.nonzero()[:, 0]
    of_scene = detection_matching.members(matches.object_scenes[objects], matches.num_scenes)
    places = of_scene[matches.scenes]  # (D, S)
    rivals = objects[places].where(places >= 0, -1)
    overlaps = box_ops.iou(matches.boxes[:, None], matches.object_boxes[rivals])
    same = matches.object_labels[rivals] == matches.labels[:, None]
    nearest = []
    for of_interest in (same, ~same):
        overlap, place = overlaps.where(of_interest & (rivals >= 0), 0).max(1)
        nearest.append((overlap, rivals.gather(1, place[:, None])[:, 0].where(overlap > 0, -1)))
    return nearest
