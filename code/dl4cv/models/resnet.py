"""ResNet: each block adds a residual to its input instead of replacing it.

Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2016),
    arXiv:1512.03385, figure 2 and section 4.2, with 6 n + 2 layers for small images.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv.models import blocks


class ResNet(nn.Module):
    """Classify images by residual blocks.

    Args:
        depth: layers with weights, 6 n + 2: a first convolution, three stages of n blocks
            with two convolutions each, and the classifier.
        width: channels of the first stage; each later stage has twice as many.
        skip: whether the blocks add their input. Without, it is a plain deep network.
        stride: of the first convolution; 2 halves the resolution of every feature map.
        in_channels: channels of the images.
        num_classes: K.

    Raises:
        ValueError: if ``depth`` is not 8, 14, 20, …, or another size is below 1.
    """

    def __init__(
        self,
        depth: int = 8,
        width: int = 16,
        *,
        skip: bool = True,
        stride: int = 1,
        in_channels: int = 1,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        blocks.check_sizes(
            width=width, stride=stride, in_channels=in_channels, num_classes=num_classes
        )
        n, rest = divmod(depth - 2, 6)
        if n < 1 or rest:
            raise ValueError(f"depth is {depth}; expected 6 n + 2: 8, 14, 20 and so on")
        self.in_channels = in_channels
        self.stem = blocks.conv_bn_relu(in_channels, width, stride=stride)
        stages: list[nn.Module] = []
        channels = width
        for stage in range(3):
            for block in range(n):
                downsample = stage > 0 and block == 0
                stages.append(
                    BasicBlock(channels, width * 2**stage, downsample=downsample, skip=skip)
                )
                channels = width * 2**stage
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits. Shape: images (N, C, H, W) in [0, 1] → (N, K)."""
        blocks.check_images(images, self.in_channels)
        return self.classifier(self.blocks(self.stem(images)).mean((2, 3)))


class BasicBlock(nn.Module):
    """``relu(x + f(x))``, with f two 3 × 3 convolutions.

    A block that downsamples first averages each 2 × 2 square. Its skip connection pads the new
    channels with zeros, option A of He et al. (2016). They subsample where we average.

    Args:
        in_channels: C.
        out_channels: F, at least C.
        downsample: whether H and W become ceil(H / 2) and ceil(W / 2).
        skip: whether the input is added.

    Shape: (N, C, H, W) → (N, F, H, W).

    Raises:
        ValueError: if ``out_channels`` is below ``in_channels``.

    Source: averaging loses less: He et al., "Bag of Tricks for Image Classification with
        Convolutional Neural Networks" (2019), arXiv:1812.01187, section 4.2.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, downsample: bool = False, skip: bool = True
    ) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(
                f"out_channels is {out_channels}; expected at least in_channels, {in_channels}"
            )
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.downsample, self.skip = downsample, skip
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the input, downsampled if wanted, with the residual added."""
        if self.downsample:
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        residual = self.residual(x)
        if not self.skip:
            return F.relu(residual)
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(x + residual)
