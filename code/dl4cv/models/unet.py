"""A small U-Net conditioned on time and, if wanted, on the class: what denoises 28 × 28 digits.

Source: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image
    Segmentation" (2015), arXiv:1505.04597; with the time in every block as in Ho, Jain and
    Abbeel, "Denoising Diffusion Probabilistic Models" (2020), arXiv:2006.11239, appendix B,
    and without their attention.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv.models.blocks import at_least_float32, check_sizes, class_indices


def time_embedding(time: Tensor, dim: int) -> Tensor:
    """Return sines and cosines of the time at ``dim`` / 2 frequencies, from 1 to 100.

    Shape: time (N,) in [0, 1] → (N, dim) in float32 or better: all sines, then all cosines.

    Raises:
        ValueError: if ``dim`` is odd or below 4, or ``time`` is not one number per image.

    Source: Vaswani et al., "Attention Is All You Need" (2017), arXiv:1706.03762, section 3.5.
    """
    if dim < 4 or dim % 2:
        raise ValueError(f"dim is {dim}; expected an even number, 4 or more")
    if time.ndim != 1:
        raise ValueError(f"time has shape {tuple(time.shape)}; expected (N,)")
    time = time.to(at_least_float32(time.dtype))
    frequencies = torch.logspace(0, 2, dim // 2, device=time.device, dtype=time.dtype)
    angles = time[:, None] * frequencies  # (N, dim / 2)
    return torch.cat([angles.sin(), angles.cos()], 1)


class ResBlock(nn.Module):
    """Two convolutions with a skip connection; the condition scales and shifts in between.

    Args:
        channels: C.
        cond_dim: size of the embedding of time and class.

    Source: Ho et al. (2020), appendix B; scale and shift as in Dhariwal and Nichol,
        "Diffusion Models Beat GANs on Image Synthesis" (2021), arXiv:2105.05233, equation 7.
    """

    def __init__(self, channels: int, cond_dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(1, channels), nn.GroupNorm(1, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(cond_dim, 2 * channels)
        nn.init.zeros_(self.conv2.weight)  # at first the block changes little

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """Shape: x (N, C, H, W), cond (N, cond_dim) → (N, C, H, W)."""
        scale, shift = self.modulation(cond)[:, :, None, None].chunk(2, 1)  # (N, C, 1, 1) each
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return x + self.conv2(F.silu(h))


class UNet(nn.Module):
    """Down to a quarter of the resolution and up again, with one skip connection at a half.

    The input is pixel-unshuffled first, 2 × 2 pixels into channels. That loses nothing, and
    convolutions over a quarter of the positions with more channels are faster on a CPU.

    Args:
        widths: channels at a half and at a quarter of the resolution.
        blocks: residual blocks at a quarter of the resolution.
        in_channels: C, channels of the images and of the prediction.
        num_classes: K; the label K is the null label, no class.
        cond_dim: size of the embedding of time and class, even.
    """

    def __init__(
        self,
        widths: tuple[int, int] = (24, 64),
        *,
        blocks: int = 2,
        in_channels: int = 1,
        num_classes: int = 10,
        cond_dim: int = 64,
    ) -> None:
        super().__init__()
        check_sizes(widths=widths, blocks=blocks, in_channels=in_channels, num_classes=num_classes)
        a, b = widths
        self.in_channels, self.num_classes, self.cond_dim = in_channels, num_classes, cond_dim
        self.time_mlp = nn.Sequential(
            nn.Linear(cond_dim, cond_dim), nn.SiLU(), nn.Linear(cond_dim, cond_dim)
        )
        self.label_embedding = nn.Embedding(num_classes + 1, cond_dim)
        self.conv_in = nn.Conv2d(4 * in_channels, a, 3, padding=1)
        self.block_in = ResBlock(a, cond_dim)
        self.down = nn.Conv2d(4 * a, b, 1)
        self.middle = nn.ModuleList(ResBlock(b, cond_dim) for _ in range(blocks))
        self.up = nn.Conv2d(b, 4 * a, 1)
        self.block_out, self.norm_out = ResBlock(a, cond_dim), nn.GroupNorm(1, a)
        self.conv_out = nn.Conv2d(a, 4 * in_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return one number per pixel and channel: noise or velocity, as it was trained.

        Shape: x (N, C, H, W), H and W multiples of 4, time (N,) in [0, 1], labels (N,) in 0 to
            K, or None for the null label → (N, C, H, W).

        Raises:
            ValueError: if a shape does not fit, or a label is out of its range.
        """
        _, channels, height, width = x.shape if x.ndim == 4 else (0, 0, 0, 0)
        if channels != self.in_channels or height % 4 or width % 4:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (N, {self.in_channels}, H, W), "
                "with H and W multiples of 4"
            )
        if labels is None:
            labels = torch.full((len(x),), self.num_classes, device=x.device)
        labels = class_indices(labels, len(x), self.num_classes + 1)
        if not len(x):
            return x.clone()  # F.pixel_unshuffle gives an empty batch the wrong shape
        embedded = self.time_mlp(time_embedding(time, self.cond_dim).to(x.dtype))
        cond = F.silu(embedded + self.label_embedding(labels))
        half = self.block_in(self.conv_in(F.pixel_unshuffle(x, 2)), cond)  # (N, a, H / 2, W / 2)
        h = self.down(F.pixel_unshuffle(half, 2))  # (N, b, H / 4, W / 4)
        for block in self.middle:
            h = block(h, cond)
        h = half + F.pixel_shuffle(self.up(h), 2)  # (N, a, H / 2, W / 2)
        h = self.block_out(h, cond)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h))), 2)
