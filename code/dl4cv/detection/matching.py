"""Which anchor has which object as its target, and which anchors a step trains on.

Source: Ren, He, Girshick and Sun (2015), arXiv 1506.01497, sections 3.1.2 and 3.1.3.
"""

import torch
from torch import Tensor

from dl4cv.detection import inputs

#: In place of an object: the anchor is background.
BACKGROUND = -1
#: The anchor is between the thresholds; no loss is computed for it.
IGNORED = -2


def match(overlaps: Tensor, high: float, low: float, *, allow_low_quality: bool) -> Tensor:
    """Return for each anchor the object that it overlaps most, or that it has none.

    Args:
        overlaps: (N, M), the IoU of N anchors with M objects.
        high: from which IoU on an anchor has an object.
        low: below which IoU it is ``BACKGROUND``; in between, it is ``IGNORED``.
        allow_low_quality: whether the anchors that overlap an object more than all others do have
            an object even if their IoU is below ``high``, so that small and odd objects have some
            as well. Each gets the object that it overlaps most itself.

    Shape: → (N,) int64, the object, or ``BACKGROUND`` or ``IGNORED``.

    Raises:
        ValueError: if ``overlaps`` is not a matrix of values in [0, 1], or not
            0 ≤ ``low`` ≤ ``high`` ≤ 1.
    """
    overlaps = inputs.floats("overlaps", overlaps)
    if overlaps.ndim != 2:
        raise ValueError(f"overlaps has shape {tuple(overlaps.shape)}; expected (N, M)")
    if ((overlaps < 0) | (overlaps > 1)).any():
        raise ValueError("overlaps holds values outside [0, 1]; expected IoU")
    if not 0 <= low <= high <= 1:
        raise ValueError(f"low is {low} and high {high}; expected 0 ≤ low ≤ high ≤ 1")
    if overlaps.numel() == 0:
        return torch.full((len(overlaps),), BACKGROUND, device=overlaps.device)
    best, objects = overlaps.max(1)
    matches = objects.masked_fill(best < high, IGNORED).masked_fill(best < low, BACKGROUND)
    if allow_low_quality:
        is_best = ((overlaps == overlaps.amax(0)) & (overlaps > 0)).any(1)
        matches = torch.where(is_best, objects, matches)
    return matches


def sample(
    matches: Tensor, count: int, positive_fraction: float, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return anchors with an object and anchors of the background, drawn at random.

    Args:
        matches: (N,), of ``match``.
        count: how many to draw in all; fewer if there are not enough.
        positive_fraction: which fraction of ``count`` may have an object. Where fewer have one,
            more of the background are drawn.
        generator: of the draw.

    Shape: → (P,) and (Q,) int64, indices of anchors; P + Q ≤ count.

    Raises:
        ValueError: if ``matches`` is not (N,), ``count`` is negative or ``positive_fraction``
            outside [0, 1].
    """
    if matches.ndim != 1:
        raise ValueError(f"matches has shape {tuple(matches.shape)}; expected (N,)")
    if count < 0:
        raise ValueError(f"count is {count}; expected at least 0")
    inputs.fraction("positive_fraction", positive_fraction)

    def draw(candidates: Tensor, most: int) -> Tensor:
        order = torch.randperm(len(candidates), generator=generator, device=generator.device)
        return candidates[order[:most].to(candidates.device)]

    positive = draw((matches >= 0).nonzero()[:, 0], int(count * positive_fraction))
    negative = draw((matches == BACKGROUND).nonzero()[:, 0], count - len(positive))
    return positive, negative
