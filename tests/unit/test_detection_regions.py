"""Features of regions against torchvision, and the targets of FCOS against torchvision's."""

import math
from types import SimpleNamespace

import pytest
import torch
from boxing import boxes
from dl4cv import gradcheck
from dl4cv.detection import boxes as box_ops
from dl4cv.detection import fcos, roi
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops
from torchvision.models.detection import FCOS
from torchvision.models.detection._utils import BoxLinearCoder
from twins import EXACT, numbers

THOROUGH = settings(max_examples=500)
MAPS = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
BINS = st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 4), st.integers(1, 3)))
SCALES = st.sampled_from([1.0, 0.5, 0.25, 0.125])


def a_few(count: int, images: int, *, coarse: bool, seed: int) -> list[torch.Tensor]:
    """Return boxes of each image, none for some; they reach beyond a map of 9 × 9 cells."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(count + 1, (images,), generator=generator).tolist()
    return [boxes(k, coarse=coarse, seed=seed + n) for n, k in enumerate(counts)]


@THOROUGH
@given(MAPS, BINS, SCALES, st.integers(1, 3), st.booleans(), st.booleans(), st.integers(0, 9999))
def test_aligned_regions_are_torchvisions(shape, bins, scale, ratio, aligned, coarse, seed):
    features = numbers(*shape, seed=seed).requires_grad_()
    # Sides of whole cells and halves are exact in a bin only where the number of samples is.
    coarse = coarse and ratio < 3 and bins in (1, 2, 4)
    where = a_few(4, shape[0], coarse=coarse, seed=seed)
    settings = {"spatial_scale": scale, "sampling_ratio": ratio, "aligned": aligned}
    ours = roi.roi_align(features, where, bins, **settings)
    expected = ops.roi_align(features, where, bins, **settings)
    torch.testing.assert_close(ours, expected, **EXACT)
    dy = numbers(*ours.shape, seed=seed + 1)
    own, other = (torch.autograd.grad(y, features, dy)[0] for y in (ours, expected))
    torch.testing.assert_close(own, other, **EXACT)


@THOROUGH
@given(MAPS, BINS, SCALES, st.booleans(), st.integers(0, 9999))
def test_pooled_regions_are_torchvisions(shape, bins, scale, coarse, seed):
    features = numbers(*shape, seed=seed).requires_grad_()
    where = a_few(4, shape[0], coarse=coarse, seed=seed)
    ours = roi.roi_pool(features, where, bins, spatial_scale=scale)
    expected = ops.roi_pool(features, where, bins, scale)
    torch.testing.assert_close(ours, expected, **EXACT)
    dy = numbers(*ours.shape, seed=seed + 1)
    own, other = (torch.autograd.grad(y, features, dy)[0] for y in (ours, expected))
    torch.testing.assert_close(own, other, **EXACT)


def test_an_aligned_region_of_whole_cells_is_their_mean():
    features = torch.arange(16.0).view(1, 1, 4, 4)
    box = [torch.tensor([[8, 0, 24, 16]])]  # columns 1 and 2, rows 0 and 1, at a stride of 8
    aligned = roi.roi_align(features, box, 2, spatial_scale=1 / 8, sampling_ratio=1)
    assert aligned.flatten().tolist() == [1, 2, 5, 6]
    shifted = roi.roi_align(features, box, 2, spatial_scale=1 / 8, sampling_ratio=1, aligned=False)
    assert shifted.flatten().tolist() == [1 + 2.5, 2 + 2.5, 5 + 2.5, 6 + 2.5]
    # Rounded to cells 1 to 3 and 0 to 2, each bin two cells wide and high.
    pooled = roi.roi_pool(features, box, 2, spatial_scale=1 / 8)
    assert pooled.flatten().tolist() == [6, 7, 10, 11]


def test_an_aligned_region_has_a_gradient_with_respect_to_its_box():
    features, box = numbers(1, 2, 6, 6), torch.tensor([[3.3, 4.1, 20.7, 17.2]]).double()
    box.requires_grad_()

    def total(own):
        return roi.roi_align(features, [own], 3, spatial_scale=1 / 4).square().sum()

    total(box).backward()
    numerical = gradcheck.numerical_gradient(total, box.detach())
    assert gradcheck.relative_error(box.grad, numerical) < 1e-6


def test_mixed_precision_does_not_move_the_samples():
    features, box = numbers(1, 2, 6, 6).float(), [torch.tensor([[3.3, 4.1, 20.7, 17.2]])]
    expected = roi.roi_align(features, box, 3, spatial_scale=1 / 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(roi.roi_align(features, box, 3, spatial_scale=1 / 4), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int64])
@settings(max_examples=50)
@given(MAPS, st.integers(0, 9999))
def test_small_types_give_what_float32_gives(dtype, shape, seed):
    features = (numbers(*shape, seed=seed).abs() * 8).floor().float()
    where = [own.float() for own in a_few(4, shape[0], coarse=True, seed=seed)]
    small = [own.to(dtype) for own in where]
    for pool in (roi.roi_align, roi.roi_pool):
        ours = pool(features.to(dtype), small, 2, spatial_scale=1 / 4)
        assert torch.equal(ours, pool(features, where, 2, spatial_scale=1 / 4))
    places = fcos.locations([(4, 4)], [8], [])
    for ours, own in zip(small, where, strict=True):
        assert torch.equal(
            fcos.assign(ours, places, radius=1.5), fcos.assign(own, places, radius=1.5)
        )
        points = places.points[: len(own)]
        assert torch.equal(fcos.encode(points.to(dtype), ours), fcos.encode(points, own))


@pytest.mark.parametrize("pool", [roi.roi_align, roi.roi_pool])
def test_no_boxes_give_no_regions(pool):
    features = torch.zeros(2, 3, 4, 4)
    assert pool(features, [torch.zeros(0, 4)] * 2, 7, spatial_scale=1).shape == (0, 3, 7, 7)
    one = pool(features.half(), [torch.zeros(0, 4), torch.ones(1, 4)], 7, spatial_scale=1)
    assert one.shape == (1, 3, 7, 7)
    assert one.dtype == torch.float32


PYRAMID = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=3)


def torchvisions(where, box, sizes, strides, radius):
    """Return what torchvision's FCOS assigns, whose levels end at eight strides."""
    half = where.strides[:, None] / 2
    anchors = torch.cat([where.points - half, where.points + half], 1)
    model = SimpleNamespace(
        center_sampling_radius=radius,
        head=SimpleNamespace(compute_loss=lambda targets, outputs, anchors, matches: matches),
    )
    counts = [height * width for height, width in sizes]
    (matches,) = FCOS.compute_loss(model, [{"boxes": box.float()}], {}, [anchors], counts)
    return matches


