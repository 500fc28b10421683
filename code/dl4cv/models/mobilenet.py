"""MobileNet: a convolution split into a depthwise one over space and a 1 × 1 one over channels.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018),
    arXiv:1801.04381, table 1; small.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from dl4cv.models.blocks import check_images, check_sizes


class MobileNet(nn.Module):
    """Classify images by inverted residuals.

    Args:
        widths: channels of each stage.
        blocks: blocks per stage.
        expansion: hidden channels of a block per input channel.
        in_channels: channels of the images.
        num_classes: K.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 24, 40),
        blocks: int = 2,
        expansion: int = 4,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        check_sizes(
            widths=widths,
            blocks=blocks,
            expansion=expansion,
            in_channels=in_channels,
            num_classes=num_classes,
        )
        self.in_channels = in_channels
        channels = widths[0]
        stages: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, 3, 2, 1, bias=False),  # (N, widths[0], H / 2, W / 2)
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
        ]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(InvertedResidual(channels, width, stride, expansion))
                channels = width
        self.features = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, C, H, W) in [0, 1] → (N, K)."""
        check_images(images, self.in_channels)
        return self.classifier(self.features(images).mean((2, 3)))


class InvertedResidual(nn.Module):
    """1 × 1 expansion, depthwise convolution, 1 × 1 projection; residual where shapes agree.

    Args:
        in_channels: C.
        out_channels: F.
        stride: s, of the depthwise convolution.
        expansion: hidden channels per input channel.

    Shape: (N, C, H, W) → (N, F, ceil(H / s), ceil(W / s)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),  # depthwise
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, out_channels, 1, bias=False),  # linear: no activation follows
            nn.BatchNorm2d(out_channels),
        )
        self.skip = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual, with the input added where both have one shape."""
        return x + self.residual(x) if self.skip else self.residual(x)
