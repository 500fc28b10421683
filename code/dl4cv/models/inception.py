"""Inception: kernels of several sizes side by side, each behind a 1 × 1 convolution that saves.

Source: Szegedy et al., "Going Deeper with Convolutions" (2015), figure 2b; small, and with the
batch normalisation of its second version.
"""

import torch
from torch import Tensor, nn


class Inception(nn.Module):
    """Classify grey images of 28 × 28 pixels.

    Args:
        width: a quarter of the channels of the first stage.
        classes: K, the number of classes.
    """

    def __init__(self, width: int = 8, classes: int = 10) -> None:
        super().__init__()
        first, second = 4 * width, 8 * width
        self.features = nn.Sequential(
            convolution(1, first, 3, stride=2),  # (N, 4 w, 14, 14)
            Mixed(first, first),
            Mixed(first, first),
            nn.MaxPool2d(2),  # (N, 4 w, 7, 7)
            Mixed(first, second),
            Mixed(second, second),
        )
        self.classifier = nn.Linear(second, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, 1, 28, 28) in [0, 1] → (N, K)."""
        return self.classifier(self.features(images).mean((2, 3)))


class Mixed(nn.Module):
    """Four branches on the same input; their maps are stacked. Shape: (N, C, H, W) → (N, F, H, W).

    Half of the maps come from 3 × 3 kernels, and an eighth, a quarter and an eighth from 1 × 1,
    5 × 5 and the pooled input.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        eighth = outputs // 8
        self.branches = nn.ModuleList(
            [
                convolution(inputs, eighth, 1),
                nn.Sequential(
                    convolution(inputs, 3 * eighth, 1), convolution(3 * eighth, 4 * eighth, 3)
                ),
                nn.Sequential(
                    convolution(inputs, eighth, 1),
                    convolution(eighth, 2 * eighth, 5),
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), convolution(inputs, eighth, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of all branches."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution with its normalisation and its activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
