"""Scenes: articles of clothing laid on photographs, with boxes, classes and masks.

Each picture is painted from a seed: two to six items of Fashion-MNIST, tinted, scaled, turned, one
over the other, on a crop of one of scikit-image's photographs. Items and places of train scenes are
never those of test scenes. Painted once, a set is kept in the cache under its parameters.
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

from dl4cv import storage
from dl4cv.data import fashion, photos, registry
from dl4cv.data.labelled import LabelledImages

SIDE = 96
MOST = 6
LEAST = 2
SCALES = (0.6, 1.8)
#: The largest angle by which an item is turned, in radians.
TURN = 0.6
#: The largest share of an item that others may cover.
COVERED = 0.4
#: Scenes that are painted together, from one seed.
CHUNK = 250
#: Items that are tried for a scene before it goes without the rest.
ATTEMPTS = 24
CLASS_NAMES = registry.FASHION.class_names


@dataclass(frozen=True)
class Scenes:
    """N scenes. Items of a scene are numbered in the order in which they were laid down.

    Attributes:
        images: (N, 3, 96, 96) uint8.
        counts: (N,) int64, items in each scene, 2 to 6.
        classes: (N, 6) int64, of each item; −1 where there is none.
        boxes: (N, 6, 4) float32, (x0, y0, x1, y1) in pixels around the visible part, x1 and y1
            exclusive; 0 where there is no item.
        owners: (N, 96, 96) uint8, whose item a pixel shows: 1 to 6, or 0 for the photograph.
    """

    images: Tensor
    counts: Tensor
    classes: Tensor
    boxes: Tensor
    owners: Tensor

    def __len__(self) -> int:
        """Return N."""
        return len(self.images)

    def masks(self, index: int) -> Tensor:
        """Return the visible part of each item of a scene. Shape: (count, 96, 96) bool."""
        numbers = torch.arange(1, int(self.counts[index]) + 1, dtype=torch.uint8)
        return self.owners[index] == numbers[:, None, None]


def load(split: str, count: int, *, seed: int = 0) -> Scenes:
    """Return ``count`` scenes, painted now or by an earlier call.

    The first scenes of a larger set are those of a smaller one with the same seed.

    Args:
        split: ``"train"`` or ``"test"``: whose items and places are used.
        count: N.
        seed: what everything random derives from.

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
            found = paint(fashion.load(split), split, count, seed=seed)
            storage.remove_parts(path)
            storage.write_atomically(path, _packed(found))
            if sys.stderr.isatty():  # a page must not tell whether they were there already
                seconds = time.perf_counter() - start
                print(f"Scenes: {count:,} for {split} painted in {seconds:.1f} s", file=sys.stderr)
    return found


