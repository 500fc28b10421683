"""Boxes, suppression, anchors, matching and coding against torchvision, and by their laws."""

import math

import pytest
import torch
from boxing import SETS, boxes, labels, scores
from dl4cv.detection import anchors, coding, grid, losses, matching, nms
from dl4cv.detection import boxes as box_ops
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops
from torchvision.models.detection import _utils as theirs
from torchvision.models.detection.anchor_utils import AnchorGenerator
from twins import EXACT

DOUBLE = torch.float64
THOROUGH = settings(max_examples=500)
THRESHOLDS = st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.7, 1.0])


def assert_close(ours, other):
    torch.testing.assert_close(ours, other, **EXACT)


@THOROUGH
@given(SETS)
def test_overlaps_are_torchvisions(drawn):
    n, m, coarse, seed = drawn
    a, b = boxes(n, coarse=coarse, seed=seed), boxes(m, coarse=coarse, seed=seed + 1)
    assert_close(box_ops.area(a), ops.box_area(a))
    ours = box_ops.iou_matrix(a, b)
    assert_close(ours, ops.box_iou(a, b).nan_to_num(0))
    assert_close(ours, box_ops.iou_matrix(b, a).T)
    assert ((ours >= 0) & (ours <= 1)).all()
    generalized = box_ops.giou(a[:, None], b)
    expected = ops.generalized_box_iou(a, b)
    known = ~expected.isnan()  # 0 / 0 of two empty boxes
    assert_close(generalized[known], expected[known])
    assert ((generalized >= -1) & (generalized <= ours + 1e-12)).all()
    for single in (torch.float32, torch.int64):
        rounded = (a.to(single), b.to(single))
        expected = ops.box_iou(*(x.double() for x in rounded)).nan_to_num(0).float()
        torch.testing.assert_close(box_ops.iou_matrix(*rounded), expected, atol=1e-5, rtol=0)


@THOROUGH
@given(SETS)
def test_pairs_and_their_gradients_are_torchvisions(drawn):
    n, _, coarse, seed = drawn
    a, b = boxes(n, coarse=coarse, seed=seed), boxes(n, coarse=coarse, seed=seed + 1)
    assert_close(box_ops.iou(a, b), box_ops.iou_matrix(a, b).diagonal())
    apart = ~(a == b).any(1)  # where two sides are equal, IoU has a kink, and empty ones have eps
    a, b = a[apart].requires_grad_(), b[apart]
    loss = losses.giou_loss(a, b)
    expected = ops.generalized_box_iou_loss(a, b, eps=1e-12)
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    assert ((loss >= 0) & (loss <= 2)).all()
    if (box_ops.area(a) > 0).all() and (box_ops.area(b) > 0).all():
        ours, other = (torch.autograd.grad(x.sum(), a)[0] for x in (loss, expected))
        torch.testing.assert_close(ours, other, atol=1e-6, rtol=1e-6)


def test_overlaps_by_hand():
    box = torch.tensor([0.0, 0, 4, 2])
    assert box_ops.iou(box, torch.tensor([2.0, 0, 6, 2])).item() == pytest.approx(1 / 3)
    assert box_ops.iou(box, torch.tensor([4.0, 0, 6, 2])).item() == 0  # x1 is exclusive
    # The box around both is 8 × 2, and half of it is in neither.
    assert box_ops.giou(box, torch.tensor([4.0, 0, 8, 2])).item() == 0
    assert box_ops.giou(box, torch.tensor([8.0, 0, 12, 2])).item() == pytest.approx(-1 / 3)


@pytest.mark.parametrize(
    ("a", "b"), [((1, 1, 1, 5), (1, 1, 1, 5)), ((0, 0, 0, 0), (0, 0, 0, 0)), ((0,) * 4, (9,) * 4)]
)
def test_empty_boxes_have_no_overlap_and_a_finite_gradient(a, b):
    a, b = torch.tensor(a).float().requires_grad_(), torch.tensor(b).float()
    assert box_ops.iou(a, b).item() == 0
    (box_ops.iou(a, b) + box_ops.giou(a, b)).backward()
    assert a.grad.isfinite().all()


