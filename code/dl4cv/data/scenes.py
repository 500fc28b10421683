"""Scenes: articles of clothing on photographs, with boxes, labels and instance maps.

Each image is composed from a seed: two to six items of Fashion-MNIST, tinted, scaled, rotated, one
over the other, on a crop of one of scikit-image's photographs. Items and places of train scenes are
never those of test scenes. A set is composed once and kept in the cache under its parameters.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.data import clothes, composed, photos
from dl4cv.data.labelled import LabelledImages, fashion

IMAGE_SIZE = 96
MIN_ITEMS, MAX_ITEMS = 2, 6
#: An item's size relative to its 28 × 28 image.
MIN_SCALE, MAX_SCALE = 0.6, 1.8
#: The largest angle by which an item is rotated, in radians.
MAX_ANGLE = 0.6
#: The fraction of each item's pixels that stays visible, at least.
MIN_VISIBLE = 0.6
#: Items that are tried for a scene before it goes without the rest.
MAX_ATTEMPTS = 24
CLASS_NAMES = clothes.KINDS


@dataclass(frozen=True)
class Scenes:
    """N scenes. The items of a scene are numbered from the bottom to the top.

    Attributes:
        images: (N, 3, 96, 96) uint8.
        counts: (N,) int64, items in each scene, 2 to 6.
        labels: (N, 6) int64, the kind of each item, as in ``CLASS_NAMES``; −1 where there is none.
        fine_labels: (N, 6) int64, its class among Fashion-MNIST's ten; −1 where there is none.
        boxes: (N, 6, 4) float32, (x0, y0, x1, y1) in pixels around the visible part, x1 and y1
            exclusive; 0 where there is no item.
        instance_maps: (N, 96, 96) uint8, the item that each pixel shows: 1 to 6, or 0 for the
            background.
    """

    images: Tensor
    counts: Tensor
    labels: Tensor
    fine_labels: Tensor
    boxes: Tensor
    instance_maps: Tensor

    def __len__(self) -> int:
        """Return N."""
        return len(self.images)

    def masks(self, index: int) -> Tensor:
        """Return the visible part of each item of a scene. Shape: (count, 96, 96) bool."""
        numbers = torch.arange(1, int(self.counts[index]) + 1, dtype=torch.uint8)
        return self.instance_maps[index] == numbers[:, None, None]


def load(split: str, count: int, *, seed: int = 0) -> Scenes:
    """Return ``count`` scenes, composed now or by an earlier call.

    The first scenes of a larger set are those of a smaller one with the same seed.

    Args:
        split: ``"train"`` or ``"test"``: whose items and places are used.
        count: N.
        seed: of everything random.

    Raises:
        ValueError: if ``split`` or ``count`` is out of its range.
        FetchError: if Fashion-MNIST is not there and cannot be fetched.
        OSError: if the cache cannot be written.
    """

    def now() -> Scenes:
        return compose(fashion.load(split), split, count, seed=seed)

    return composed.load(Scenes, now, split, count, seed)


def compose(items: LabelledImages, split: str, count: int, *, seed: int) -> Scenes:
    """Return scenes of ``items``, on the part of the photographs that belongs to ``split``."""
    backgrounds, wardrobe = _backgrounds(split), clothes.Wardrobe(items)
    return composed.in_chunks(
        Scenes,
        lambda generator: _compose_chunk(wardrobe, backgrounds, generator),
        split,
        count,
        seed,
    )


class _Canvases:
    """Scenes that are being composed on backgrounds, (n, 3, 96, 96) floats in [0, 1]."""

    def __init__(self, backgrounds: Tensor) -> None:
        n = len(backgrounds)
        self.images = backgrounds
        self.counts = torch.zeros(n, dtype=torch.int64)
        self.fine_labels = torch.full((n, MAX_ITEMS), -1)
        self.instance_maps = torch.zeros(n, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
        self.areas = torch.zeros(n, MAX_ITEMS, dtype=torch.int64)  # pixels of each item
        self.visible = self.areas.clone()  # and those of them that no other item covers

    def add(self, scenes: Tensor, layers: Tensor, colors: Tensor, fine_labels: Tensor) -> None:
        """Lay one item on each of ``scenes``, unless it would cover too much of another.

        Shape: scenes (k,), layers (k, 2, 96, 96) shades and coverage, colors (k, 3), fine_labels
            (k,).
        """
        masks = layers[:, 1] > 0.5
        areas = masks.flatten(1).sum(1)
        visible = self.visible[scenes] - _covered(self.instance_maps[scenes], masks)
        fits = (areas > 0) & (visible >= MIN_VISIBLE * self.areas[scenes]).all(1)
        scenes, layers, masks = scenes[fits], layers[fits], masks[fits]
        slots = self.counts[scenes]
        self.images[scenes] = clothes.paint(self.images[scenes], layers, colors[fits])
        numbers = (slots + 1).to(torch.uint8)[:, None, None]
        self.instance_maps[scenes] = torch.where(masks, numbers, self.instance_maps[scenes])
        self.visible[scenes] = visible[fits]
        self.visible[scenes, slots] = self.areas[scenes, slots] = areas[fits]
        self.fine_labels[scenes, slots] = fine_labels[fits]
        self.counts[scenes] += 1


def _compose_chunk(
    wardrobe: clothes.Wardrobe, backgrounds: list[Tensor], generator: torch.Generator
) -> Scenes:
    crops = [_crop(backgrounds, generator) for _ in range(composed.CHUNK)]
    canvases = _Canvases(torch.stack(crops))
    wanted = torch.randint(MIN_ITEMS, MAX_ITEMS + 1, (len(crops),), generator=generator)
    # Chosen beforehand, lest small kinds be more frequent: they find room more easily.
    kinds = wardrobe.kinds(len(crops), MAX_ITEMS, generator=generator)
    for attempt in itertools.count():
        # A crowded scene goes without the rest, but two items find room sooner or later.
        goal = wanted if attempt < MAX_ATTEMPTS else MIN_ITEMS
        scenes = (canvases.counts < goal).nonzero()[:, 0]
        if len(scenes) == 0:
            break
        kind = kinds[scenes, canvases.counts[scenes]]
        canvases.add(scenes, *_random_items(wardrobe, kind, generator))
    maps, fine = canvases.instance_maps, canvases.fine_labels
    return Scenes(
        images=(canvases.images * 255).round().to(torch.uint8),
        counts=canvases.counts,
        labels=torch.where(fine < 0, -1, clothes.KIND_OF_CLASS[fine]),
        fine_labels=fine,
        boxes=clothes.boxes(maps, MAX_ITEMS),
        instance_maps=maps,
    )


def _random_items(
    wardrobe: clothes.Wardrobe, kinds: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return an item of each kind, scaled, rotated and moved at random, its color and class.

    Shape: layers (n, 2, 96, 96), shades and coverage in [0, 1]; colors (n, 3); labels (n,).
    """

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    n = len(kinds)
    gray, fine_labels = wardrobe.draw(kinds, generator)
    layers = clothes.transform(
        torch.cat([gray, clothes.silhouette(gray)], 1),
        scale=uniform(n, low=MIN_SCALE, high=MAX_SCALE),
        angle=uniform(n, low=-MAX_ANGLE, high=MAX_ANGLE),
        place=uniform(n, 2),
        size=IMAGE_SIZE,
    )
    hue, saturation, value = uniform(n, 3).unbind(1)
    colors = clothes.rgb(hue, 0.35 + 0.65 * saturation, 0.65 + 0.35 * value)
    return layers, colors, fine_labels


