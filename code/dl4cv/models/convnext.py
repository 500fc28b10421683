"""ConvNeXt: a convolutional network with the design of a transformer.

Source: Liu et al., "A ConvNet for the 2020s" (2022), arXiv:2201.03545, figure 4 and table 9;
    small.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dl4cv.models.blocks import check_images, check_sizes


class ConvNeXt(nn.Module):
    """Classify images by depthwise convolutions with large kernels.

    Args:
        widths: channels of each stage; every stage halves the resolution first.
        blocks: blocks per stage.
        kernel_size: side of the depthwise kernels, odd.
        in_channels: channels of the images.
        num_classes: K.

    Raises:
        ValueError: if ``kernel_size`` is even, or a size is below 1.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64),
        blocks: int = 2,
        kernel_size: int = 7,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        check_sizes(
            widths=widths,
            blocks=blocks,
            kernel_size=kernel_size,
            in_channels=in_channels,
            num_classes=num_classes,
        )
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}; expected an odd number")
        self.in_channels, self.smallest = in_channels, 2 ** len(widths)
        channels = widths[0]
        stages: list[nn.Module] = [nn.Conv2d(in_channels, channels, 2, 2), ChannelNorm(channels)]
        for stage, width in enumerate(widths):
            if stage > 0:
                stages += [ChannelNorm(channels), nn.Conv2d(channels, width, 2, 2)]
                channels = width
            stages += [ConvNeXtBlock(width, kernel_size) for _ in range(blocks)]
        self.features = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, C, H, W) in [0, 1] → (N, K)."""
        check_images(images, self.in_channels, at_least=self.smallest)
        return self.classifier(self.norm(self.features(images).mean((2, 3))))


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, LayerNorm, 1 × 1 expansion, GELU, 1 × 1 projection, residual.

    Shape: (N, channels, H, W) → the same.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size, 1, padding, groups=channels),  # depthwise
            ChannelNorm(channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the input with the scaled residual added."""
        return x + self.scale * self.residual(x)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position. Shape: (N, C, H, W) → the same."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized features."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)
