"""Scenes: articles of clothing on photographs, with boxes, labels and instance maps.

Each image is composed from a seed: two to six items of Fashion-MNIST, tinted, scaled, rotated, one
over the other, on a crop of one of scikit-image's photographs. Items and places of train scenes are
never those of test scenes. A set is composed once and kept in the cache under its parameters.
"""

import hashlib
import inspect
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from dl4cv import storage
from dl4cv.data import photos, registry
from dl4cv.data.labelled import LabelledImages, fashion

IMAGE_SIZE = 96
MIN_ITEMS, MAX_ITEMS = 2, 6
#: An item's size relative to its 28 × 28 image.
MIN_SCALE, MAX_SCALE = 0.6, 1.8
#: The largest angle by which an item is rotated, in radians.
MAX_ANGLE = 0.6
#: The fraction of each item's pixels that stays visible, at least.
MIN_VISIBLE = 0.6
#: Scenes that are composed together, from one seed.
CHUNK = 250
#: Items that are tried for a scene before it goes without the rest.
MAX_ATTEMPTS = 24
CLASS_NAMES = registry.FASHION.class_names


@dataclass(frozen=True)
class Scenes:
    """N scenes. The items of a scene are numbered from the bottom to the top.

    Attributes:
        images: (N, 3, 96, 96) uint8.
        counts: (N,) int64, items in each scene, 2 to 6.
        labels: (N, 6) int64, the class of each item; −1 where there is none.
        boxes: (N, 6, 4) float32, (x0, y0, x1, y1) in pixels around the visible part, x1 and y1
            exclusive; 0 where there is no item.
        instance_maps: (N, 96, 96) uint8, the item that each pixel shows: 1 to 6, or 0 for the
            background.
    """

    images: Tensor
    counts: Tensor
    labels: Tensor
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
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; expected 'train' or 'test'")
    if count < 1:
        raise ValueError(f"count is {count}; expected at least 1")
    path = _path(split, count, seed)
    if (found := _read(path)) is not None:
        return found
    with storage.locked(path):
        if (found := _read(path)) is None:
            start = time.perf_counter()
            found = compose(fashion.load(split), split, count, seed=seed)
            storage.remove_parts(path)
            storage.write_atomically(path, _packed(found))
            if sys.stderr.isatty():  # a page must not show whether they were there already
                seconds = time.perf_counter() - start
                print(f"Scenes: {count:,} for {split} composed in {seconds:.1f} s", file=sys.stderr)
    return found


