"""A small U-Net that is told the time and, if wanted, the class: what denoises 28 × 28 digits.

Source: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image
    Segmentation" (2015); with the time in every block as in Ho, Jain and Abbeel, "Denoising
    Diffusion Probabilistic Models" (2020), appendix B, and without their attention.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def time_embedding(time: Tensor, size: int) -> Tensor:
    """Return sines and cosines of the time at ``size`` / 2 frequencies, from 1 to 100.

    Shape: time (N,) in [0, 1] → (N, size): all sines, then all cosines.

    Raises:
        ValueError: if ``size`` is odd or below 4.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.5.
    """
    if size < 4 or size % 2:
        raise ValueError(f"size is {size}; expected an even number, 4 or more")
    frequencies = torch.logspace(0, 2, size // 2, device=time.device, dtype=time.dtype)
    angles = time[:, None] * frequencies  # (N, size / 2)
    return torch.cat([angles.sin(), angles.cos()], 1)


class Block(nn.Module):
    """Two convolutions and a way around them; time and class scale and shift in between.

    Args:
        channels: C.
        known: size of the vector that tells time and class.

    Source: Ho et al. (2020), appendix B; scale and shift as in Dhariwal and Nichol, "Diffusion
        Models Beat GANs on Image Synthesis" (2021), equation 7.
    """

    def __init__(self, channels: int, known: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(1, channels), nn.GroupNorm(1, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.adapt = nn.Linear(known, 2 * channels)
        nn.init.zeros_(self.conv2.weight)  # at first the block changes little

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Shape: x (N, C, H, W), known (N, known) → (N, C, H, W)."""
        scale, shift = self.adapt(known)[:, :, None, None].chunk(2, 1)  # (N, C, 1, 1) each
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return x + self.conv2(F.silu(h))


class UNet(nn.Module):
    """Down to a quarter of the side and up again, with a bridge at half of it.

    Two by two pixels are folded into channels first: it loses nothing, and convolutions on a
    quarter of the places with more channels each make better use of a processor.

    Args:
        widths: channels at a half and at a quarter of the side.
        blocks: at a quarter of the side.
        classes: K; the label K means "not told".
        known: size of the vector that tells time and class.
    """

    def __init__(
        self,
        widths: tuple[int, int] = (24, 64),
        *,
        blocks: int = 2,
        classes: int = 10,
        known: int = 64,
    ) -> None:
        super().__init__()
        a, b = widths
        self.classes, self.known = classes, known
        self.clock = nn.Sequential(nn.Linear(known, known), nn.SiLU(), nn.Linear(known, known))
        self.label = nn.Embedding(classes + 1, known)
        self.enter, self.before = nn.Conv2d(4, a, 3, padding=1), Block(a, known)
        self.down = nn.Conv2d(4 * a, b, 1)
        self.bottom = nn.ModuleList(Block(b, known) for _ in range(blocks))
        self.up = nn.Conv2d(b, 4 * a, 1)
        self.after, self.norm = Block(a, known), nn.GroupNorm(1, a)
        self.leave = nn.Conv2d(a, 4, 3, padding=1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return one number a pixel, whatever it was trained for.

        Shape: x (N, 1, H, W), time (N,) in [0, 1], labels (N,) in 0 to K → (N, 1, H, W). H and W
        are multiples of 4.
        """
        if labels is None:
            labels = torch.full((len(x),), self.classes, device=x.device)
        known = F.silu(self.clock(time_embedding(time, self.known)) + self.label(labels))
        half = self.before(self.enter(F.pixel_unshuffle(x, 2)), known)  # (N, a, H / 2, W / 2)
        h = self.down(F.pixel_unshuffle(half, 2))  # (N, b, H / 4, W / 4)
        for block in self.bottom:
            h = block(h, known)
        h = half + F.pixel_shuffle(self.up(h), 2)  # (N, a, H / 2, W / 2)
        h = self.after(h, known)
        return F.pixel_shuffle(self.leave(F.silu(self.norm(h))), 2)
