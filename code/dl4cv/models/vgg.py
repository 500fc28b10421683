"""VGG: 3 × 3 convolutions only, two or more at each resolution, then half the resolution.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition" (2015), arXiv:1409.1556, table 1; small, and with batch normalization.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from dl4cv.models import blocks


class VGG(nn.Module):
    """Classify images by stages of 3 × 3 convolutions.

    Args:
        widths: channels of each stage.
        layers: convolutions per stage.
        in_channels: channels of the images.
        num_classes: K.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 64),
        layers: int = 2,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        blocks.check_sizes(
            widths=widths, layers=layers, in_channels=in_channels, num_classes=num_classes
        )
        self.in_channels, self.smallest = in_channels, 2 ** len(widths)
        stages: list[nn.Module] = []
        channels = in_channels
        for width in widths:
            for _ in range(layers):
                stages += blocks.conv_bn_relu(channels, width)
                channels = width
            stages.append(nn.MaxPool2d(2))  # (N, width, H / 2, W / 2)
        self.features = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, C, H, W) in [0, 1] → (N, K)."""
        blocks.check_images(images, self.in_channels, at_least=self.smallest)
        return self.classifier(self.features(images).mean((2, 3)))
