"""Still lifes: two or three pieces of clothing apart from each other, and what a caption may say.

The pictures are small and plain, so that a network learns to describe them in a minute: 64 × 64
pixels, a dark ground with a little texture, six named tints. Items of train pictures are never
those of test pictures.

A caption names the items one after another, and between two of them how the first lies to the
second: ``a red top left of a blue bag above a green dress``. Any order will do in which neighbours
in the caption have such a relation, so several captions of a picture are right.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.data import clothes, composed
from dl4cv.data.captions import Vocabulary
from dl4cv.data.labelled import LabelledImages, fashion

IMAGE_SIZE = 64
MIN_ITEMS, MAX_ITEMS = 2, 3
#: An item's size relative to its 28 × 28 image.
MIN_SCALE, MAX_SCALE = 0.7, 1.0
#: The largest angle by which an item is rotated, in radians.
MAX_ANGLE = 0.3
#: Pixels between two items, at least, across or down.
GAP = 2
#: Places that are tried for an item at once.
TRIALS = 32
#: Items that are tried for a picture before it goes without the third.
MAX_ATTEMPTS = 8
TINTS = ("red", "yellow", "green", "blue", "purple", "white")
#: Hue and saturation of each tint in HSV, in [0, 1].
_HUES = torch.tensor([0.0, 0.16, 0.36, 0.6, 0.79, 0.0])
_SATURATIONS = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.85, 0.0])
RELATIONS = ("left of", "right of", "above", "below")
#: The tokens of all captions.
VOCABULARY = Vocabulary("a", *TINTS, *clothes.KINDS, "left", "right", "of", "above", "below")
#: Tokens of the longest caption, START and END included.
MAX_TOKENS = 2 + 3 * MAX_ITEMS + 2 * (MAX_ITEMS - 1)


@dataclass(frozen=True)
class StillLifes:
    """N pictures.

    Attributes:
        images: (N, 3, 64, 64) uint8.
        counts: (N,) int64, items in each picture, 2 or 3.
        labels: (N, 3) int64, the kind of each item, as in ``clothes.KINDS``; −1 where there is
            none.
        tints: (N, 3) int64, its color, as in ``TINTS``; −1 where there is no item.
        boxes: (N, 3, 4) float32, (x0, y0, x1, y1) in pixels, x1 and y1 exclusive; 0 where there is
            no item.
        instance_maps: (N, 64, 64) uint8, the item that each pixel shows: 1 to 3, or 0 for the
            ground.
    """

    images: Tensor
    counts: Tensor
    labels: Tensor
    tints: Tensor
    boxes: Tensor
    instance_maps: Tensor

    def __len__(self) -> int:
        """Return N."""
        return len(self.images)

    def without_pixels(self) -> "StillLifes":
        """Return the same pictures with empty ``images`` and ``instance_maps``.

        Captions need neither, and 18,000 pictures are 300 MB.
        """
        empty = self.images.new_empty(len(self), 0)
        pixels = {"images": empty, "instance_maps": empty}
        # Copies: those from the cache's file would keep all of it in memory.
        rest = {name: part.clone() for name, part in vars(self).items() if name not in pixels}
        return StillLifes(**pixels, **rest)

    def orders(self, index: int) -> list[tuple[int, ...]]:
        """Return the orders in which a caption of picture ``index`` may name its items."""
        relations = self._relations(index)
        return [
            order
            for order in itertools.permutations(range(int(self.counts[index])))
            if all(pair in relations for pair in itertools.pairwise(order))
        ]

    def captions(self, index: int) -> list[str]:
        """Return every caption that is right for picture ``index``, without repetition."""
        relations = self._relations(index)
        items = [self._phrase(index, item) for item in range(int(self.counts[index]))]
        found = []
        for order in self.orders(index):
            words = [items[order[0]]]
            for pair in itertools.pairwise(order):
                words += [RELATIONS[relations[pair]], items[pair[1]]]
            found.append(" ".join(words))
        return list(dict.fromkeys(found))

    def sampled_captions(self, seed: int) -> list[str]:
        """Return one of the right captions of each picture, at random."""
        generator = torch.Generator().manual_seed(seed)
        chances = torch.rand(len(self), generator=generator).tolist()
        allowed = (self.captions(i) for i in range(len(self)))
        return [found[int(u * len(found))] for u, found in zip(chances, allowed, strict=True)]

    def _phrase(self, index: int, item: int) -> str:
        kind = clothes.KINDS[self.labels[index, item]]
        article = "" if kind == "trousers" else "a "
        return f"{article}{TINTS[self.tints[index, item]]} {kind}"

    def _relations(self, index: int) -> dict[tuple[int, int], int]:
        """Return the relation of each ordered pair of items that has one."""
        count = int(self.counts[index])
        middles = _middles(self.boxes[index, :count])
        table = _relation(middles[:, None], middles[None]).tolist()
        pairs = itertools.permutations(range(count), 2)
        return {(i, j): table[i][j] for i, j in pairs if table[i][j] >= 0}


def load(split: str, count: int, *, seed: int = 0) -> StillLifes:
    """Return ``count`` still lifes, composed now or by an earlier call.

    The first pictures of a larger set are those of a smaller one with the same seed.

    Args:
        split: ``"train"`` or ``"test"``: whose items are used.
        count: N.
        seed: of everything random.

    Raises:
        ValueError: if ``split`` or ``count`` is out of its range.
        FetchError: if Fashion-MNIST is not there and cannot be fetched.
        OSError: if the cache cannot be written.
    """

    def now() -> StillLifes:
        return compose(fashion.load(split), split, count, seed=seed)

    return composed.load(StillLifes, now, split, count, seed)


def compose(items: LabelledImages, split: str, count: int, *, seed: int) -> StillLifes:
    """Return still lifes of ``items``; ``split`` is part of the seed."""
    wardrobe = clothes.Wardrobe(items)
    return composed.in_chunks(
        StillLifes, lambda generator: _compose_chunk(wardrobe, generator), split, count, seed
    )


def _compose_chunk(wardrobe: clothes.Wardrobe, generator: torch.Generator) -> StillLifes:
    n = composed.CHUNK
    images = _grounds(n, generator)
    maps = torch.zeros(n, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    counts = torch.zeros(n, dtype=torch.int64)
    labels, tints = torch.full((2, n, MAX_ITEMS), -1)
    boxes = torch.zeros(n, MAX_ITEMS, 4)
    wanted = torch.randint(MIN_ITEMS, MAX_ITEMS + 1, (n,), generator=generator)
    # Chosen beforehand, lest small kinds be more frequent: they find room more easily.
    kinds = wardrobe.kinds(n, MAX_ITEMS, generator=generator)
    for attempt in itertools.count():
        goal = wanted if attempt < MAX_ATTEMPTS else MIN_ITEMS
        rows = (counts < goal).nonzero()[:, 0]
        if len(rows) == 0:
            break
        layers, classes = _random_items(wardrobe, kinds[rows, counts[rows]], generator)
        own = clothes.boxes((layers[:, 1] > 0.5).to(torch.uint8), 1)[:, 0]  # (k, 4)
        places, found = _places(own[:, 2:] - own[:, :2], boxes[rows], counts[rows], generator)
        rows, slots, layers, own = rows[found], counts[rows[found]], layers[found], own[found]
        tint = torch.randint(len(TINTS), (len(rows),), generator=generator)
        labels[rows, slots], tints[rows, slots] = clothes.KIND_OF_CLASS[classes[found]], tint
        boxes[rows, slots] = places[found]
        counts[rows] += 1
        layers = _moved(layers, (places[found] - own)[:, :2].long())
        images[rows] = clothes.paint(images[rows], layers, _colors(tint, generator))
        numbers = (slots + 1).to(torch.uint8)[:, None, None]
        maps[rows] = torch.where(layers[:, 1] > 0.5, numbers, maps[rows])
    pixels = (images * 255).round().to(torch.uint8)
    return StillLifes(pixels, counts, labels, tints, boxes, maps)


def _random_items(
    wardrobe: clothes.Wardrobe, kinds: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return an item of each kind, scaled and rotated, in the middle, and its fine class.

    Shape: (k,) → layers (k, 2, 64, 64), as ``clothes.paint`` takes them, classes (k,).
    """
    gray, classes = wardrobe.draw(kinds, generator)
    scale, angle = torch.rand(2, len(kinds), generator=generator)
    layers = clothes.transform(
        torch.cat([gray, clothes.silhouette(gray)], 1),
        scale=MIN_SCALE + (MAX_SCALE - MIN_SCALE) * scale,
        angle=MAX_ANGLE * (2 * angle - 1),
        place=torch.full((len(kinds), 2), 0.5),
        size=IMAGE_SIZE,
    )
    return layers, classes


