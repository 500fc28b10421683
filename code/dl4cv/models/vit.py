"""The vision transformer: an image is cut into patches, and a transformer reads them as words.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), arXiv 2010.11929, equations 1
to 4; with ReLU for GELU and without dropout.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv import optim
from dl4cv.models import blocks
from dl4cv.models.transformer import EncoderBlock

Pool = Literal["class", "mean"]


class ViT(nn.Module):
    """Classify images by a transformer over their patches.

    Args:
        image_size: height and width of the images, in pixels.
        patch_size: P, height and width of a patch; divides ``image_size``.
        dim: D, features of each token.
        num_layers: blocks.
        num_heads: of each attention; divides ``dim``.
        hidden: units of each block's hidden layer; 4 D if None.
        pool: what the classifier reads: the ``class`` token, or the ``mean`` of the patches, and
            then there is no class token.
        positions: whether each token gets a learned vector of where it stands.
        in_channels: C.
        num_classes: K.

    Raises:
        ValueError: if a size is below 1, ``patch_size`` does not divide ``image_size`` or
            ``num_heads`` ``dim``, or there is no such ``pool``.
    """

    def __init__(
        self,
        image_size: int = 28,
        patch_size: int = 7,
        *,
        dim: int = 64,
        num_layers: int = 4,
        num_heads: int = 4,
        hidden: int | None = None,
        pool: Pool = "class",
        positions: bool = True,
        in_channels: int = 1,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        blocks.check_sizes(
            image_size=image_size,
            patch_size=patch_size,
            dim=dim,
            num_layers=num_layers,
            in_channels=in_channels,
            num_classes=num_classes,
        )
        _check_divides(patch_size, image_size, image_size)
        if pool not in get_args(Pool):
            raise ValueError(f"pool is {pool!r}; expected one of: {', '.join(get_args(Pool))}")
        self.image_size, self.in_channels = image_size, in_channels
        self.patches = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.zeros(dim)) if pool == "class" else None
        count = (image_size // patch_size) ** 2 + (pool == "class")
        self.positions = nn.Parameter(0.02 * torch.randn(count, dim)) if positions else None
        self.layers = nn.ModuleList(EncoderBlock(dim, num_heads, hidden) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def tokens(self, images: Tensor) -> Tensor:
        """Return what the first block reads. Shape: (N, C, S, S) → (N, T, D), class token first.

        Raises:
            ValueError: unless ``images`` are N ≥ 1 floats of the shape that the network was made
                for.
        """
        blocks.check_images(
            images, self.in_channels, at_least=self.image_size, at_most=self.image_size
        )
        if not len(images):
            raise ValueError("images is an empty batch; expected at least one image")
        x = self.patches(images).flatten(2).mT  # (N, T, D), row by row
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), 1, -1), x], 1)
        return x if self.positions is None else x + self.positions

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, C, S, S) in [0, 1] → (N, K)."""
        x = self.tokens(images)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        return self.head(x.mean(1) if self.class_token is None else x[:, 0])


class Muon(optim.Muon):
    """Muon that leaves tables of vectors, such as position embeddings, to Adam.

    A table is a matrix that maps nothing. Give it a group of its own with ``momentum=0``, which
    marks it, and a learning rate for Adam.

    Args:
        params: as for ``optim.Muon``; so are the others.

    Source: Jordan et al. (2024), who leave embeddings to Adam too.
    """

    def update(self, theta: Tensor, g: Tensor, state: optim.State, *, momentum, **hyper) -> None:
        """Move ``theta`` in place; a table as the vector of all its entries."""
        if momentum == 0:
            theta, g = theta.view(-1), g.reshape(-1)
        super().update(theta, g, state, momentum=momentum, **hyper)


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches, row by row, and flatten each.

    Shape: (N, C, H, W) → (N, T, C · P · P), T = (H / P) · (W / P).

    Raises:
        ValueError: if ``patch_size`` does not divide the height and the width.
    """
    _check_divides(patch_size, *images.shape[2:])
    return F.unfold(images, patch_size, stride=patch_size).mT


def unpatchify(patches: Tensor, patch_size: int, height: int, width: int) -> Tensor:
    """Put patches together again; the inverse of ``patchify``.

    Shape: (N, T, C · P · P) → (N, C, height, width).

    Raises:
        ValueError: if ``patch_size`` does not divide the height and the width, or there are not as
            many patches as they need.
    """
    _check_divides(patch_size, height, width)
    needed = (height // patch_size) * (width // patch_size)
    if patches.shape[1] != needed:
        raise ValueError(f"patches holds {patches.shape[1]} an image; expected {needed}")
    return F.fold(patches.mT, (height, width), patch_size, stride=patch_size)


def shuffled(images: Tensor, order: Tensor, patch_size: int) -> Tensor:
    """Return images with their patches in another order.

    Args:
        images: (N, C, H, W).
        order: which patch comes to each place: (T,) for all images, or (N, T), one order each.
        patch_size: P.

    Raises:
        ValueError: if ``order`` has another shape, or is not a permutation of 0 to T − 1.
    """
    patches = patchify(images, patch_size)
    count, length, _ = patches.shape
    expected = torch.arange(length, device=order.device)
    if order.shape not in ((length,), (count, length)) or (order.sort(-1)[0] != expected).any():
        raise ValueError(
            f"order has shape {tuple(order.shape)}; expected permutations of 0 to {length - 1}, "
            f"({length},) or ({count}, {length})"
        )
    which = torch.arange(count, device=order.device)[:, None]
    return unpatchify(patches[which, order], patch_size, *images.shape[2:])


def _check_divides(patch_size: int, height: int, width: int) -> None:
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise ValueError(
            f"patch_size is {patch_size}; expected a divisor of {height} × {width} pixels"
        )