@THOROUGH
@given(PYRAMID, st.integers(0, 6), st.sampled_from([1.5, 0.5, 3.0, 100.0]), st.integers(0, 9999))
def test_locations_have_torchvisions_targets(sizes, count, radius, seed):
    strides = [4 * 2**k for k in range(len(sizes))]
    where = fcos.locations(sizes, strides, [8 * stride for stride in strides[:-1]])
    assert len(where.points) == sum(height * width for height, width in sizes)
    box = boxes(count, coarse=False, seed=seed, size=64)
    ours = fcos.assign(box, where, radius=radius)
    expected = torchvisions(where, box, sizes, strides, radius)
    assert torch.equal(ours >= 0, expected >= 0)
    # Theirs takes areas from 1e8 in float32, which rounds them to eights.
    gap = box_ops.area(box)[ours] - box_ops.area(box)[expected] if count else torch.zeros(1)
    assert ((gap <= 0) & (gap >= -16)).all()


@given(PYRAMID, st.integers(0, 3), st.integers(1, 6), st.integers(0, 9999))
def test_locations_of_a_batch_are_those_of_each_image(sizes, images, count, seed):
    where = fcos.locations(sizes, [8] * len(sizes), [16 + k for k in range(len(sizes) - 1)])
    batch = boxes(images * count, coarse=True, seed=seed, size=64).view(images, count, 4)
    filled = torch.cat([batch, torch.zeros(images, 2, 4)], 1)
    ours = fcos.assign(filled, where, radius=math.inf)
    assert ours.shape == (images, len(where.points))
    for own, box in zip(ours, batch, strict=True):
        assert torch.equal(own, fcos.assign(box, where, radius=math.inf))
    for n, location in (ours >= 0).nonzero().tolist():
        x, y = where.points[location]
        x0, y0, x1, y1 = batch[n, ours[n, location]]
        assert x0 < x < x1
        assert y0 < y < y1


def test_locations_by_hand():
    where = fcos.locations([(4, 4), (2, 2)], [8, 16], [20])
    assert where.points[:5].tolist() == [[4, 4], [12, 4], [20, 4], [28, 4], [4, 12]]
    assert where.points[16:].tolist() == [[8, 8], [24, 8], [8, 24], [24, 24]]
    assert where.strides.tolist() == [8] * 16 + [16] * 4
    assert where.smallest.tolist() == [0] * 16 + [20] * 4
    assert where.largest.tolist() == [20] * 16 + [math.inf] * 4
    whole, small = torch.tensor([[0, 0, 32, 32], [0, 0, 8, 8]])
    # The finer level has those from which no side of the large box is farther than 20 pixels.
    inside = fcos.assign(torch.stack([whole, small]), where, radius=math.inf)
    assert inside[:16].view(4, 4).tolist() == [
        [1, -1, -1, -1],  # the smaller of two; the other three are too far from a side
        [-1, 0, 0, -1],  # exactly 20 from the farther side
        [-1, 0, 0, -1],
        [-1, -1, -1, -1],
    ]
    assert inside[16:].tolist() == [0, 0, 0, 0]
    near = fcos.assign(whole[None], where, radius=0.5)
    assert near[:16].tolist() == [-1] * 16  # a radius of 4, and the centre is 4 away
    assert near[16:].tolist() == [-1] * 4
    assert fcos.assign(whole[None], where, radius=0.51)[:16].sum() == -12
    assert fcos.assign(torch.zeros(3, 0, 4), where, radius=1).tolist() == [[-1] * 20] * 3


