"""Average precision against pycocotools, and the errors of a detector against their definition."""

import contextlib
import io
import math

import pytest
import torch
from boxing import boxes, labels, scores
from dl4cv.detection import boxes as box_ops
from dl4cv.metrics import detection, detection_errors
from dl4cv.metrics.detection import Detections, Objects
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

THOROUGH = settings(max_examples=500)
#: (scenes, classes, at most so many objects in each, and detections, coarse, seed)
SETS = st.tuples(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 5),
    st.integers(0, 8),
    st.booleans(),
    st.integers(0, 9999),
)


def some_scenes(drawn, *, crowds: bool) -> tuple[list[Detections], list[Objects]]:
    """Return detections, most of them near an object, and objects, of up to 128 pixels."""
    count, classes, most_objects, most_detections, coarse, seed = drawn
    generator = torch.Generator().manual_seed(seed)
    found, there = [], []
    for scene in range(count):
        g, d = (
            int(torch.randint(n + 1, (), generator=generator))
            for n in (most_objects, most_detections)
        )
        of, seed = {"coarse": coarse, "seed": seed + 7 * scene}, seed + 1
        crowd = torch.rand(g, generator=generator) < 0.2 if crowds and g else None
        objects = Objects(
            boxes(g, size=128, empty=False, **of), labels(g, classes, seed=seed), crowd
        )
        if crowd is not None:
            objects.boxes[crowd, 2:] = 144  # large enough to cover detections of other objects
        guesses = boxes(d, size=128, empty=False, coarse=coarse, seed=seed)
        kinds = labels(d, classes, seed=seed + 1)
        if g:
            which = torch.randint(g, (d,), generator=generator)
            near, right = torch.rand(2, d, generator=generator) < 0.7
            shift = torch.rand(d, 1, generator=generator, dtype=torch.float64) / 3
            if coarse:  # by a quarter for an IoU of 12 / 20, exactly a threshold
                shift = (shift * 16).round() / 16
            shift = shift * (objects.boxes[which, 2:] - objects.boxes[which, :2])[:, :1]
            guesses = (objects.boxes[which] + shift * torch.tensor([1, 0, 1, 0])).where(
                near[:, None], guesses
            )
            kinds = objects.labels[which].where(right, kinds)
        found.append(Detections(guesses, scores(d, **of), kinds))
        there.append(objects)
    return found, there


