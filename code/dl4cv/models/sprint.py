"""Two networks for an epoch of MNIST: the one that beginners are shown, and a faster one."""

from torch import Tensor, nn

from dl4cv.models import blocks


class Sprint(nn.Module):
    """Three convolutions, at 14 × 14 and 7 × 7 positions, for images of 28 × 28 pixels.

    The first convolution has stride 2, so nothing is computed at the full resolution, where a
    layer costs four times as much.

    Args:
        in_channels: channels of the images.
        num_classes: K.
    """

    def __init__(self, *, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        blocks.check_sizes(in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        momentum = 0.3  # the running statistics of so short a run must forget its beginning
        self.layers = nn.Sequential(
            *blocks.conv_bn_relu(in_channels, 16, 5, 2, momentum=momentum),  # (N, 16, 14, 14)
            *blocks.conv_bn_relu(16, 16, momentum=momentum),
            nn.MaxPool2d(2),  # (N, 16, 7, 7)
            *blocks.conv_bn_relu(16, 48, momentum=momentum),
            nn.Flatten(),
            nn.Linear(48 * 7 * 7, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, C, 28, 28) in [0, 1] → (N, K)."""
        blocks.check_images(images, self.in_channels, at_least=28, at_most=28)
        return self.layers(images)


def baseline() -> nn.Sequential:
    """Return the network of PyTorch's example for MNIST: 1.2 million parameters.

    Shape: (N, 1, 28, 28) in [0, 1] → logits (N, 10).
    """
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
