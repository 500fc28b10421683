"""PixelCNN and gated PixelCNN: the probability of a binary image, one pixel at a time.

Pixels are in raster order: row by row, each from left to right. The logit at a pixel depends on
earlier pixels only, so the sum of their log-probabilities is that of the image.

Source: van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel Recurrent Neural Networks" (2016),
    arXiv:1601.06759, and van den Oord et al., "Conditional Image Generation with PixelCNN
    Decoders" (2016), arXiv:1606.05328.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv.models.blocks import at_least_float32, check_sizes


def mask(kind: str, kernel_size: int) -> Tensor:
    """Return the kernel mask of a masked convolution: 1 where the kernel may look, else 0.

    Args:
        kind: ``"A"`` excludes the center, as the first layer must; ``"B"`` includes it.
        kernel_size: k, odd.

    Shape: → (k, k) floats.

    Raises:
        ValueError: if ``kind`` is neither A nor B, or ``kernel_size`` is not odd and positive.

    Source: van den Oord et al., "Pixel Recurrent Neural Networks" (2016), section 3.4.
    """
    if kind not in ("A", "B"):
        raise ValueError(f"kind is {kind!r}; expected 'A' or 'B'")
    _check_odd(kernel_size, at_least=1)
    center = kernel_size // 2
    allowed = torch.zeros(kernel_size, kernel_size)
    allowed[:center] = 1  # the rows above
    allowed[center, :center] = 1  # in its own row, what is to the left
    if kind == "B":
        allowed[center, center] = 1
    return allowed


class MaskedConv2d(nn.Module):
    """A convolution whose kernel sees earlier pixels only, with "same" padding.

    The rows of the kernel below its center are masked whole, so they are not even stored.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: k, odd.
        kind: ``"A"`` or ``"B"``, see ``mask``.

    Shape: (N, in_channels, H, W) → (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, kind: str) -> None:
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", mask(kind, kernel_size)[: kernel_size // 2 + 1])
        self.conv = nn.Conv2d(in_channels, out_channels, (kernel_size // 2 + 1, kernel_size))
        self.padding = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution with the masked kernel."""
        x = F.pad(x, (self.padding, self.padding, self.padding, 0))  # left, right, above, below
        return F.conv2d(x, self.conv.weight * self.mask, self.conv.bias)


class PixelCNN(nn.Module):
    """A stack of masked convolutions with residual connections.

    Args:
        shape: (H, W) of the images.
        channels: C of every layer.
        blocks: residual blocks, each a 3 × 3 masked convolution and a 1 × 1 convolution.
        kernel_size: of the first convolution, the only one with a mask of type A; odd.

    Source: van den Oord et al., "Pixel Recurrent Neural Networks" (2016), section 3.
    """

    def __init__(
        self,
        shape: tuple[int, int] = (28, 28),
        *,
        channels: int = 32,
        blocks: int = 8,
        kernel_size: int = 7,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, channels=channels)
        self.conv_in = MaskedConv2d(1, channels, kernel_size, kind="A")
        self.position_bias = nn.Parameter(torch.zeros(channels, *shape))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                MaskedConv2d(channels, channels, 3, kind="B"),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 1),
            )
            for _ in range(blocks)
        )
        self.head = _head(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logit of a one at each pixel.

        Shape: images (N, 1, H, W), zeros and ones of any type → (N, 1, H, W).
        """
        h = self.conv_in(_as_input(images, self.position_bias)) + self.position_bias
        for block in self.blocks:
            h = h + block(h)
        return self.head(h)


def gate(x: Tensor, dim: int = 1) -> Tensor:
    """Return tanh of the first half of the channels times the sigmoid of the second half.

    Shape: x (…, 2C, …) → (…, C, …), split along ``dim``.

    Raises:
        ValueError: if there is an odd number of channels.

    Source: van den Oord et al., "Conditional Image Generation" (2016), equation 2.
    """
    if x.shape[dim] % 2:
        raise ValueError(f"x has {x.shape[dim]} channels; expected an even number")
    value, opening = x.chunk(2, dim)
    return value.tanh() * opening.sigmoid()


class GatedBlock(nn.Module):
    """One layer of both stacks: the vertical sees rows above, the horizontal what is to the left.

    Unlike the paper's, the vertical stack has a residual connection too.

    Args:
        channels: C of either stack.

    Source: van den Oord et al., "Conditional Image Generation" (2016), figure 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.vertical = nn.Conv2d(channels, 2 * channels, (2, 3))
        self.horizontal = nn.Conv2d(channels, 2 * channels, (1, 2))
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: v, h (N, C, H, W) → the same two."""
        above = self.vertical(F.pad(v, (1, 1, 1, 0)))  # (N, 2C, H, W)
        left = self.horizontal(F.pad(h, (1, 0)))  # (N, 2C, H, W)
        return v + gate(above), h + self.out(gate(left + self.link(above)))


class GatedPixelCNN(nn.Module):
    """Two stacks of gated convolutions without a blind spot.

    Args:
        shape: (H, W) of the images.
        channels: C of either stack.
        blocks: gated blocks.
        kernel_size: k, odd, 3 or more; the first layer sees k // 2 rows above and k // 2 pixels
            to the left.

    Source: van den Oord et al., "Conditional Image Generation" (2016), section 2.
    """

    def __init__(
        self,
        shape: tuple[int, int] = (28, 28),
        *,
        channels: int = 32,
        blocks: int = 5,
        kernel_size: int = 7,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, channels=channels)
        _check_odd(kernel_size, at_least=3)
        self.reach = kernel_size // 2
        self.above = nn.Conv2d(1, channels, (self.reach, kernel_size))
        self.left = nn.Conv2d(1, channels, (1, self.reach))
        self.position_bias = nn.Parameter(torch.zeros(channels, *shape))
        self.blocks = nn.ModuleList(GatedBlock(channels) for _ in range(blocks))
        self.head = _head(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logit of a one at each pixel.

        Shape: images (N, 1, H, W), zeros and ones of any type → (N, 1, H, W).
        """
        images, k = _as_input(images, self.position_bias), self.reach
        rows_above = F.pad(images, (k, k, k, 0))[:, :, :-1]  # one row down: never its own row
        to_the_left = F.pad(images, (k, 0))[..., :-1]  # one to the right: never itself
        v = self.above(rows_above) + self.position_bias
        h = self.left(to_the_left) + v
        for block in self.blocks:
            v, h = block(v, h)
        return self.head(h)


def nll(logits: Tensor, images: Tensor) -> Tensor:
    """Return −ln p of each image, the sum over its pixels, in float32 or better.

    Shape: logits and images (N, 1, H, W), images of zeros and ones → (N,).
    Units: nats; divided by H · W · ln 2 they are bits per dimension.

    Raises:
        ValueError: if the shapes differ, or integer images hold more than zeros and ones.
    """
    if logits.shape != images.shape:
        raise ValueError(
            f"logits has shape {tuple(logits.shape)}; expected that of images, "
            f"{tuple(images.shape)}"
        )
    if not images.is_floating_point() and (images.long() > 1).any():
        raise ValueError(f"images holds {images.max()}; expected zeros and ones")
    exact = at_least_float32(logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits.to(exact), images.to(exact), reduction="none")
    return each.flatten(1).sum(1)


@torch.no_grad()
def nll_per_image(net: nn.Module, images: Tensor) -> Tensor:
    """Return −ln p of each image under ``net``, 50 at a time, on the CPU.

    Shape: images (N, 1, H, W) → (N,), in nats.
    """
    device = next(net.parameters()).device
    return torch.cat(
        [nll(net(part), part).cpu() for part in (p.to(device) for p in images.split(50))]
    )


def receptive_field(net: nn.Module, row: int, column: int, shape: tuple[int, int]) -> Tensor:
    """Return which pixels the logit at (row, column) depends on, found by autograd.

    Shape: → (H, W) booleans. The image is noise, so that no gradient vanishes by accident.

    Raises:
        ValueError: if the pixel lies outside of ``shape``.
    """
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        raise ValueError(f"row is {row} and column {column}; expected a pixel of {shape}")
    noise = torch.rand(8, 1, *shape, generator=torch.Generator().manual_seed(0))
    images = noise.to(next(net.parameters())).requires_grad_()
    logit = net(images)[:, 0, row, column].sum()
    return (torch.autograd.grad(logit, images)[0] != 0).any(0)[0].cpu()


@torch.no_grad()
def sample_naive(
    net: nn.Module,
    noise: Tensor,
    *,
    given: Tensor | None = None,
    rows: int = 0,
    temperature: float = 1.0,
) -> Tensor:
    """Sample images from any causal net, running all of it for every pixel.

    Arguments, shapes and errors are those of ``sample``.
    """
    images = _canvas(noise, given, rows, temperature)
    for r in range(rows, images.shape[2]):
        for c in range(images.shape[3]):
            logits = net(images)[:, 0, r, c]
            images[:, 0, r, c] = _sample_pixel(logits, noise[:, 0, r, c], temperature)
    return images


@torch.no_grad()
def sample(
    net: GatedPixelCNN,
    noise: Tensor,
    *,
    given: Tensor | None = None,
    rows: int = 0,
    temperature: float = 1.0,
    callback: Callable[[Tensor, Tensor], object] | None = None,
) -> Tensor:
    """Sample images pixel by pixel, computing at each pixel only what is new.

    Args:
        net: on the device of ``noise``.
        noise: uniform in [0, 1); a pixel is 1 where it is below the pixel's probability.
        given: images whose first ``rows`` rows are kept.
        rows: how many rows are given.
        temperature: divides the logits; below 1 it favors the likelier value.
        callback: called after each row with the images so far and the row's logits (N, W).

    Shape: noise and given (N, 1, H, W) → (N, 1, H, W), zeros and ones.

    Raises:
        ValueError: if a shape does not fit, ``temperature`` is not positive, or ``rows`` is out of
            its range.
    """
    cached = CachedSampler(net, _canvas(noise, given, rows, temperature))
    images = cached.images
    for r in range(images.shape[2]):
        cached.start_row(r)
        if r < rows:
            continue
        row_logits = []
        for c in range(images.shape[3]):
            logits = cached.logits(r, c)
            images[:, 0, r, c] = _sample_pixel(logits, noise[:, 0, r, c], temperature)
            row_logits.append(logits)
        if callback:
            callback(images, torch.stack(row_logits, 1))
    return images.to(noise.dtype, copy=True)


class CachedSampler:
    """A ``GatedPixelCNN`` that keeps the activations which the next pixel needs again.

    Args:
        net: the model.
        images: what is known so far (N, 1, H, W). The attribute ``images`` is a copy in the
            precision of ``net``, to be written to pixel by pixel.
    """

    def __init__(self, net: GatedPixelCNN, images: Tensor) -> None:
        images, k = _as_input(images, net.position_bias), net.reach
        self.net = net
        self.padded = F.pad(images, (k, k, k, 0))  # so that borders need no special case
        self.images = self.padded[:, :, k:, k : k + images.shape[3]]
        self.blocks = [_CachedBlock(b) for b in net.blocks if isinstance(b, GatedBlock)]

    def start_row(self, r: int) -> None:
        """Run the vertical stack: once per row, since it sees nothing of the row itself."""
        above = self.padded[:, :, r : r + self.net.reach]
        v = self.net.above(above) + self.net.position_bias[:, r : r + 1]  # (N, C, 1, W)
        self.start = v[:, :, 0]
        for block in self.blocks:
            v = block.row(v)

    def logits(self, r: int, c: int) -> Tensor:
        """Run the horizontal stack for one pixel of the current row r. Shape: → (N,)."""
        left, k = self.net.left, self.net.reach
        pixels = self.padded[:, :, r + k, c : c + k].flatten(1)  # (N, k): what is to the left
        h = F.linear(pixels, left.weight.flatten(1), left.bias) + self.start[:, :, c]
        for block in self.blocks:
            h = block.column(h, c)
        return self.net.head(h[:, :, None, None]).flatten()


class _CachedBlock:
    """A ``GatedBlock`` that runs by row and by column, and keeps the last input of either."""

    def __init__(self, block: GatedBlock) -> None:
        self.block = block
        weight = block.horizontal.weight  # (2C, C, 1, 2): left, here
        self.weight = torch.cat([weight[:, :, 0, 0], weight[:, :, 0, 1]], 1)  # (2C, 2C)
        self.above: Tensor | None = None

    def row(self, v: Tensor) -> Tensor:
        """Run the vertical stack on the next row. Shape: v (N, C, 1, W) → the same."""
        before = torch.zeros_like(v) if self.above is None else self.above
        self.above, self.left = v, None
        seen = self.block.vertical(F.pad(torch.cat([before, v], 2), (1, 1)))  # (N, 2C, 1, W)
        self.link = self.block.link(seen)[:, :, 0].permute(2, 0, 1).contiguous()  # (W, N, 2C)
        return v + gate(seen)

    def column(self, h: Tensor, c: int) -> Tensor:
        """Run the horizontal stack on the next column of the row. Shape: h (N, C) → the same."""
        left = torch.zeros_like(h) if self.left is None else self.left
        self.left = h
        both = F.linear(torch.cat([left, h], 1), self.weight, self.block.horizontal.bias)
        mixed = gate(both + self.link[c])
        return h + F.linear(mixed, self.block.out.weight.flatten(1), self.block.out.bias)


def _head(channels: int) -> nn.Sequential:
    """Return the layers that turn the features of a pixel into its logit."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(),
        nn.Conv2d(channels, 1, 1),
    )


def _sample_pixel(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Return 1 where uniform noise is below the pixel's probability, else 0."""
    return (noise < torch.sigmoid(logits / temperature)).to(noise.dtype)


def _canvas(noise: Tensor, given: Tensor | None, rows: int, temperature: float) -> Tensor:
    """Return images of zeros, but for the rows that are given."""
    if not temperature > 0:  # NaN is not
        raise ValueError(f"temperature is {temperature}; expected more than 0")
    if noise.ndim != 4 or noise.shape[1] != 1:
        raise ValueError(f"noise has shape {tuple(noise.shape)}; expected (N, 1, H, W)")
    if not 0 <= rows <= noise.shape[2] or (rows and given is None):
        raise ValueError(
            f"rows is {rows}; expected 0 to {noise.shape[2]}, and the images if above 0"
        )
    images = torch.zeros_like(noise)
    if given is not None:
        if given.shape != noise.shape:
            raise ValueError(
                f"given has shape {tuple(given.shape)}; expected that of noise, "
                f"{tuple(noise.shape)}"
            )
        images[:, :, :rows] = given[:, :, :rows]
    return images


def _as_input(images: Tensor, position_bias: Tensor) -> Tensor:
    """Return images of any type in the precision of the model, whose shape they must have."""
    expected = (1, *position_bias.shape[1:])
    if images.shape[1:] != expected:
        raise ValueError(
            f"images has shape {tuple(images.shape)}; expected (N, {', '.join(map(str, expected))})"
        )
    return images.to(position_bias.dtype)


def _check_odd(kernel_size: int, *, at_least: int) -> None:
    if kernel_size < at_least or kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size is {kernel_size}; expected an odd number, {at_least} or more"
        )