def coco(found, there, classes: int, *, use_classes: bool = True) -> COCOeval:
    """Return pycocotools' evaluation."""
    annotations, results = [], []
    for scene, (detections, objects) in enumerate(zip(found, there, strict=True)):
        crowd = torch.zeros(len(objects.labels)) if objects.crowd is None else objects.crowd
        for box, label, many in zip(objects.boxes, objects.labels, crowd, strict=True):
            entry = as_coco(scene, box, label) | {"id": len(annotations) + 1, "iscrowd": int(many)}
            annotations.append(entry)
        for box, label, score in zip(
            detections.boxes, detections.labels, detections.scores, strict=True
        ):
            results.append(as_coco(scene, box, label) | {"score": float(score)})
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": scene} for scene in range(len(there))],
        "categories": [{"id": k} for k in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        guesses = COCO()
        guesses.dataset = truth.dataset | {
            "annotations": [result | {"id": n + 1} for n, result in enumerate(results)]
        }
        guesses.createIndex()
        evaluation = COCOeval(truth, guesses, "bbox")
        evaluation.params.useCats = int(use_classes)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def as_coco(scene: int, box, label) -> dict:
    x0, y0, x1, y1 = box.tolist()
    width, height = x1 - x0, y1 - y0
    return {
        "image_id": scene,
        "category_id": int(label),
        "bbox": [x0, y0, width, height],
        "area": width * height,
    }


def assert_equals_coco(ours, theirs: COCOeval, area: int, most: int) -> None:
    """Compare with what pycocotools has for one of its area ranges and numbers of detections."""
    precision = torch.from_numpy(theirs.eval["precision"])[..., area, most].mean(1).T  # (K, T)
    recall = torch.from_numpy(theirs.eval["recall"])[..., area, most].T
    exact = {"atol": 1e-6, "rtol": 0, "equal_nan": True}
    torch.testing.assert_close(ours.ap, precision.masked_fill(precision < 0, math.nan), **exact)
    torch.testing.assert_close(ours.recall, recall.masked_fill(recall < 0, math.nan), **exact)


@THOROUGH
@given(SETS, st.integers(0, 3), st.integers(0, 2))
def test_average_precision_is_that_of_pycocotools(drawn, area, most):
    found, there = some_scenes(drawn, crowds=True)
    ours = detection.average_precision(
        found,
        there,
        drawn[1],
        area=list(detection.AREAS.values())[area],
        max_detections=(1, 10, 100)[most],
    )
    assert_equals_coco(ours, coco(found, there, drawn[1]), area, most)


@settings(max_examples=100)
@given(SETS)
def test_class_agnostic_precision_is_that_of_pycocotools(drawn):
    found, there = some_scenes(drawn, crowds=True)
    # Of equal scores, theirs takes the lower class first, and of equally near objects the higher.
    found, there = [in_order(own) for own in found], [in_order(own) for own in there]
    ours = detection.average_precision(found, there, drawn[1], class_agnostic=True)
    assert_equals_coco(ours, coco(found, there, drawn[1], use_classes=False), 0, 2)


def in_order(part):
    order = part.labels.sort(stable=True).indices
    values = (None if value is None else value[order] for value in vars(part).values())
    return type(part)(*values)


def test_average_precision_by_hand():
    # Two objects; of three detections, the best and the worst are right.
    objects = Objects(torch.tensor([[0, 0, 10, 10], [20, 0, 30, 10]]), torch.tensor([0, 0]))
    guesses = torch.tensor([[50, 0, 60, 10], [0, 0, 10, 9], [20, 0, 30, 10]])
    found = Detections(guesses, torch.tensor([0.5, 0.9, 0.1]), torch.tensor([0, 0, 0]))
    ours = detection.average_precision([found], [objects], 2)
    # Precision 1 up to a recall of a half, 2/3 up to 1: 51 and 50 of 101 recalls. With an IoU of
    # 0.9, the first counts at all thresholds but the last.
    assert ours.at(0.5) == ours.at(0.9) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert ours.at(0.95) == pytest.approx(51 / 3 / 101)
    assert ours.mean == pytest.approx(0.9 * ours.at(0.5) + 0.1 * ours.at(0.95))
    assert ours.mean_recall == pytest.approx(0.95)
    assert ours.per_class[0].item() == pytest.approx(ours.mean)
    assert ours.per_class[1].isnan()
    with pytest.raises(ValueError, match=r"threshold is 0.52; expected one of \(0.5, 0.55"):
        ours.at(0.52)
    precision, recall = detection.precision_recall(torch.tensor([True, False, True]), 2)
    assert precision.tolist() == [1, 0.5, pytest.approx(2 / 3)]
    assert recall.tolist() == [0.5, 0.5, 1]


TWO = torch.tensor([[0, 0, 10, 10], [4, 0, 14, 10]])


@pytest.mark.parametrize(
    ("there", "crowd", "guesses", "ap"),
    [
        # Equally near to both, the first detection takes the last of them, and leaves the other to
        # the second detection or not.
        (TWO, None, [[2, 0, 12, 10], [0, 0, 10, 10]], 1),
        (TWO.flip(0), None, [[2, 0, 12, 10], [0, 0, 10, 10]], 51 / 101),
        # A crowd covers the detection whole, but the object that is to be found comes first; two
        # detections in the crowd count for nothing.
        ([[0, 0, 10, 10], [0, 0, 40, 40]], [False, True], [[0, 0, 10, 8]], 1),
        (
            [[50, 0, 60, 10], [0, 0, 40, 40]],
            [False, True],
            [[0, 0, 9, 9]] * 2 + [[50, 0, 60, 10]],
            1,
        ),
    ],
)
def test_which_object_a_detection_takes(there, crowd, guesses, ap):
    there, guesses = torch.as_tensor(there), torch.tensor(guesses)
    zeros = torch.zeros(9, dtype=torch.long)
    objects = Objects(there, zeros[: len(there)], None if crowd is None else torch.tensor(crowd))
    found = Detections(guesses, torch.arange(len(guesses), 0, -1) / 4, zeros[: len(guesses)])
    ours = detection.average_precision([found], [objects], 1)
    assert ours.at(0.5) == pytest.approx(ap)
    assert_equals_coco(ours, coco([found], [objects], 1), 0, 2)


@given(SETS)
def test_order_of_scenes_and_of_detections_changes_nothing(drawn):
    found, there = some_scenes((*drawn[:4], False, drawn[5]), crowds=True)
    whole = detection.average_precision(found, there, drawn[1])
    turned = detection.average_precision(
        [reverse(own) for own in found[::-1]], there[::-1], drawn[1]
    )
    torch.testing.assert_close(whole.ap, turned.ap, equal_nan=True)
    twice = detection.average_precision(2 * found, 2 * there, drawn[1])
    torch.testing.assert_close(whole.recall, twice.recall, equal_nan=True)


def reverse(part):
    return type(part)(*(value.flip(0) for value in vars(part).values()))


@given(SETS)
def test_the_truth_itself_is_perfect(drawn):
    _, there = some_scenes(drawn, crowds=False)
    found = [Detections(o.boxes, torch.ones(len(o.labels)), o.labels) for o in there]
    # Two objects of a class that are one and the same box are found twice all the same.
    ours = detection.average_precision(found, there, drawn[1])
    assert ours.ap.nan_to_num(1).min() == pytest.approx(1)
    if any(len(own.labels) for own in there):
        apart = detection_errors.take_apart(found, there, drawn[1])
        assert apart.ap == pytest.approx(1)
        assert set(apart.counts.values()) == {0}
        assert set(apart.costs.values()) == {0}


def test_half_precision_and_small_integers_are_as_good():
    objects = Objects(torch.tensor([[0, 0, 200, 200]], dtype=torch.uint8), torch.zeros(1).byte())
    found = Detections(
        torch.tensor([[0, 0, 200, 100]]).half(), torch.ones(1).half(), torch.zeros(1).int()
    )
    ours = detection.average_precision([found], [objects], 1)
    assert ours.at(0.5) == pytest.approx(1)
    assert ours.at(0.55) == 0


def test_no_detections_or_no_objects():
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long())
    empty = Objects(torch.zeros(0, 4), torch.zeros(0).long())
    one = Objects(torch.tensor([[0, 0, 2, 2]]), torch.tensor([1]))
    ours = detection.average_precision([nothing] * 2, [empty, one], 2)
    assert ours.ap[1].tolist() == [0] * 10
    assert ours.mean == ours.mean_recall == 0
    guess = Detections(torch.tensor([[0, 0, 2, 2]]), torch.ones(1), torch.tensor([1]))
    assert math.isnan(detection.average_precision([guess], [empty], 2).mean)
    apart = detection_errors.take_apart([nothing, guess], [one, empty], 2)
    assert apart.counts == dict.fromkeys(detection_errors.KINDS, 0) | {"background": 1, "missed": 1}