@THOROUGH
@given(st.integers(0, 9), st.integers(0, 9999))
def test_distances_are_torchvisions_and_the_way_back(count, seed):
    box = boxes(count, coarse=False, seed=seed, size=64)
    points = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)).double()
    points = box[:, :2] + points * (box[:, 2:] - box[:, :2])
    distances = fcos.encode(points, box)
    coder = BoxLinearCoder(normalize_by_size=False)
    torch.testing.assert_close(distances, coder.encode(points.repeat(1, 2), box), **EXACT)
    torch.testing.assert_close(fcos.decode(points, distances), box, **EXACT)
    left_right, top_bottom = distances[:, [0, 2]], distances[:, [1, 3]]
    expected = (left_right.amin(1) / left_right.amax(1)) * (top_bottom.amin(1) / top_bottom.amax(1))
    torch.testing.assert_close(fcos.centerness(distances), expected.sqrt(), **EXACT)


def test_centerness_by_hand():
    distances = torch.tensor([[4, 3, 4, 3], [1, 2, 4, 2], [0, 2, 4, 2], [0, 0, 0, 0]])
    assert fcos.centerness(distances).tolist() == [1, 0.5, 0, 0]


MAP, BOX = torch.zeros(1, 2, 4, 4), torch.tensor([[0.0, 0, 8, 8]])
WHERE = fcos.locations([(2, 2)], [8], [])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: roi.roi_align(MAP, [], 2, spatial_scale=1), "boxes of 0 images; expected"),
        (lambda: roi.roi_align(MAP[0], [BOX] * 2, 2, spatial_scale=1), r"shape \(2, 4, 4\)"),
        (lambda: roi.roi_pool(MAP[:0], [], 2, spatial_scale=1), r"shape \(0, 2, 4, 4\)"),
        (lambda: roi.roi_pool(MAP, [BOX[0]], 2, spatial_scale=1), r"boxes\[0\] has shape \(4,\)"),
        (lambda: roi.roi_pool(MAP, [BOX.flip(1)], 2, spatial_scale=1), r"boxes\[0\] holds"),
        (lambda: roi.roi_align(MAP, [BOX], 2, spatial_scale=0), "spatial_scale is 0"),
        (lambda: roi.roi_align(MAP, [BOX], 0, spatial_scale=1), "output_size is 0"),
        (lambda: roi.roi_align(MAP / 0, [BOX], 2, spatial_scale=1), "features holds nan"),
        (
            lambda: roi.roi_align(MAP, [BOX], 2, spatial_scale=1, sampling_ratio=0),
            "sampling_ratio is 0; expected at least 1",
        ),
        (lambda: fcos.locations([], [], []), "there are 0 sizes, 0 strides and 0 limits"),
        (lambda: fcos.locations([(2, 2)], [8], [64]), "1 sizes, 1 strides and 1 limits"),
        (lambda: fcos.locations([(2, 2)] * 3, [8] * 3, [64, 64]), r"limits is \[64, 64\]"),
        (lambda: fcos.locations([(2, 2)] * 2, [8] * 2, [math.inf]), r"limits is \[inf\]"),
        (lambda: fcos.locations([(0, 2)], [8], []), "height is 0"),
        (lambda: fcos.assign(BOX[0], WHERE, radius=1), r"expected \(…, M, 4\)"),
        (lambda: fcos.assign(BOX.flip(1), WHERE, radius=1), "boxes holds"),
        (lambda: fcos.assign(BOX, WHERE, radius=0), "radius is 0; expected a value above 0"),
        (lambda: fcos.assign(BOX, WHERE, radius=math.nan), "radius is nan"),
        (lambda: fcos.encode(BOX, BOX), r"points has shape \(1, 4\); expected \(…, 2\)"),
        (lambda: fcos.decode(BOX[:, :2], BOX / 0), "distances holds"),
        (lambda: fcos.centerness(-BOX), "distances holds -8.0; expected points inside"),
        (lambda: fcos.centerness(BOX[:, :2]), r"distances has shape \(1, 2\)"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