def _places(
    sizes: Tensor, boxes: Tensor, counts: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return a box for each new item, and whether it is apart from the others and related to one.

    Shape: sizes (k, 2), boxes (k, 3, 4) and counts (k,) of the items there → (k, 4), (k,) bool.
    """
    corners = torch.rand(len(sizes), TRIALS, 2, generator=generator)
    corners = 1 + (corners * (IMAGE_SIZE - 1 - sizes[:, None])).floor()
    tried = torch.cat([corners, corners + sizes[:, None]], -1)  # (k, TRIALS, 4)
    ours, others = tried[:, :, None], boxes[:, None]  # (k, TRIALS, 1, 4), (k, 1, 3, 4)
    there = torch.arange(MAX_ITEMS) < counts[:, None, None]  # (k, 1, 3)
    gaps = torch.maximum(ours[..., :2] - others[..., 2:], others[..., :2] - ours[..., 2:])
    apart = (gaps.amax(-1) >= GAP) | ~there  # across or down
    related = (_relation(_middles(ours), _middles(others)) >= 0) & there
    good = apart.all(-1) & (related.any(-1) | (counts == 0)[:, None])  # (k, TRIALS)
    first = good.to(torch.uint8).argmax(1)
    return tried[torch.arange(len(sizes)), first], good.any(1)


def _moved(layers: Tensor, shifts: Tensor) -> Tensor:
    """Return each picture shifted by whole pixels, across and down.

    Shape: layers (k, 2, 64, 64), shifts (k, 2) → (k, 2, 64, 64).
    """
    moved = torch.empty_like(layers)
    for i, (across, down) in enumerate(shifts.tolist()):
        moved[i] = layers[i].roll((down, across), (1, 2))
    return moved


def _colors(tints: Tensor, generator: torch.Generator) -> Tensor:
    """Return a shade of each tint. Shape: (n,) → (n, 3)."""
    hue, saturation, value = torch.rand(3, len(tints), generator=generator)
    return clothes.rgb(
        _HUES[tints] + 0.06 * (hue - 0.5),
        _SATURATIONS[tints] * (0.8 + 0.2 * saturation),
        0.8 + 0.2 * value,
    )


def _grounds(n: int, generator: torch.Generator) -> Tensor:
    """Return dark grounds with a little texture. Shape: (n, 3, 64, 64) in [0, 1]."""
    base = 0.08 + 0.12 * torch.rand(n, 3, 1, 1, generator=generator)
    texture = torch.randn(n, 1, 16, 16, generator=generator)
    coarse = F.interpolate(texture, size=IMAGE_SIZE, mode="bilinear")
    fine = torch.randn(n, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    return (base + 0.02 * coarse + 0.01 * fine).clamp(0, 1)


def _middles(boxes: Tensor) -> Tensor:
    """Return the middles of boxes. Shape: (…, 4) → (…, 2)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _relation(first: Tensor, second: Tensor) -> Tensor:
    """Return how the first point lies to the second, as in ``RELATIONS``, or −1.

    One distance, across or down, must be twice the other; else the pair lies askew, and a caption
    names no relation. Shape: (…, 2), (…, 2) → (…).
    """
    dx, dy = (first - second).unbind(-1)
    across, down = dx.abs() >= 2 * dy.abs(), dy.abs() >= 2 * dx.abs()
    relation = torch.where(across, (dx > 0).long(), 2 + (dy > 0).long())
    return torch.where(across ^ down, relation, -1)