@settings(max_examples=50)
@given(SETS)
def test_a_bootstrap_is_the_evaluation_of_the_scenes_drawn(drawn):
    # Without equal scores: a scene that is drawn twice has its detections in another order.
    found, there = some_scenes((*drawn[:4], False, drawn[5]), crowds=True)
    if not any((~own.crowd).any() for own in there if own.crowd is not None):
        return
    thresholds = (0.5, 0.75)
    low, high = detection.interval(
        found, there, drawn[1], generator=torch.Generator().manual_seed(3),
        thresholds=thresholds, samples=20,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    means = []
    for _ in range(20):
        chosen = torch.randint(len(found), (len(found),), generator=generator).sort().values
        again = detection.average_precision(
            [found[i] for i in chosen], [there[i] for i in chosen], drawn[1], thresholds=thresholds
        )
        means.append(again.mean)
    ends = torch.tensor(means).double().nanquantile(torch.tensor([0.025, 0.975]).double())
    assert [low, high] == pytest.approx(ends.tolist(), abs=1e-6)


def test_an_interval_holds_the_mean_and_shrinks():
    few, many = (some_scenes((count, 2, 5, 8, False, 1), crowds=False) for count in (40, 360))
    widths = []
    for found, there in (few, many):
        generator = torch.Generator().manual_seed(0)
        low, high = detection.interval(
            found, there, 2, generator=generator, thresholds=[0.5], samples=200
        )
        assert low < detection.average_precision(found, there, 2, thresholds=[0.5]).mean < high
        widths.append(high - low)
    assert 2 < widths[0] / widths[1] < 4.5  # √9 = 3


def errors_by_definition(detections, objects, foreground=0.5, background=0.1):
    """Return the errors in a scene, box by box: {detection: (kind, the object that it means)}, and
    the objects that are missed."""
    overlaps = box_ops.iou_matrix(detections.boxes, objects.boxes)
    count, owned, errors = len(objects.labels), set(), {}
    for d in detections.scores.argsort(descending=True).tolist():
        same = objects.labels == detections.labels[d]
        free = [
            g for g in range(count) if same[g] and g not in owned and overlaps[d, g] >= foreground
        ]
        if free:
            owned.add(max(free, key=lambda g, d=d: overlaps[d, g]))
            continue
        own, other = ((overlaps[d] * mask).tolist() for mask in (same, ~same))
        nearest, nearest_other = max(own, default=0), max(other, default=0)
        if background <= nearest < foreground:
            errors[d] = ("localization", own.index(nearest))
        elif nearest_other >= foreground:
            errors[d] = ("classification", other.index(nearest_other))
        elif nearest >= foreground:
            errors[d] = ("duplicate", None)
        elif max(nearest, nearest_other) < background:
            errors[d] = ("background", None)
        else:
            errors[d] = ("both", None)
    # Only the detection with the highest score that means an object can be mended to have it.
    meant = set()
    for d, (kind, aim) in errors.items():
        errors[d] = (kind, None if aim in owned | meant else aim)
        meant.add(aim)
    return errors, [g for g in range(count) if g not in owned | meant]


def mended(detections, objects, errors, kind):
    """Return a scene's detections without the errors of a kind."""
    boxes, labels = detections.boxes.clone(), detections.labels.clone()
    keep = torch.ones(len(labels), dtype=torch.bool)
    for d, (own, aim) in errors.items():
        if own == kind and aim is None:
            keep[d] = False
        elif own == kind:
            boxes[d], labels[d] = objects.boxes[aim], objects.labels[aim]
    return Detections(boxes[keep], detections.scores[keep], labels[keep])


@settings(max_examples=200)
@given(SETS)
def test_errors_and_their_costs_are_those_of_the_definition(drawn):
    found, there = some_scenes((*drawn[:4], False, drawn[5]), crowds=False)
    classes = torch.cat([own.labels for own in there]).unique()
    if not len(classes):
        return

    def mean_ap(found, there):
        of_class = detection.average_precision(found, there, drawn[1], thresholds=[0.5]).ap
        return float(of_class[classes].nan_to_num(0).mean())

    apart = detection_errors.take_apart(found, there, drawn[1])
    assert apart.ap == pytest.approx(mean_ap(found, there))
    scenes = list(zip(found, there, strict=True))
    errors, missed = zip(*(errors_by_definition(*scene) for scene in scenes), strict=True)
    for kind in detection_errors.KINDS[:-1]:
        assert apart.counts[kind] == sum(k == kind for own in errors for k, _ in own.values())
        better = [mended(*scene, own, kind) for scene, own in zip(scenes, errors, strict=True)]
        assert apart.costs[kind] == pytest.approx(mean_ap(better, there) - apart.ap), kind
    assert apart.counts["missed"] == sum(map(len, missed))
    left = [
        Objects(*(values[[g for g in range(len(values)) if g not in out]] for values in own))
        for own, out in zip(((o.boxes, o.labels) for o in there), missed, strict=True)
    ]
    assert apart.costs["missed"] == pytest.approx(mean_ap(found, left) - apart.ap)


OBJECTS = Objects(torch.tensor([[0, 0, 10, 10], [50, 0, 60, 10]]), torch.tensor([0, 1]))
#: One more detection beside a right one of each object: what is wrong with it, and what mends it.
ONE_MORE = {
    "localization": ([0, 0, 10, 4], 0),
    "classification": ([50, 0, 60, 10], 0),
    "duplicate": ([0, 0, 10, 9], 0),
    "background": ([80, 80, 90, 90], 0),
    "both": ([50, 0, 60, 4], 0),
}


@pytest.mark.parametrize("kind", ONE_MORE)
def test_each_kind_of_error_is_told_apart(kind):
    box, label = ONE_MORE[kind]
    guesses = torch.cat([OBJECTS.boxes, torch.tensor([box])])
    score = torch.tensor([0.9, 0.9, 0.95])
    if kind == "duplicate":  # which the one with the higher score is not
        score[2] = 0.5
    found = Detections(guesses, score, torch.tensor([0, 1, label]))
    apart = detection_errors.take_apart([found], [OBJECTS], 2)
    assert apart.counts == dict.fromkeys(detection_errors.KINDS, 0) | {kind: 1}
    # A wrong one before the right one halves the precision of its class.
    assert apart.ap == pytest.approx(1 if kind == "duplicate" else 0.75)
    assert apart.costs[kind] == pytest.approx(1 - apart.ap)
    assert sum(apart.costs.values()) == pytest.approx(1 - apart.ap)


def test_an_error_is_mended_once_for_each_object():
    # Nobody has the first object: two are beside it, a third has the wrong class, and the last is
    # on the second object, whose AP is 1.
    guesses = torch.tensor([[0, 0, 10, 4], [0, 0, 10, 3], [0, 0, 10, 10], [50, 0, 60, 10]])
    found = Detections(guesses, torch.tensor([0.9, 0.8, 0.7, 0.95]), torch.tensor([0, 0, 1, 1]))
    apart = detection_errors.take_apart([found], [OBJECTS], 2)
    assert apart.counts == dict.fromkeys(detection_errors.KINDS, 0) | {
        "localization": 2,
        "classification": 1,
    }
    assert apart.ap == pytest.approx(0.5)
    assert apart.costs["localization"] == pytest.approx(
        0.5
    )  # the first is mended, the next left out
    assert apart.costs["classification"] == 0  # another would have the object with a higher score


def test_a_wrong_class_is_mended_in_the_class_of_its_object():
    found = Detections(OBJECTS.boxes, torch.tensor([0.9, 0.5]), torch.tensor([0, 0]))
    apart = detection_errors.take_apart([found], [OBJECTS], 2)
    assert apart.counts["classification"] == sum(apart.counts.values()) == 1
    assert apart.ap == pytest.approx(0.5)  # nothing of the second class
    assert apart.costs["classification"] == pytest.approx(0.5)


def test_missed_objects_cost_what_they_take_from_recall():
    found = Detections(torch.tensor([[0, 0, 10, 10]]), torch.ones(1), torch.tensor([0]))
    both = Objects(OBJECTS.boxes, torch.tensor([0, 0]))
    apart = detection_errors.take_apart([found], [both], 1)
    assert apart.counts["missed"] == 1
    assert apart.ap == pytest.approx(51 / 101)
    assert apart.costs["missed"] == pytest.approx(50 / 101)


FOUND = Detections(OBJECTS.boxes, torch.ones(2), OBJECTS.labels)
SEEDED = torch.Generator()


def ap(found=(FOUND,), there=(OBJECTS,), classes=2, **settings):
    return detection.average_precision(found, there, classes, **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Detections(OBJECTS.boxes.flip(1), torch.ones(2), OBJECTS.labels), "boxes holds"),
        (lambda: Detections(OBJECTS.boxes, torch.ones(2) / 0, OBJECTS.labels), "scores holds inf"),
        (lambda: Detections(OBJECTS.boxes, torch.ones(1), OBJECTS.labels), "scores has shape"),
        (lambda: Detections(OBJECTS.boxes, torch.ones(2), torch.ones(2)), "labels is torch.float"),
        (lambda: Objects(OBJECTS.boxes[0], OBJECTS.labels), r"boxes has shape \(4,\)"),
        (lambda: Objects(OBJECTS.boxes, -OBJECTS.labels), "labels holds -1"),
        (lambda: Objects(OBJECTS.boxes, OBJECTS.labels, OBJECTS.labels), r"expected bool, \(2,\)"),
        (lambda: ap(found=[]), "detections of 0 scenes and objects of 1"),
        (lambda: ap(found=[], there=[]), "at least one scene"),
        (lambda: ap(classes=1), "detections hold label 1; expected labels from 0 to 0"),
        (lambda: ap(classes=0), "num_classes is 0"),
        (lambda: ap(max_detections=0), "max_detections is 0; expected at least 1"),
        (lambda: ap(thresholds=[]), r"thresholds is \[\]"),
        (lambda: ap(thresholds=[50]), r"thresholds is \[50\]; expected .* in \[0, 1\]"),
        (lambda: ap(area=(9, 3)), r"area is \(9, 3\)"),
        (lambda: ap(area=(math.nan, 3)), "area is"),
        (
            lambda: detection.interval([FOUND], [OBJECTS], 2, generator=SEEDED, samples=0),
            "samples is 0; expected at least 1",
        ),
        (
            lambda: detection.interval(
                [FOUND], [Objects(torch.zeros(0, 4), torch.zeros(0).long())], 2, generator=SEEDED
            ),
            "objects holds no object to be found",
        ),
        (
            lambda: detection_errors.take_apart([FOUND], [OBJECTS], 2, background=0.6),
            "background is 0.6 and foreground 0.5",
        ),
        (
            lambda: detection_errors.take_apart(
                [FOUND], [Objects(torch.zeros(0, 4), torch.zeros(0).long())], 2
            ),
            "objects holds no object to be found",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
