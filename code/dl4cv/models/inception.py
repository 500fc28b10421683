"""Inception: kernels of several sizes side by side, behind 1 × 1 convolutions that save work.

Source: Szegedy et al., "Going Deeper with Convolutions" (2015), arXiv:1409.4842, figure 2b;
    small, and with the batch normalization of its second version.
"""

import torch
from torch import Tensor, nn

from dl4cv.models import blocks
from dl4cv.models.blocks import conv_bn_relu


class Inception(nn.Module):
    """Classify images by blocks of parallel branches.

    Args:
        width: a quarter of the channels of the first stage, even.
        in_channels: channels of the images.
        num_classes: K.

    Raises:
        ValueError: if ``width`` is odd or not positive.
    """

    def __init__(self, width: int = 8, *, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        blocks.check_sizes(width=width, in_channels=in_channels, num_classes=num_classes)
        if width % 2:
            raise ValueError(f"width is {width}; expected an even number")
        self.in_channels = in_channels
        first, second = 4 * width, 8 * width
        self.features = nn.Sequential(
            conv_bn_relu(in_channels, first, stride=2),  # (N, 4 w, H / 2, W / 2)
            InceptionBlock(first, first),
            InceptionBlock(first, first),
            nn.MaxPool2d(2),  # (N, 4 w, H / 4, W / 4)
            InceptionBlock(first, second),
            InceptionBlock(second, second),
        )
        self.classifier = nn.Linear(second, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, C, H, W) in [0, 1] → (N, K)."""
        blocks.check_images(images, self.in_channels, at_least=3)
        return self.classifier(self.features(images).mean((2, 3)))


class InceptionBlock(nn.Module):
    """Four branches on the same input, concatenated along the channels.

    Half of the channels come from 3 × 3 kernels; an eighth, a quarter and an eighth come from
    1 × 1 kernels, 5 × 5 kernels and the pooled input.

    Shape: (N, in_channels, H, W) → (N, out_channels, H, W).

    Raises:
        ValueError: if ``out_channels`` is not a multiple of 8.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        eighth, rest = divmod(out_channels, 8)
        if eighth < 1 or rest:
            raise ValueError(f"out_channels is {out_channels}; expected a multiple of 8")
        self.branches = nn.ModuleList(
            [
                conv_bn_relu(in_channels, eighth, 1),
                nn.Sequential(
                    conv_bn_relu(in_channels, 3 * eighth, 1),
                    conv_bn_relu(3 * eighth, 4 * eighth, 3),
                ),
                nn.Sequential(
                    conv_bn_relu(in_channels, eighth, 1),
                    conv_bn_relu(eighth, 2 * eighth, 5),
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn_relu(in_channels, eighth, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of all branches."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)