def test_giou_still_has_a_gradient_where_boxes_are_apart():
    a = torch.tensor([0.0, 0, 2, 2], requires_grad=True)
    away = torch.tensor([10.0, 0, 12, 2])
    assert torch.autograd.grad(box_ops.iou(a, away), a)[0].abs().max() == 0
    assert torch.autograd.grad(box_ops.giou(a, away), a)[0][2] > 0  # wider is nearer


@given(SETS)
def test_clipping_and_centers(drawn):
    n, _, coarse, seed = drawn
    b = boxes(n, coarse=coarse, seed=seed) - 8
    assert_close(box_ops.clip(b, 10, 20), ops.clip_boxes_to_image(b, (10, 20)))
    centers, sizes = box_ops.centers_and_sizes(b)
    assert_close(torch.cat([centers, sizes], 1), ops.box_convert(b, "xyxy", "cxcywh"))
    assert_close(box_ops.from_centers(centers, sizes), b)


@THOROUGH
@given(SETS, THRESHOLDS, st.integers(1, 20))
def test_suppression_is_torchvisions(drawn, threshold, classes):
    n, _, coarse, seed = drawn
    b, s = boxes(2 * n, coarse=coarse, seed=seed), scores(2 * n, coarse=coarse, seed=seed + 1)
    kinds = labels(2 * n, classes, seed=seed + 2)
    kept = nms.nms(b, s, threshold)
    assert torch.equal(kept, ops.nms(b, s, threshold))
    assert (s[kept].diff() <= 0).all()
    assert (box_ops.iou_matrix(b[kept], b[kept]).triu(1) <= threshold).all()
    each = nms.batched_nms(b, s, kinds, threshold)
    assert torch.equal(each, ops.batched_nms(b, s, kinds, threshold))
    assert torch.equal(nms.batched_nms(b, s, torch.zeros_like(kinds), threshold), kept)


def test_suppression_by_hand():
    b = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [0, 0, 10, 8]])
    s = torch.tensor([0.8, 0.9, 0.1, 0.7])
    assert nms.nms(b, s, 0.5).tolist() == [1, 2]
    # 0.9 to the second box, and 0.8 to the first: a threshold is exceeded, not reached.
    assert nms.nms(b, s, 0.9).tolist() == [1, 0, 3, 2]
    assert nms.batched_nms(b, s, torch.tensor([0, 1, 0, 1]), 0.5).tolist() == [1, 0, 2]
    assert nms.nms(b.half(), s.half(), 0.5).tolist() == [1, 2]


@THOROUGH
@given(
    st.lists(st.floats(1, 512), min_size=1, max_size=4),
    st.lists(st.floats(0.2, 5), min_size=1, max_size=4),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 32)),
)
def test_anchors_are_torchvisions(sizes, ratios, where):
    height, width, stride = where
    generator = AnchorGenerator((sizes,), (ratios,))
    shapes = anchors.shapes(sizes, ratios)
    around = torch.cat([-shapes, shapes], 1) / 2
    torch.testing.assert_close(  # theirs are rounded to whole pixels
        around, generator.generate_anchors(sizes, ratios), atol=0.5001, rtol=0
    )
    generator.cell_anchors = [around]
    (expected,) = generator.grid_anchors([(height, width)], [(stride, stride)])
    ours = anchors.on_grid(height, width, stride, shapes)
    # Theirs are at the corner of a cell, ours at its centre, as in the paper.
    torch.testing.assert_close(ours - stride / 2, expected, atol=1e-3, rtol=1e-6)


def test_anchors_by_hand():
    shapes = anchors.shapes([16, 32], [0.25, 1])
    assert shapes.tolist() == [[32, 8], [64, 16], [16, 16], [32, 32]]
    ours = anchors.on_grid(1, 2, 8, shapes)
    assert ours.shape == (8, 4)
    assert ours[0].tolist() == [4 - 16, 4 - 4, 4 + 16, 4 + 4]
    assert ours[6].tolist() == [12 - 8, 4 - 8, 12 + 8, 4 + 8]
    assert grid.centers(2, 2, 8).tolist() == [[4, 4], [12, 4], [4, 12], [12, 12]]


