"""Articles of clothing to lay on a picture: Fashion-MNIST's items in six kinds.

Ten classes are four too many for pictures in which things are small and colored: among shirt,
T-shirt, pullover and coat even good classifiers err often. All four are tops here, and sandals and
sneakers are shoes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dl4cv.data.labelled import LabelledImages

KINDS = ("top", "trousers", "dress", "bag", "shoe", "boot")
#: The kind of each of Fashion-MNIST's ten classes.
KIND_OF_CLASS = torch.tensor([0, 1, 0, 2, 0, 4, 0, 4, 3, 5])


class Wardrobe:
    """Items from which to draw."""

    def __init__(self, items: LabelledImages) -> None:
        self._items = items
        kinds = KIND_OF_CLASS[items.labels]
        rows = [(kinds == k).nonzero()[:, 0] for k in range(len(KINDS))]
        self._rows = [found for found in rows if len(found)]

    def kinds(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Return numbers of kinds that are there, each equally often."""
        return torch.randint(len(self._rows), shape, generator=generator)

    def draw(self, kinds: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return an item of each kind: (n, 1, 28, 28) in [0, 1], and their Fashion-MNIST classes.

        Args:
            kinds: (n,), as ``kinds`` returns them.
            generator: draws the items.
        """
        position = torch.rand(len(kinds), generator=generator)
        chosen = torch.empty_like(kinds)
        for k, rows in enumerate(self._rows):
            here = kinds == k
            chosen[here] = rows[(position[here] * len(rows)).long()]
        return self._items.images[chosen].float() / 255, self._items.labels[chosen]


def silhouette(gray: Tensor) -> Tensor:
    """Return 1 where an item is: where it has ink, or ink on all four sides.

    Shape: (n, 1, 28, 28) in [0, 1] → the same, 0 or 1.
    """
    ink = (gray > 0.08).float()
    sides = [
        ink.cummax(dim).values.minimum(ink.flip(dim).cummax(dim).values.flip(dim)) for dim in (2, 3)
    ]
    return sides[0].minimum(sides[1])


def transform(ink: Tensor, *, scale: Tensor, angle: Tensor, place: Tensor, size: int) -> Tensor:
    """Return items rotated, scaled and moved to a place within a scene.

    Shape: ink (n, C, 28, 28), scale and angle (n,), place (n, 2) in [0, 1] → (n, C, size, size).
    """
    side = ink.shape[-1] * scale / size  # of the item's square, as a fraction of the scene's
    cos, sin = angle.cos(), angle.sin()
    reach = side * (cos.abs() + sin.abs())  # of its rotated square
    middle = (2 * place - 1) * (1 - reach)[:, None]  # in [−1, 1], as affine_grid counts
    # Where in the item's square, from −1 to 1, each pixel of the scene lies: rotated back.
    pixels = (2 * torch.arange(size) + 1) / size - 1
    across, down = (pixels - middle[:, k : k + 1] for k in (0, 1))  # (n, size) each
    turn = (cos / side)[:, None], (sin / side)[:, None]
    x = (turn[0] * across)[:, None, :] + (turn[1] * down)[:, :, None]
    y = (turn[0] * down)[:, :, None] - (turn[1] * across)[:, None, :]
    grid = torch.stack([x, y], -1)  # (n, size, size, 2)
    return F.grid_sample(ink, grid, align_corners=False)


def paint(under: Tensor, layers: Tensor, colors: Tensor) -> Tensor:
    """Return pictures with an item on each. Shape: (n, 3, h, w), (n, 2, h, w), (n, 3)."""
    shades = colors[:, :, None, None] * (0.25 + 0.75 * layers[:, :1])
    return torch.lerp(under, shades, layers[:, 1:])


def boxes(maps: Tensor, most: int) -> Tensor:
    """Return boxes around what is visible of each item. Shape: (n, h, w) → (n, most, 4)."""
    found = []
    for k in range(1, most + 1):
        shown = (maps == k).to(torch.uint8)
        edges = []
        for dim in (1, 2):  # across, then down
            along = shown.amax(dim)
            first = along.argmax(1)
            last = maps.shape[dim] - along.flip(1).argmax(1)
            edges.append((first, last))
        (x0, x1), (y0, y1) = edges
        box = torch.stack([x0, y0, x1, y1], 1) * along.any(1, keepdim=True)
        found.append(box)
    return torch.stack(found, 1).float()


def rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return colors in RGB. Shape: (n,) each, in [0, 1] → (n, 3) in [0, 1]."""
    phase = (hue[:, None] + torch.tensor([0.0, 2 / 3, 1 / 3])) % 1
    pure = ((phase - 0.5).abs() * 6 - 1).clamp(0, 1)
    return value[:, None] * (1 - saturation[:, None] * (1 - pure))