def paint(items: LabelledImages, split: str, count: int, *, seed: int) -> Scenes:
    """Return scenes of ``items``, on the part of the photographs that belongs to ``split``."""
    grounds = _grounds(split)
    starts = range(0, count, CHUNK)
    chunks = []
    for start in starts:
        generator = torch.Generator().manual_seed(_seed(split, seed, start // CHUNK))
        chunks.append(_chunk(items, grounds, generator))
        if sys.stderr.isatty():
            done = min(start + CHUNK, count)
            print(f"\r  Scenes: {done:,} of {count:,} ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return Scenes(*(torch.cat(parts)[:count] for parts in zip(*chunks, strict=True)))


def _chunk(
    items: LabelledImages, grounds: list[Tensor], generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Return images, counts, classes, boxes and owners of CHUNK scenes."""

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    images = torch.stack([_crop(grounds, generator) for _ in range(CHUNK)])
    wanted = torch.randint(LEAST, MOST + 1, (CHUNK,), generator=generator)
    counts = torch.zeros(CHUNK, dtype=torch.int64)
    classes = torch.full((CHUNK, MOST), -1)
    owners = torch.zeros(CHUNK, SIDE, SIDE, dtype=torch.uint8)
    whole = torch.zeros(CHUNK, MOST, dtype=torch.int64)  # pixels that each item has
    shown = torch.zeros(CHUNK, MOST, dtype=torch.int64)  # and those that it still shows
    for attempt in itertools.count():
        # A crowded scene goes without the rest, but two items find room sooner or later.
        scenes = (counts < (wanted if attempt < ATTEMPTS else LEAST)).nonzero()[:, 0]
        n = len(scenes)
        if n == 0:
            break
        chosen = torch.randint(len(items), (n,), generator=generator)
        grey = items.images[chosen].float() / 255
        laid = _laid(
            torch.cat([grey, _silhouette(grey)], 1),
            scale=uniform(n, low=SCALES[0], high=SCALES[1]),
            angle=uniform(n, low=-TURN, high=TURN),
            place=uniform(n, 2),
        )  # (n, 2, 96, 96): shades and coverage
        tint = _tint(uniform(n, 3))
        shape = laid[:, 1] > 0.5
        left = shown[scenes] - _hidden(owners[scenes], shape)
        size = shape.flatten(1).sum(1)
        fits = (size > 0) & (left >= (1 - COVERED) * whole[scenes]).all(1)
        scenes, laid, shape = scenes[fits], laid[fits], shape[fits]
        slots = counts[scenes]
        paint = tint[fits][:, :, None, None] * (0.25 + 0.75 * laid[:, :1])
        images[scenes] = torch.lerp(images[scenes], paint, laid[:, 1:])
        numbers = (slots + 1).to(torch.uint8)[:, None, None]
        owners[scenes] = torch.where(shape, numbers, owners[scenes])
        shown[scenes] = left[fits]
        shown[scenes, slots] = whole[scenes, slots] = size[fits]
        classes[scenes, slots] = items.labels[chosen[fits]]
        counts[scenes] += 1
    pixels = (images * 255).round().to(torch.uint8)
    return pixels, counts, classes, _boxes(owners), owners


def _silhouette(grey: Tensor) -> Tensor:
    """Return 1 where an item is: where it has ink, or ink on all four sides.

    Shape: (n, 1, 28, 28) in [0, 1] → the same, 0 or 1.
    """
    ink = (grey > 0.08).float()
    sides = [
        ink.cummax(dim).values.minimum(ink.flip(dim).cummax(dim).values.flip(dim)) for dim in (2, 3)
    ]
    return sides[0].minimum(sides[1])


def _laid(ink: Tensor, *, scale: Tensor, angle: Tensor, place: Tensor) -> Tensor:
    """Return items turned, scaled and moved to a place within a scene.

    Shape: ink (n, C, 28, 28), scale and angle (n,), place (n, 2) in [0, 1] → (n, C, 96, 96).
    """
    size = ink.shape[-1] * scale / SIDE  # of the item's square, as a share of the scene
    cos, sin = angle.cos(), angle.sin()
    reach = size * (cos.abs() + sin.abs())  # of its turned square
    middle = (2 * place - 1) * (1 - reach)[:, None]  # in [−1, 1], as affine_grid counts
    # Where in the item's square, from −1 to 1, each pixel of the scene looks: turned back.
    pixels = (2 * torch.arange(SIDE) + 1) / SIDE - 1
    across, down = (pixels - middle[:, k : k + 1] for k in (0, 1))  # (n, 96) each
    turn = (cos / size)[:, None], (sin / size)[:, None]
    x = (turn[0] * across)[:, None, :] + (turn[1] * down)[:, :, None]
    y = (turn[0] * down)[:, :, None] - (turn[1] * across)[:, None, :]
    grid = torch.stack([x, y], -1)  # (n, 96, 96, 2)
    return F.grid_sample(ink, grid, align_corners=False)


def _hidden(owners: Tensor, shape: Tensor) -> Tensor:
    """Return how many pixels of each item a new one would hide.

    Shape: owners (n, 96, 96) uint8, shape (n, 96, 96) bool → (n, 6) int64.
    """
    n = len(owners)
    scene, *place = shape.nonzero(as_tuple=True)
    below = (scene * (MOST + 1) + owners[scene, *place]).bincount(minlength=n * (MOST + 1))
    return below.view(n, MOST + 1)[:, 1:]


def _boxes(owners: Tensor) -> Tensor:
    """Return the boxes around what each item shows. Shape: (n, 96, 96) → (n, 6, 4) float32."""
    boxes = []
    for k in range(1, MOST + 1):
        shown = (owners == k).to(torch.uint8)
        edges = []
        for dim in (1, 2):  # across, then down
            along = shown.amax(dim)
            first = along.argmax(1)
            last = SIDE - along.flip(1).argmax(1)
            edges.append((first, last))
        (x0, x1), (y0, y1) = edges
        box = torch.stack([x0, y0, x1, y1], 1) * along.any(1, keepdim=True)
        boxes.append(box)
    return torch.stack(boxes, 1).float()


def _tint(numbers: Tensor) -> Tensor:
    """Return bright colours by three numbers each in [0, 1]. Shape: (n, 3) → (n, 3)."""
    hue, saturation, value = numbers.unbind(1)
    saturation, value = 0.35 + 0.65 * saturation, 0.65 + 0.35 * value
    phase = (hue[:, None] + torch.tensor([0.0, 1 / 3, 2 / 3])) % 1
    pure = ((phase - 0.5).abs() * 6 - 1).clamp(0, 1)
    return value[:, None] * (1 - saturation[:, None] * (1 - pure))


def _grounds(split: str) -> list[Tensor]:
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


def _crop(grounds: list[Tensor], generator: torch.Generator) -> Tensor:
    """Return a crop of one of the photographs, mirrored in half of the cases. (3, 96, 96)."""

    def below(limit: int) -> int:
        return int(torch.randint(limit, (), generator=generator))

    photo = grounds[below(len(grounds))]
    top, left = below(photo.shape[1] - SIDE + 1), below(photo.shape[2] - SIDE + 1)
    crop = photo[:, top : top + SIDE, left : left + SIDE]
    return crop.flip(2) if below(2) else crop


def _seed(split: str, seed: int, chunk: int) -> int:
    digest = hashlib.sha256(f"{split} {seed} {chunk}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def _path(split: str, count: int, seed: int) -> Path:
    source = inspect.getsource(sys.modules[__name__])
    made = storage.sha256(f"{source} {split} {count} {seed}".encode())[:16]
    return storage.cache_dir() / "data" / "scenes" / f"{split}-{count}-{seed}-{made}.safetensors"


def _packed(scenes: Scenes) -> bytes:
    tensors = dict(vars(scenes))
    return safetensors.torch.save(tensors, {"sha256": _digest(tensors)})


def _read(path: Path) -> Scenes | None:
    """Return what was kept, or None if there is nothing, or nothing whole."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            kept = (file.metadata() or {}).get("sha256")
    except (FileNotFoundError, SafetensorError):
        return None
    if _digest(tensors) != kept:
        print(f"Scenes: {path} does not match its checksum; painting it again", flush=True)
        return None
    return Scenes(**tensors)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