@THOROUGH
@given(SETS, st.sampled_from([(0.5, 0.5), (0.7, 0.3), (0.25, 0.0), (1.0, 1.0)]), st.booleans())
def test_matching_is_torchvisions(drawn, thresholds, allow_low_quality):
    n, m, coarse, seed = drawn
    high, low = thresholds
    overlaps = box_ops.iou_matrix(
        boxes(n, coarse=coarse, seed=seed), boxes(m, coarse=coarse, seed=seed + 1)
    )
    ours = matching.match(overlaps, high, low, allow_low_quality=allow_low_quality)
    assert ours.shape == (n,)
    if 0 in (n, m):
        assert (ours == matching.BACKGROUND).all()
        return
    best = overlaps.amax(0)
    if allow_low_quality and (best == 0).any():  # theirs gives such an object all the background
        best = best.masked_fill(best == 0, 2)
        matcher = theirs.Matcher(high, low)
        expected = matcher(overlaps.T)
        expected = torch.where((overlaps == best).any(1), overlaps.argmax(1), expected)
    else:
        expected = theirs.Matcher(high, low, allow_low_quality)(overlaps.T)
    assert torch.equal(ours, expected)


def test_matching_by_hand():
    overlaps = torch.tensor([[0.8, 0.1, 0], [0.5, 0.4, 0], [0.2, 0.0, 0], [0.1, 0.4, 0]])
    strict = matching.match(overlaps, 0.7, 0.3, allow_low_quality=False)
    assert strict.tolist() == [0, matching.IGNORED, matching.BACKGROUND, matching.IGNORED]
    # The second and the last overlap the second object most; each gets what it overlaps most.
    loose = matching.match(overlaps, 0.7, 0.3, allow_low_quality=True)
    assert loose.tolist() == [0, 0, matching.BACKGROUND, 1]


@THOROUGH
@given(st.integers(0, 40), st.integers(0, 30), st.floats(0, 1), st.integers(0, 999))
def test_a_sample_has_torchvisions_counts_and_no_others(count, most, fraction, seed):
    generator = torch.Generator().manual_seed(seed)
    matches = torch.randint(-2, 3, (count,), generator=generator)
    positive, negative = matching.sample(matches, most, fraction, generator=generator)
    # Theirs calls the background 0, objects 1 and above, and what is ignored −1.
    sampler = theirs.BalancedPositiveNegativeSampler(most, fraction)
    expected = [int(mask[0].sum()) for mask in sampler([matches + 1])]
    assert [len(positive), len(negative)] == expected
    assert (matches[positive] >= 0).all()
    assert (matches[negative] == matching.BACKGROUND).all()
    assert len(set(positive.tolist() + negative.tolist())) == sum(expected)


