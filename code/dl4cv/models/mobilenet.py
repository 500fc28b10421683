"""MobileNet: a convolution split into one that looks around and one that mixes channels.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), table 1;
small.
"""

from collections.abc import Sequence

from torch import Tensor, nn


class MobileNet(nn.Module):
    """Classify grey images of 28 × 28 pixels.

    Args:
        widths: the channels of each stage.
        blocks: blocks a stage.
        expansion: how many times wider a block is inside.
        classes: K, the number of classes.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 24, 40),
        blocks: int = 2,
        expansion: int = 4,
        classes: int = 10,
    ) -> None:
        super().__init__()
        channels = widths[0]
        stages: list[nn.Module] = [
            nn.Conv2d(1, channels, 3, 2, 1, bias=False),  # (N, widths[0], 14, 14)
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
        ]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(InvertedResidual(channels, width, stride, expansion))
                channels = width
        self.features = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, 1, 28, 28) in [0, 1] → (N, K)."""
        return self.classifier(self.features(images).mean((2, 3)))


class InvertedResidual(nn.Module):
    """Widen, look around in each channel by itself, narrow; add the input where it fits.

    Shape: (N, C, H, W) → (N, F, H / s, W / s).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = expansion * inputs
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, inside, 1, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU6(),
            nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False),  # depthwise
            nn.BatchNorm2d(inside),
            nn.ReLU6(),
            nn.Conv2d(inside, outputs, 1, bias=False),  # linear: no activation follows
            nn.BatchNorm2d(outputs),
        )
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual, with the input added where both have one shape."""
        return x + self.residual(x) if self.skip else self.residual(x)
