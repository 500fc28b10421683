"""Images as parameters: modules without input that an optimizer moves, penalties, random views.

``training.fit`` trains these like any other model; its loss looks at the N images they return.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv.explain.inputs import check_images, widen

#: The middle of the range: what an image fades to.
GREY = 0.5


class PixelImage(nn.Module):
    """Images kept pixel by pixel, each value free and squeezed into [0, 1] by a sigmoid.

    Args:
        start: what the images are at first, (N, C, H, W) in [0, 1]; 0 and 1 are moved a little
            inwards, since the sigmoid never reaches them.

    Raises:
        ValueError: if ``start`` is something else.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        check_images(start, name="start")
        self.values = nn.Parameter(torch.logit(start.float(), eps=1e-3))

    def forward(self) -> Tensor:
        """Return the images. Shape: (N, C, H, W) in [0, 1]."""
        return self.values.sigmoid()


class FourierImage(nn.Module):
    """Images kept as a sum of waves in colours that vary independently in photographs.

    A step of the optimizer then changes slow waves more than quick ones, as photographs differ
    more in slow ones: their amplitude falls about like one over the frequency. Pixel by pixel, it
    would change all alike.

    Args:
        count: N.
        side: H and W, in pixels.
        colors: (3, 3), what one unit of each independent colour adds to red, green and blue; see
            ``color_basis``.
        decay: the power of the frequency by which a wave's amplitude falls; 1 is that of
            photographs, and more prefers large shapes.
        std: standard deviation of the values at first, before the sigmoid.
        generator: draws them.

    Source: Olah, Mordvintsev and Schubert, "Feature Visualization" (Distill, 2017), section
        "Preconditioning and Parameterization".
    """

    def __init__(
        self,
        count: int,
        side: int,
        *,
        colors: Tensor,
        decay: float = 1.0,
        std: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.side = side
        down, across = torch.fft.fftfreq(side), torch.fft.rfftfreq(side)
        frequency = torch.hypot(down[:, None], across)  # (H, W / 2 + 1), in waves a pixel
        self.scale: Tensor
        self.colors: Tensor
        scale = frequency.clamp(min=1 / side) ** -decay
        # Both parts of a wave count, and its mirror image with it. In the first column, and in the
        # last of an even side, waves are each other's mirror images, and the transform takes their
        # mean.
        mirrored = scale[:, [0, -1] if side % 2 == 0 else [0]]
        power = (4 * scale.square().sum() - 3 * mirrored.square().sum()) / side**2
        self.register_buffer("scale", scale / power.sqrt())
        self.register_buffer("colors", colors)
        shape = (count, 3, *frequency.shape, 2)  # real and imaginary part
        self.waves = nn.Parameter(std * torch.randn(shape, generator=generator))

    def forward(self) -> Tensor:
        """Return the images. Shape: (N, 3, side, side) in [0, 1]."""
        spectrum = torch.view_as_complex(self.waves.float()) * self.scale
        plain = torch.fft.irfft2(spectrum, s=(self.side, self.side), norm="ortho")
        return torch.einsum("rc,nchw->nrhw", self.colors, plain).sigmoid()


def color_basis(photographs: list[Tensor]) -> Tensor:
    """Return colours that vary independently in photographs, each with its usual strength.

    The columns are the square root of the covariance of red, green and blue, scaled so that the
    longest has length 1: mostly brightness, then blue against yellow, then green against purple.

    Shape: photographs (3, H, W) in [0, 1] each → (3, 3), float32.

    Raises:
        ValueError: if there is no photograph, or only one colour in all of them.
    """
    if not photographs:
        raise ValueError("photographs is empty; expected at least one")
    pixels = torch.cat([photo.flatten(1).double() for photo in photographs], 1)  # (3, P)
    if (pixels == pixels[:, :1]).all():
        raise ValueError("photographs have one color; expected colors that vary")
    values, vectors = torch.linalg.eigh(torch.cov(pixels))
    root = vectors * values.clamp(min=0).sqrt()
    return (root / root.norm(dim=0).max()).flip(1).float()


def total_variation(images: Tensor) -> Tensor:
    """Return the mean of the absolute differences between neighbouring pixels.

    Shape: (N, C, H, W) → (). Horizontal and vertical neighbours count alike.

    Raises:
        ValueError: if ``images`` are not floats of 2 × 2 pixels or more.

    Source: Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them"
        (2015), arXiv:1412.0035, equation 4 with β = 1, taken apart by direction.
    """
    _check_size(images)
    return images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()


def l2_from_grey(images: Tensor, *, edges: float = 0.0) -> Tensor:
    """Return the mean square of the difference between the images and grey.

    Args:
        images: (N, C, H, W) in [0, 1].
        edges: how much more a pixel counts at the middle of an edge than in the middle of the
            image; it grows with the square of the distance.

    Shape: (N, C, H, W) → ().

    Raises:
        ValueError: if ``images`` are not floats of 2 × 2 pixels or more.

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks" (2014),
        arXiv:1312.6034, equation 1; that grey is what they call zero, and counting by place, are
        ours.
    """
    _check_size(images)
    down, across = (torch.linspace(-1, 1, size).to(images) for size in images.shape[2:])
    weights = 1 + edges * (down[:, None].square() + across.square())  # (H, W)
    return (weights * (images - GREY).square()).mean()


def jitter(images: Tensor, pixels: int) -> Tensor:
    """Return a window of the images, ``pixels`` smaller than they are, at a random place.

    Shape: (N, C, H, W) → (N, C, H − pixels, W − pixels).

    Raises:
        ValueError: if nothing would be left.
    """
    height, width = images.shape[2] - pixels, images.shape[3] - pixels
    if pixels < 0 or min(height, width) < 1:
        raise ValueError(
            f"pixels is {pixels}; expected 0 to {min(images.shape[2:]) - 1} for "
            f"images of {images.shape[2]} × {images.shape[3]}"
        )
    down, right = (int(torch.randint(pixels + 1, ())) for _ in range(2))
    return images[:, :, down : down + height, right : right + width]


def random_affine(images: Tensor, *, degrees: float, zoom: float) -> Tensor:
    """Return the images turned and zoomed at random about their middle, on a grey background.

    Args:
        images: (N, C, H, W) floats.
        degrees: the largest angle, either way.
        zoom: the largest factor, above 1, and the inverse of the least.

    Shape: (N, C, H, W), as given.

    Raises:
        ValueError: if ``zoom`` is below 1 or not finite.
    """
    if not 1 <= zoom < math.inf:
        raise ValueError(f"zoom is {zoom}; expected at least 1, and finite")
    angle = torch.deg2rad((2 * torch.rand(()) - 1) * degrees)
    factor = zoom ** (2 * torch.rand(()) - 1)
    cos, sin, zero = angle.cos() / factor, angle.sin() / factor, torch.zeros(())
    # Places are given in units of half the height and half the width.
    ratio = images.shape[2] / images.shape[3]
    matrix = torch.stack(
        [torch.stack([cos, -sin * ratio, zero]), torch.stack([sin / ratio, cos, zero])]
    )
    # Grey is 0 for a moment, which is what lies beyond the border.
    shifted = widen(images) - GREY
    matrix = matrix.to(shifted)[None].expand(len(images), -1, -1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return (F.grid_sample(shifted, grid, align_corners=False) + GREY).to(images)


def _check_size(images: Tensor) -> None:
    check_images(images, in_range=False)
    if min(images.shape[2:]) < 2:
        raise ValueError(
            f"images has {images.shape[2]} × {images.shape[3]} pixels; expected at least 2 × 2"
        )