def test_a_sample_is_random_and_reproducible():
    matches = torch.full((100,), matching.BACKGROUND)
    matches[:50] = 0
    draws = [
        matching.sample(matches, 8, 0.25, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert all(map(torch.equal, draws[0], draws[1]))
    assert not any(map(torch.equal, draws[0], draws[2]))
    assert [len(part) for part in draws[0]] == [2, 6]


WEIGHTS = st.sampled_from([(1, 1, 1, 1), (10.0, 10.0, 5.0, 5.0), (1, 2, 3, 4)])


@THOROUGH
@given(SETS, WEIGHTS)
def test_coding_is_torchvisions_and_its_inverse(drawn, weights):
    n, _, coarse, seed = drawn
    a, b = (boxes(n, coarse=coarse, seed=seed + k, empty=False) for k in (0, 1))
    coder = theirs.BoxCoder(weights)
    deltas = coding.encode(b, a, weights)
    assert_close(deltas, coder.encode_single(b, a))
    small = (deltas[:, 2:] / torch.tensor(weights)[2:] < coding.MAX_LOG_RATIO).all()
    if small:
        torch.testing.assert_close(coding.decode(deltas, a, weights), b, atol=1e-9, rtol=0)
    wild = (8 * deltas).requires_grad_()
    ours, expected = coding.decode(wild, a, weights), coder.decode_single(wild, a)
    assert_close(ours, expected.view(n, 4))
    own, other = (torch.autograd.grad(x.square().sum(), wild)[0] for x in (ours, expected))
    assert_close(own, other)


def test_coding_by_hand():
    anchor, box = torch.tensor([0.0, 0, 10, 20]), torch.tensor([5.0, 0, 25, 20])
    deltas = coding.encode(box, anchor)
    torch.testing.assert_close(deltas, torch.tensor([1.0, 0, math.log(2), 0]))
    per_class = torch.stack([deltas, torch.zeros(4)])[None]  # (1, K, 4)
    decoded = coding.decode(per_class, anchor[None, None])
    torch.testing.assert_close(decoded, torch.stack([box, anchor])[None])
    huge = coding.decode(torch.tensor([0, 0, 1e9, 0]), torch.tensor([0.0, 0, 16, 16]))
    torch.testing.assert_close(huge[2] - huge[0], torch.tensor(1000.0))


@THOROUGH
@given(
    st.lists(st.tuples(st.floats(-900, 900), st.booleans()), max_size=8),
    st.sampled_from([0.25, 0.0, 1.0, 0.5]),
    st.sampled_from([2, 0, 0.5, 5]),
)
def test_focal_loss_is_torchvisions(drawn, alpha, gamma):
    logits = torch.tensor([x for x, _ in drawn], dtype=DOUBLE, requires_grad=True)
    targets = torch.tensor([t for _, t in drawn])
    loss = losses.sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma)
    expected = ops.sigmoid_focal_loss(logits, targets.to(DOUBLE), alpha, gamma)
    torch.testing.assert_close(loss, expected, atol=1e-9, rtol=1e-9)
    (ours,) = torch.autograd.grad(loss.sum(), logits)
    assert ours.isfinite().all()
    if gamma != 0.5:  # theirs is then not a number where the logit is certain
        (other,) = torch.autograd.grad(expected.sum(), logits)
        torch.testing.assert_close(ours, other, atol=1e-9, rtol=1e-9)


def test_focal_loss_by_hand():
    # p = 1/2 costs log 2, and (1 − p)² leaves a quarter of it.
    for target, alpha in ((1, 0.25), (0, 0.75)):
        loss = losses.sigmoid_focal_loss(torch.zeros(1).half(), torch.tensor([target]))
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(alpha * 0.25 * math.log(2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int64])
@settings(max_examples=50)
@given(SETS)
def test_small_types_give_what_float32_gives(dtype, drawn):
    n, m, _, seed = drawn
    a = boxes(n, coarse=True, seed=seed, size=128, empty=False).float()
    b = boxes(m, coarse=True, seed=seed + 1, size=128, empty=False).float()
    small, other = a.to(dtype), b.to(dtype)
    s = scores(n, coarse=True, seed=seed)
    pairs = [
        (box_ops.area(small), box_ops.area(a)),
        (box_ops.iou_matrix(small, other), box_ops.iou_matrix(a, b)),
        (box_ops.giou(small[:, None], other), box_ops.giou(a[:, None], b)),
        (box_ops.clip(small, 60, 70), box_ops.clip(a, 60, 70)),
        (nms.nms(small, s.half(), 0.5), nms.nms(a, s, 0.5)),
        (coding.encode(small[:, None], other), coding.encode(a[:, None], b)),
        (coding.decode(small[:1] * 0, small), a),
        (losses.giou_loss(small[:, None], other), losses.giou_loss(a[:, None], b)),
    ]
    for ours, expected in pairs:
        assert torch.equal(ours, expected)


GOOD = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 4]])
INVERTED, NAN = GOOD.flip(1), GOOD.where(GOOD > 0, math.nan)
ONE, KINDS = torch.ones(2), torch.zeros(2, dtype=torch.long)
SEEDED = torch.Generator()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_ops.area(INVERTED), r"boxes holds \[2.0, 2.0, 0.0, 0.0\]; expected \(x0"),
        (lambda: box_ops.iou(GOOD, NAN), "b holds nan; expected finite"),
        (lambda: box_ops.iou(GOOD[:, :3], GOOD), r"a has shape \(2, 3\); expected \(…, 4\)"),
        (lambda: box_ops.giou(GOOD, INVERTED), "b holds"),
        (lambda: box_ops.iou_matrix(GOOD[0], GOOD), r"a has shape \(4,\); expected \(N, 4\)"),
        (lambda: box_ops.clip(GOOD > 0, 2, 2), r"boxes is torch.bool; expected real numbers"),
        (lambda: box_ops.centers_and_sizes(torch.tensor(0.0)), r"boxes has shape \(\)"),
        (lambda: losses.giou_loss(INVERTED, GOOD), "predicted holds"),
        (lambda: losses.giou_loss(GOOD, GOOD / 0), "truth holds"),
        (lambda: nms.nms(GOOD, ONE * math.inf, 0.5), "scores holds inf; expected finite"),
        (lambda: nms.nms(GOOD, ONE[:1], 0.5), r"scores has shape \(1,\); expected \(2,\)"),
        (lambda: nms.nms(GOOD, ONE, 1.5), r"iou_threshold is 1.5; expected a value in \[0, 1\]"),
        (lambda: nms.nms(GOOD, ONE, math.nan), "iou_threshold is nan"),
        (lambda: nms.nms(INVERTED, ONE, 0.5), "holds"),
        (lambda: nms.batched_nms(GOOD, ONE, KINDS - 1, 0.5), "labels holds -1; expected classes"),
        (lambda: nms.batched_nms(GOOD, ONE, ONE, 0.5), r"labels is torch.float32; expected int"),
        (lambda: nms.batched_nms(GOOD, ONE, KINDS[:1], 0.5), r"labels has shape \(1,\)"),
        (lambda: anchors.shapes([], [1]), r"sizes is \[\]; expected at least one"),
        (lambda: anchors.shapes([8], [0]), r"ratios is \[0\]"),
        (lambda: anchors.on_grid(1, 1, 8, GOOD), r"shapes has shape \(2, 4\)"),
        (lambda: anchors.on_grid(1, 1, 8, -GOOD[:, 2:]), r"shapes is .* above 0"),
        (lambda: grid.centers(1, 0, 8), "width 0"),
        (lambda: matching.match(ONE, 0.5, 0.5, allow_low_quality=True), r"expected \(N, M\)"),
        (lambda: matching.match(2 * GOOD, 0.5, 0.5, allow_low_quality=True), "expected IoU"),
        (lambda: matching.match(GOOD / 4, 0.3, 0.7, allow_low_quality=True), "low is 0.7 and high"),
        (lambda: matching.sample(GOOD, 1, 0.5, generator=SEEDED), "matches has shape"),
        (lambda: matching.sample(KINDS, -1, 0.5, generator=SEEDED), "count is -1"),
        (lambda: matching.sample(KINDS, 1, 2, generator=SEEDED), "positive_fraction is 2"),
        (lambda: coding.encode(GOOD, 0 * GOOD), r"anchors holds \[0.0, .* which is empty"),
        (lambda: coding.encode(0 * GOOD, GOOD), "boxes holds"),
        (lambda: coding.encode(GOOD, GOOD, (1, 1, 0, 1)), r"weights is \(1, 1, 0, 1\)"),
        (lambda: coding.decode(NAN, GOOD), "deltas holds nan"),
        (lambda: coding.decode(GOOD[:, :2], GOOD), r"deltas has shape \(2, 2\)"),
        (lambda: coding.decode(GOOD, INVERTED), "anchors holds"),
        (lambda: losses.sigmoid_focal_loss(GOOD, ONE), r"targets has shape \(2,\)"),
        (
            lambda: losses.sigmoid_focal_loss(ONE, ONE / 2),
            "targets holds values other than 0 and 1",
        ),
        (lambda: losses.sigmoid_focal_loss(ONE, ONE, alpha=-1), "alpha is -1"),
        (lambda: losses.sigmoid_focal_loss(ONE, ONE, gamma=-1), "gamma is -1"),
        (lambda: losses.sigmoid_focal_loss(ONE / 0, ONE), "logits holds inf"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
