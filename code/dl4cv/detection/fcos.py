"""FCOS: each location of a feature pyramid predicts at most one box, as distances to its sides.

Source: Tian, Shen, Chen and He (2019), arXiv 1904.01355, section 3.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dl4cv.detection import boxes as box_ops
from dl4cv.detection import grid, inputs
from dl4cv.detection.matching import BACKGROUND


@dataclass(frozen=True)
class Locations:
    """The L locations of a feature pyramid: level after level, row by row.

    Attributes:
        points: (L, 2) float32, (x, y) in pixels: the centre of each cell.
        strides: (L,) float32, pixels from one location of the level to the next.
        smallest: (L,) float32, pixels; the farthest side of a target is at least that far away.
        largest: (L,) float32, pixels; it is at most that far away; infinite on the last level.
    """

    points: Tensor
    strides: Tensor
    smallest: Tensor
    largest: Tensor


def locations(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], limits: Sequence[float]
) -> Locations:
    """Return the locations of all levels, the finest level first.

    Args:
        sizes: (height, width) of each level, in cells.
        strides: of each level, in pixels.
        limits: in pixels, between one level and the next: m₃ to m₆ in the paper.

    Raises:
        ValueError: if there is no level, there are not as many strides as sizes and one limit
            fewer, the limits do not grow from above 0, or a size or a stride is below 1.
    """
    bounds = [0, *limits, math.inf]
    if not len(sizes) == len(strides) == len(bounds) - 1:
        raise ValueError(
            f"there are {len(sizes)} sizes, {len(strides)} strides and {len(limits)} limits; "
            "expected a stride for each size, and a limit between two levels"
        )
    if not all(low < high for low, high in itertools.pairwise(bounds)):
        raise ValueError(f"limits is {list(limits)}; expected finite values that grow, above 0")
    points = [grid.centers(*size, stride) for size, stride in zip(sizes, strides, strict=True)]
    counts = torch.tensor([len(level) for level in points])

    def of_each(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).repeat_interleave(counts)

    return Locations(torch.cat(points), of_each(strides), of_each(bounds[:-1]), of_each(bounds[1:]))


def assign(boxes: Tensor, where: Locations, *, radius: float) -> Tensor:
    """Return the box that each location has as its target, or ``BACKGROUND``, −1.

    A box is the target of a location if the location is inside it and near its centre, and its
    farthest side is at a distance in the range of the level. Of several such boxes, the smallest is
    the target, and of equally small ones the first.

    Args:
        boxes: (…, M, 4). An empty box is nobody's target, so that zeros can fill up images with
            fewer than M boxes.
        where: the locations.
        radius: how far a location may be from the centre of its box, down and across, in strides.
            1.5 in the authors' code; infinite for all locations inside.

    Shape: → (…, L) int64, from 0 to M − 1, or −1.

    Raises:
        ValueError: if ``boxes`` are not boxes or ``radius`` is not above 0.
    """
    boxes = inputs.boxes("boxes", boxes)
    if boxes.ndim < 2:
        raise ValueError(f"boxes has shape {tuple(boxes.shape)}; expected (…, M, 4)")
    inputs.positive("radius", radius)
    if boxes.shape[-2] == 0:
        shape = (*boxes.shape[:-2], len(where.points))
        return torch.full(shape, BACKGROUND, device=boxes.device)
    boxes = boxes[..., None, :, :]  # (…, 1, M, 4)
    points = where.points.to(boxes)[:, None]  # (L, 1, 2)
    sides = _distances(points, boxes)  # (…, L, M, 4)
    centers, _ = box_ops.centers_and_sizes(boxes)
    from_center = (points - centers).abs().amax(-1)  # (…, L, M)
    farthest = sides.amax(-1)
    smallest, largest, strides = (
        values.to(boxes)[:, None] for values in (where.smallest, where.largest, where.strides)
    )
    fits = (sides.amin(-1) > 0) & (from_center < radius * strides)
    fits &= (smallest <= farthest) & (farthest <= largest)
    area, box = box_ops.area(boxes).where(fits, math.inf).min(-1)
    return box.masked_fill(area.isinf(), BACKGROUND)


def encode(points: Tensor, boxes: Tensor) -> Tensor:
    """Return how far each point is from the sides of its box.

    Shape: points (…, 2) and boxes (…, 4), broadcast → (…, 4): left, top, right, bottom.
    Units: pixels; negative where the point is outside.

    Raises:
        ValueError: if ``points`` is not (…, 2) or not finite, or ``boxes`` are not boxes.

    Source: arXiv 1904.01355, equation 1.
    """
    return _distances(inputs.floats("points", points, last=2), inputs.boxes("boxes", boxes))


def decode(points: Tensor, distances: Tensor) -> Tensor:
    """Return the box of each point and its distances to the sides: the inverse of ``encode``.

    Shape: points (…, 2) and distances (…, 4) in pixels, broadcast → (…, 4).

    Raises:
        ValueError: if ``points`` is not (…, 2), ``distances`` not (…, 4), or a value not finite.
    """
    points = inputs.floats("points", points, last=2)
    distances = inputs.floats("distances", distances, last=4)
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], -1)


def centerness(distances: Tensor) -> Tensor:
    """Return how near a point is to the centre of its box.

    With l, t, r, b for the distances: √(min(l, r) / max(l, r) · min(t, b) / max(t, b)).

    Args:
        distances: (…, 4), left, top, right, bottom, in pixels, none negative.

    Shape: → (…).
    Units: from 0 on a side to 1 at the centre; 0 in a box without width or height.

    Raises:
        ValueError: if ``distances`` is not (…, 4), or a value is negative or not finite.

    Source: arXiv 1904.01355, equation 3.
    """
    distances = inputs.floats("distances", distances, last=4)
    if (distances < 0).any():
        raise ValueError(
            f"distances holds {distances.min().item()}; expected points inside their boxes"
        )
    first, second = distances.chunk(2, -1)
    shorter, longer = torch.minimum(first, second), torch.maximum(first, second)
    return (shorter / longer.where(longer > 0, 1)).prod(-1).sqrt()


def _distances(points: Tensor, boxes: Tensor) -> Tensor:
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], -1)
