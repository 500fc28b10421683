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
                halve = stage > 0 and block == 0
                stages.append(Block(channels, width * 2**stage, halve=halve, skip=skip))
                channels = width * 2**stage
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, 1, 28, 28) in [0, 1] → (N, K)."""
        return self.classifier(self.blocks(self.stem(images)).mean((2, 3)))


class Block(nn.Module):
    """``relu(x + f(x))``, with f two convolutions. Shape: (N, C, H, W) → (N, F, H, W).

    A block that halves first takes the mean of each square of 2 × 2 places, so that H and W become
    ceil(H / 2) and ceil(W / 2). What it adds gets zeros for the new channels, the paper's option A.
    The paper takes every other place instead; that means lose less is from He, Zhang, Zhang, Zhang,
    Xie and Li, "Bag of Tricks for Image Classification" (2019), section 4.2.
    """

    def __init__(
        self, inputs: int, outputs: int, *, halve: bool = False, skip: bool = True
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.halve, self.skip, self.new = halve, skip, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return what came in, with the residual added."""
        if self.halve:
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        residual = self.residual(x)
        if not self.skip:
            return F.relu(residual)
        if self.new:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new))
        return F.relu(x + residual)
