"""ConvNeXt: a convolutional network with the habits of a transformer.

Source: Liu et al., "A ConvNet for the 2020s" (2022), figure 4 and table 9; small.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ConvNeXt(nn.Module):
    """Classify grey images of 28 × 28 pixels.

    Args:
        widths: the channels of each stage.
        blocks: blocks a stage.
        kernel: side of the depthwise kernels, odd.
        classes: K, the number of classes.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64),
        blocks: int = 2,
        kernel: int = 7,
        classes: int = 10,
    ) -> None:
        super().__init__()
        channels = widths[0]
        stages: list[nn.Module] = [nn.Conv2d(1, channels, 2, 2), ChannelNorm(channels)]
        for width in widths:
            if width != channels:
                stages += [ChannelNorm(channels), nn.Conv2d(channels, width, 2, 2)]
                channels = width
            stages += [Block(width, kernel) for _ in range(blocks)]
        self.features = nn.Sequential(*stages)  # (N, widths[-1], 7, 7)
        self.norm = nn.LayerNorm(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, 1, 28, 28) in [0, 1] → (N, K)."""
        return self.classifier(self.norm(self.features(images).mean((2, 3))))


class Block(nn.Module):
    """Look around in each channel, normalise, widen, bend, narrow, add. Shape: (N, C, H, W)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=channels),  # depthwise
            ChannelNorm(channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Return what came in, with the scaled residual added."""
        return x + self.scale * self.residual(x)


class ChannelNorm(nn.LayerNorm):
    """Normalise each place over its channels. Shape: (N, C, H, W) → the same."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised maps."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)
