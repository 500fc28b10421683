"""Class visualization: images that make a network sure of a class, climbed to from noise.

What is optimised is a canvas: a module without input that paints N images in [0, 1]. Its weights
are pixels, or waves. ``training.fit`` moves them like those of any other model.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: The middle of the range: what a canvas fades to.
GREY = 0.5


class Pixels(nn.Module):
    """Images kept pixel by pixel, each number free and squeezed into [0, 1] by a sigmoid.

    Args:
        start: what the canvas shows at first, (N, C, H, W) in [0, 1]; 0 and 1 are moved a little
            inwards, since the sigmoid never reaches them.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.logit(start.float(), eps=1e-3))

    def forward(self) -> Tensor:
        """Return the images. Shape: (N, C, H, W) in [0, 1]."""
        return self.values.sigmoid()


class Waves(nn.Module):
    """Images kept as a sum of waves in colours that vary independently in photographs.

    A step of the optimizer then changes slow waves more than quick ones, as photographs differ
    more in slow ones: their amplitude falls about like one over the frequency. Pixel by pixel, it
    would change all alike.

    Args:
        count: N.
        side: H and W, in pixels.
        colours: (3, 3), what one unit of each independent colour adds to red, green and blue; see
            ``colour_basis``.
        decay: the power of the frequency by which a wave's amplitude falls; 1 is that of
            photographs, and more prefers large shapes.
        deviation: of the plain values at first, before the sigmoid.
        generator: draws them.

    Source: Olah, Mordvintsev and Schubert, "Feature Visualization" (2017), section
        "Preconditioning and Parameterization".
    """

    def __init__(
        self,
        count: int,
        side: int,
        *,
        colours: Tensor,
        decay: float = 1.0,
        deviation: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.side = side
        down, across = torch.fft.fftfreq(side), torch.fft.rfftfreq(side)
        frequency = torch.hypot(down[:, None], across)  # (H, W / 2 + 1), in waves a pixel
        self.scale: Tensor
        self.colours: Tensor
        scale = frequency.clamp(min=1 / side) ** -decay
        # Both parts of a wave count, and its mirror image with it; those of the first column are
        # each other's mirror images, and the transform takes their mean.
        power = (4 * scale.square().sum() - 3 * scale[:, 0].square().sum()) / side**2
        self.register_buffer("scale", scale / power.sqrt())
        self.register_buffer("colours", colours)
        shape = (count, 3, *frequency.shape, 2)  # real and imaginary part
        self.waves = nn.Parameter(deviation * torch.randn(shape, generator=generator))

    def forward(self) -> Tensor:
        """Return the images. Shape: (N, 3, side, side) in [0, 1]."""
        spectrum = torch.view_as_complex(self.waves.float()) * self.scale
        plain = torch.fft.irfft2(spectrum, s=(self.side, self.side), norm="ortho")
        return torch.einsum("rc,nchw->nrhw", self.colours, plain).sigmoid()


class Filmed(nn.Module):
    """A canvas, and the pictures that are taken of it while it is painted.

    A canvas from the run store brings its film with it.

    Args:
        canvas: what is painted.
        frames: how many pictures ``record`` may take.
    """

    def __init__(self, canvas: nn.Module, frames: int) -> None:
        super().__init__()
        self.canvas = canvas
        self.film: Tensor
        self.filmed: Tensor
        with torch.no_grad():
            shape = canvas().shape
        self.register_buffer("film", torch.zeros(frames, *shape, dtype=torch.uint8))
        self.register_buffer("filmed", torch.zeros((), dtype=torch.int64))

    def forward(self) -> Tensor:
        """Return the canvas's images. Shape: (N, C, H, W) in [0, 1]."""
        return self.canvas()

    @torch.no_grad()
    def record(self) -> None:
        """Keep what the canvas shows now.

        Raises:
            IndexError: if the film is full.
        """
        self.film[int(self.filmed)] = (self.canvas() * 255).round().byte()
        self.filmed += 1

    @property
    def frames(self) -> Tensor:
        """The pictures taken so far, on the CPU. Shape: (F, N, C, H, W), in [0, 1]."""
        return self.film[: int(self.filmed)].cpu().float() / 255


def colour_basis(photographs: list[Tensor]) -> Tensor:
    """Return colours that vary independently in photographs, each with its usual strength.

    The columns are the square root of the covariance of red, green and blue, scaled so that the
    longest has length 1: mostly brightness, then blue against yellow, then green against purple.

    Shape: photographs (3, H, W) in [0, 1] each → (3, 3), float32.

    Raises:
        ValueError: if there is none.
    """
    if not photographs:
        raise ValueError("photographs is empty; expected at least one")
    pixels = torch.cat([photo.flatten(1).double() for photo in photographs], 1)  # (3, P)
    values, vectors = torch.linalg.eigh(torch.cov(pixels))
    root = vectors * values.clamp(min=0).sqrt()
    return (root / root.norm(dim=0).max()).flip(1).float()


def total_variation(images: Tensor) -> Tensor:
    """Return the mean of the absolute differences between neighbouring pixels.

    Shape: (N, C, H, W) → (). Horizontal and vertical neighbours count alike.

    Source: Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them"
        (2015), equation 4 with β = 1, taken apart by direction.
    """
    return images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()


def contrast(images: Tensor, *, edges: float = 0.0) -> Tensor:
    """Return the mean square of what the images differ from grey by.

    Args:
        images: (N, C, H, W) in [0, 1].
        edges: how much more a pixel counts at the middle of an edge than in the middle of the
            image; it grows with the square of the distance.

    Shape: (N, C, H, W) → ().

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks" (2014), equation
        1; that grey is what they call zero, and counting by place, are ours.
    """
    down, across = (torch.linspace(-1, 1, size).to(images) for size in images.shape[2:])
    weights = 1 + edges * (down[:, None].square() + across.square())  # (H, W)
    return (weights * (images - GREY).square()).mean()


def jitter(images: Tensor, pixels: int) -> Tensor:
    """Return a window of the images, up to ``pixels`` smaller on each side, at a random place.

    Shape: (N, C, H, W) → (N, C, H − pixels, W − pixels).

    Raises:
        ValueError: if nothing would be left.
    """
    height, width = images.shape[2] - pixels, images.shape[3] - pixels
    if pixels < 0 or min(height, width) < 1:
        raise ValueError(
            f"pixels is {pixels}; expected 0 to {min(images.shape[2:]) - 1} for images of "
            f"{images.shape[2]} × {images.shape[3]}"
        )
    down, right = (int(torch.randint(pixels + 1, ())) for _ in range(2))
    return images[:, :, down : down + height, right : right + width]


def turn_and_zoom(images: Tensor, *, degrees: float, zoom: float) -> Tensor:
    """Return the images turned and zoomed at random, about their middle, on a ground of grey.

    Args:
        images: (N, C, H, W) floats.
        degrees: the largest angle, either way.
        zoom: the largest factor, above 1, and the inverse of the least.

    Shape: (N, C, H, W), as given.

    Raises:
        ValueError: if ``zoom`` is below 1.
    """
    if zoom < 1:
        raise ValueError(f"zoom is {zoom}; expected at least 1")
    angle = torch.deg2rad((2 * torch.rand(()) - 1) * degrees)
    factor = zoom ** (2 * torch.rand(()) - 1)
    cos, sin, zero = angle.cos() / factor, angle.sin() / factor, torch.zeros(())
    matrix = torch.stack([torch.stack([cos, -sin, zero]), torch.stack([sin, cos, zero])])
    matrix = matrix.to(images)[None].expand(len(images), -1, -1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    # Grey is 0 for a moment, which is what lies beyond the border.
    return F.grid_sample(images - GREY, grid, align_corners=False) + GREY
