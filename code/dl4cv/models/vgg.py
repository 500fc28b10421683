"""VGG: nothing but 3 × 3 convolutions, twice or more at each resolution, then a smaller one.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition" (2015), table 1; small, and with batch normalisation, which came a year later.
"""

from collections.abc import Sequence

from torch import Tensor, nn


class VGG(nn.Module):
    """Classify grey images of 28 × 28 pixels.

    Args:
        widths: the channels of each stage.
        layers: convolutions a stage.
        classes: K, the number of classes.
    """

    def __init__(
        self, widths: Sequence[int] = (16, 32, 64), layers: int = 2, classes: int = 10
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        channels = 1
        for width in widths:
            for _ in range(layers):
                stages += conv3x3(channels, width)
                channels = width
            stages.append(nn.MaxPool2d(2))  # (N, width, H / 2, W / 2)
        self.features = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, 1, 28, 28) in [0, 1] → (N, K)."""
        return self.classifier(self.features(images).mean((2, 3)))


def conv3x3(inputs: int, outputs: int) -> list[nn.Module]:
    """Return a convolution that keeps the size, its normalisation and its activation."""
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
