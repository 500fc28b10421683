"""ResNet: each block adds something to what came in, instead of replacing it.

Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2016), figure 2 and
section 4.2, with 6 n + 2 layers for small images.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class ResNet(nn.Module):
    """Classify grey images of 28 × 28 pixels.

    Args:
        depth: layers with weights, 6 n + 2: a first convolution, three stages of n blocks with two
            convolutions each, and the classifier.
        width: the channels of the first stage; each stage after it has twice as many.
        skip: whether the blocks add their input. Without, it is a plain deep network.
        stride: of the first convolution; 2 makes every map four times smaller.
        classes: K, the number of classes.

    Raises:
        ValueError: if ``depth`` is not 8, 14, 20, …
    """

    def __init__(
        self,
        depth: int = 8,
        width: int = 16,
        *,
        skip: bool = True,
        stride: int = 1,
        classes: int = 10,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth is {depth}; expected 6 n + 2: 8, 14, 20 and so on")
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        stages: list[nn.Module] = []
        channels = width
        for stage in range(3):
            for block in range(blocks):
                halve = 2 if stage > 0 and block == 0 else 1
                stages.append(Block(channels, width * 2**stage, stride=halve, skip=skip))
                channels = width * 2**stage
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, 1, 28, 28) in [0, 1] → (N, K)."""
        return self.classifier(self.blocks(self.stem(images)).mean((2, 3)))


class Block(nn.Module):
    """``relu(x + f(x))``, with f two convolutions. Shape: (N, C, H, W) → (N, F, H / s, W / s)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, skip: bool = True) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip = skip
        self.shortcut: nn.Module = nn.Identity()
        if skip and (stride > 1 or inputs != outputs):
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return what came in, with the residual added."""
        residual = self.residual(x)
        return F.relu(self.shortcut(x) + residual if self.skip else residual)
