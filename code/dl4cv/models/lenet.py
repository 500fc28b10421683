"""LeNet-5: two convolutions, two fully connected layers and a classifier.

Source: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document
    Recognition" (1998), figure 2; with ReLU and max pooling, as it is built today.
"""

from torch import Tensor, nn

from dl4cv.models import blocks


class LeNet(nn.Module):
    """Classify images of 28 × 28 pixels; 61,706 parameters for ten classes of gray images.

    Args:
        in_channels: channels of the images.
        num_classes: K.
    """

    def __init__(self, *, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        blocks.check_sizes(in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=2),  # (N, 6, 28, 28)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 6, 14, 14)
            nn.Conv2d(6, 16, 5),  # (N, 16, 10, 10)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, 5, 5)
            nn.Flatten(),  # (N, 400)
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(84, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, C, 28, 28) in [0, 1] → (N, K)."""
        blocks.check_images(images, self.in_channels, at_least=28, at_most=28)
        return self.classifier(self.features(images))