def compose(items: LabelledImages, split: str, count: int, *, seed: int) -> Scenes:
    """Return scenes of ``items``, on the part of the photographs that belongs to ``split``."""
    backgrounds = _backgrounds(split)
    chunks = []
    with tqdm(desc="Scenes", total=count, leave=False, disable=None) as bar:
        for start in range(0, count, CHUNK):
            generator = torch.Generator().manual_seed(_seed(split, seed, start // CHUNK))
            chunks.append(vars(_compose_chunk(items, backgrounds, generator)))
            bar.update(min(CHUNK, count - start))
    return Scenes(**{name: torch.cat([c[name] for c in chunks])[:count] for name in chunks[0]})


class _Canvases:
    """Scenes that are being composed on backgrounds, (n, 3, 96, 96) floats in [0, 1]."""

    def __init__(self, backgrounds: Tensor) -> None:
        n = len(backgrounds)
        self.images = backgrounds
        self.counts = torch.zeros(n, dtype=torch.int64)
        self.labels = torch.full((n, MAX_ITEMS), -1)
        self.instance_maps = torch.zeros(n, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
        self.areas = torch.zeros(n, MAX_ITEMS, dtype=torch.int64)  # pixels of each item
        self.visible = self.areas.clone()  # and those of them that no other item covers

    def add(self, scenes: Tensor, layers: Tensor, colors: Tensor, labels: Tensor) -> None:
        """Lay one item on each of ``scenes``, unless it would cover too much of another.

        Shape: scenes (k,), layers (k, 2, 96, 96) shades and coverage, colors (k, 3), labels (k,).
        """
        masks = layers[:, 1] > 0.5
        areas = masks.flatten(1).sum(1)
        visible = self.visible[scenes] - _covered(self.instance_maps[scenes], masks)
        fits = (areas > 0) & (visible >= MIN_VISIBLE * self.areas[scenes]).all(1)
        scenes, layers, masks = scenes[fits], layers[fits], masks[fits]
        slots = self.counts[scenes]
        paint = colors[fits][:, :, None, None] * (0.25 + 0.75 * layers[:, :1])
        self.images[scenes] = torch.lerp(self.images[scenes], paint, layers[:, 1:])
        numbers = (slots + 1).to(torch.uint8)[:, None, None]
        self.instance_maps[scenes] = torch.where(masks, numbers, self.instance_maps[scenes])
        self.visible[scenes] = visible[fits]
        self.visible[scenes, slots] = self.areas[scenes, slots] = areas[fits]
        self.labels[scenes, slots] = labels[fits]
        self.counts[scenes] += 1


def _compose_chunk(
    items: LabelledImages, backgrounds: list[Tensor], generator: torch.Generator
) -> Scenes:
    canvases = _Canvases(torch.stack([_crop(backgrounds, generator) for _ in range(CHUNK)]))
    wanted = torch.randint(MIN_ITEMS, MAX_ITEMS + 1, (CHUNK,), generator=generator)
    for attempt in itertools.count():
        # A crowded scene goes without the rest, but two items find room sooner or later.
        goal = wanted if attempt < MAX_ATTEMPTS else MIN_ITEMS
        scenes = (canvases.counts < goal).nonzero()[:, 0]
        if len(scenes) == 0:
            break
        canvases.add(scenes, *_random_items(items, len(scenes), generator))
    pixels = (canvases.images * 255).round().to(torch.uint8)
    maps = canvases.instance_maps
    return Scenes(pixels, canvases.counts, canvases.labels, _boxes(maps), maps)


def _random_items(
    items: LabelledImages, n: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return n items, each scaled, rotated and moved at random, with their colors and labels.

    Shape: layers (n, 2, 96, 96), shades and coverage in [0, 1]; colors (n, 3); labels (n,).
    """

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    chosen = torch.randint(len(items), (n,), generator=generator)
    gray = items.images[chosen].float() / 255
    layers = _transform(
        torch.cat([gray, _silhouette(gray)], 1),
        scale=uniform(n, low=MIN_SCALE, high=MAX_SCALE),
        angle=uniform(n, low=-MAX_ANGLE, high=MAX_ANGLE),
        place=uniform(n, 2),
    )
    return layers, _bright_colors(uniform(n, 3)), items.labels[chosen]


def _silhouette(gray: Tensor) -> Tensor:
    """Return 1 where an item is: where it has ink, or ink on all four sides.

    Shape: (n, 1, 28, 28) in [0, 1] → the same, 0 or 1.
    """
    ink = (gray > 0.08).float()
    sides = [
        ink.cummax(dim).values.minimum(ink.flip(dim).cummax(dim).values.flip(dim)) for dim in (2, 3)
    ]
    return sides[0].minimum(sides[1])


def _transform(ink: Tensor, *, scale: Tensor, angle: Tensor, place: Tensor) -> Tensor:
    """Return items rotated, scaled and moved to a place within a scene.

    Shape: ink (n, C, 28, 28), scale and angle (n,), place (n, 2) in [0, 1] → (n, C, 96, 96).
    """
    size = ink.shape[-1] * scale / IMAGE_SIZE  # of the item's square, as a fraction of the scene's
    cos, sin = angle.cos(), angle.sin()
    reach = size * (cos.abs() + sin.abs())  # of its rotated square
    middle = (2 * place - 1) * (1 - reach)[:, None]  # in [−1, 1], as affine_grid counts
    # Where in the item's square, from −1 to 1, each pixel of the scene lies: rotated back.
    pixels = (2 * torch.arange(IMAGE_SIZE) + 1) / IMAGE_SIZE - 1
    across, down = (pixels - middle[:, k : k + 1] for k in (0, 1))  # (n, 96) each
    turn = (cos / size)[:, None], (sin / size)[:, None]
    x = (turn[0] * across)[:, None, :] + (turn[1] * down)[:, :, None]
    y = (turn[0] * down)[:, :, None] - (turn[1] * across)[:, None, :]
    grid = torch.stack([x, y], -1)  # (n, 96, 96, 2)
    return F.grid_sample(ink, grid, align_corners=False)


def _covered(maps: Tensor, masks: Tensor) -> Tensor:
    """Return how many pixels of each item a new one would cover.

    Shape: maps (n, 96, 96) uint8, masks (n, 96, 96) bool → (n, 6) int64.
    """
    n = len(maps)
    scene, *place = masks.nonzero(as_tuple=True)
    below = (scene * (MAX_ITEMS + 1) + maps[scene, *place]).bincount(minlength=n * (MAX_ITEMS + 1))
    return below.view(n, MAX_ITEMS + 1)[:, 1:]


def _boxes(maps: Tensor) -> Tensor:
    """Return boxes around what is visible of each item. Shape: (n, 96, 96) → (n, 6, 4) float32."""
    boxes = []
    for k in range(1, MAX_ITEMS + 1):
        shown = (maps == k).to(torch.uint8)
        edges = []
        for dim in (1, 2):  # across, then down
            along = shown.amax(dim)
            first = along.argmax(1)
            last = IMAGE_SIZE - along.flip(1).argmax(1)
            edges.append((first, last))
        (x0, x1), (y0, y1) = edges
        box = torch.stack([x0, y0, x1, y1], 1) * along.any(1, keepdim=True)
        boxes.append(box)
    return torch.stack(boxes, 1).float()


def _bright_colors(hsv: Tensor) -> Tensor:
    """Return bright colors in RGB from numbers in [0, 1]. Shape: (n, 3) → (n, 3)."""
    hue, saturation, value = hsv.unbind(1)
    saturation, value = 0.35 + 0.65 * saturation, 0.65 + 0.35 * value
    phase = (hue[:, None] + torch.tensor([0.0, 1 / 3, 2 / 3])) % 1
    pure = ((phase - 0.5).abs() * 6 - 1).clamp(0, 1)
    return value[:, None] * (1 - saturation[:, None] * (1 - pure))


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


def _seed(split: str, seed: int, chunk: int) -> int:
    digest = hashlib.sha256(f"{split} {seed} {chunk}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def _path(split: str, count: int, seed: int) -> Path:
    source = inspect.getsource(sys.modules[__name__])
    key = storage.sha256(f"{source} {split} {count} {seed}".encode())[:16]
    return storage.cache_dir() / "data" / "scenes" / f"{split}-{count}-{seed}-{key}.safetensors"


def _packed(scenes: Scenes) -> bytes:
    tensors = dict(vars(scenes))
    return safetensors.torch.save(tensors, {"sha256": _digest(tensors)})


def _read(path: Path) -> Scenes | None:
    """Return the scenes in the cache, or None if they are missing or broken."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            expected = (file.metadata() or {}).get("sha256")
    except (FileNotFoundError, SafetensorError):
        return None
    if _digest(tensors) != expected:
        print(f"Scenes: {path} does not match its checksum; composing them again", flush=True)
        return None
    return Scenes(**tensors)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