def _covered(maps: Tensor, masks: Tensor) -> Tensor:
    """Return how many pixels of each item a new one would cover.

    Shape: maps (n, 96, 96) uint8, masks (n, 96, 96) bool → (n, 6) int64.
    """
    n = len(maps)
    scene, *place = masks.nonzero(as_tuple=True)
    below = (scene * (MAX_ITEMS + 1) + maps[scene, *place]).bincount(minlength=n * (MAX_ITEMS + 1))
    return below.view(n, MAX_ITEMS + 1)[:, 1:]


def _backgrounds(split: str) -> list[Tensor]:
    """Return the part of each photograph that belongs to a split: left two thirds, or the rest."""
    parts = []
    for name in photos.NAMES:
        photo = photos.load(name).float() / 255
        photo = photo.expand(3, -1, -1)
        border = 2 * photo.shape[2] // 3
        part = photo[:, :, :border] if split == "train" else photo[:, :, border:]
        scale = 128 / min(part.shape[1:])  # the shorter side is a third longer than a scene's
        parts.append(
            F.interpolate(part[None], scale_factor=scale, mode="bilinear", antialias=True)[0]
        )
    return parts


def _crop(backgrounds: list[Tensor], generator: torch.Generator) -> Tensor:
    """Return a crop of one of the photographs, flipped in half of the cases. Shape: (3, 96, 96)."""

    def below(limit: int) -> int:
        return int(torch.randint(limit, (), generator=generator))

    photo = backgrounds[below(len(backgrounds))]
    top, left = below(photo.shape[1] - IMAGE_SIZE + 1), below(photo.shape[2] - IMAGE_SIZE + 1)
    crop = photo[:, top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
    return crop.flip(2) if below(2) else crop
