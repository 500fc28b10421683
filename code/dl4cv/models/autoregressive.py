"""PixelCNN and gated PixelCNN: the probability of a black-and-white image, one pixel at a time.

Pixels are ordered as one reads: row by row, each from left to right. A logit at a pixel depends on
the pixels before it alone, so the sum of their log-probabilities is that of the image.

Source: van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel Recurrent Neural Networks" (2016), and
    van den Oord et al., "Conditional Image Generation with PixelCNN Decoders" (2016).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mask(kind: str, size: int) -> Tensor:
    """Return the kernel mask of a masked convolution: 1 where the kernel may look, else 0.

    Args:
        kind: ``"A"`` shuts the centre out, as the first layer must; ``"B"`` lets it through.
        size: k, odd.

    Shape: → (k, k) floats.

    Raises:
        ValueError: if ``kind`` is neither A nor B, or ``size`` is not odd and positive.

    Source: van den Oord et al., "Pixel Recurrent Neural Networks" (2016), section 3.4.
    """
    if kind not in ("A", "B"):
        raise ValueError(f"kind is {kind!r}; expected 'A' or 'B'")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size is {size}; expected an odd number, 1 or more")
    centre = size // 2
    allowed = torch.zeros(size, size)
    allowed[:centre] = 1  # the rows above
    allowed[centre, :centre] = 1  # in its own row, what is to the left
    if kind == "B":
        allowed[centre, centre] = 1
    return allowed


class MaskedConv2d(nn.Module):
    """A convolution whose kernel sees only what was read before, with "same" padding.

    The rows of the kernel below its centre are masked whole, so they are not even stored.

    Args:
        inputs: channels in.
        outputs: channels out.
        size: k, odd.
        kind: ``"A"`` or ``"B"``, see ``mask``.
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, kind: str) -> None:
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", mask(kind, size)[: size // 2 + 1])
        self.conv = nn.Conv2d(inputs, outputs, (size // 2 + 1, size))
        self.reach = size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Shape: x (N, inputs, H, W) → (N, outputs, H, W)."""
        x = F.pad(x, (self.reach, self.reach, self.reach, 0))  # left, right, above, below
        return F.conv2d(x, self.conv.weight * self.mask, self.conv.bias)


class PixelCNN(nn.Module):
    """A stack of masked convolutions with residual connections.

    Args:
        shape: (H, W) of the images.
        channels: C of every layer.
        blocks: residual blocks, each a 3 × 3 masked convolution and a 1 × 1 convolution.
        first: k of the first kernel, the only one with a mask of type A.

    Source: van den Oord et al., "Pixel Recurrent Neural Networks" (2016), section 3.
    """

    def __init__(
        self,
        shape: tuple[int, int] = (28, 28),
        *,
        channels: int = 32,
        blocks: int = 8,
        first: int = 7,
    ) -> None:
        super().__init__()
        self.first = MaskedConv2d(1, channels, first, kind="A")
        self.place = nn.Parameter(torch.zeros(channels, *shape))
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
        """Return the logit of ink at each pixel. Shape: images (N, 1, H, W) → (N, 1, H, W)."""
        h = self.first(images) + self.place
        for block in self.blocks:
            h = h + block(h)
        return self.head(h)


def gate(x: Tensor, dim: int = 1) -> Tensor:
    """Return tanh of the first half of the channels times the sigmoid of the second half.

    Shape: x (…, 2C, …) → (…, C, …), halved along ``dim``.

    Source: van den Oord et al., "Conditional Image Generation" (2016), equation 2.
    """
    value, opening = x.chunk(2, dim)
    return value.tanh() * opening.sigmoid()


class GatedBlock(nn.Module):
    """One layer of both stacks: the vertical sees rows above, the horizontal what is to the left.

    The vertical stack has a residual connection too, which the paper's has not.

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
        first: odd; the first layer sees first // 2 rows above and first // 2 pixels to the left.

    Source: van den Oord et al., "Conditional Image Generation" (2016), section 2.
    """

    def __init__(
        self,
        shape: tuple[int, int] = (28, 28),
        *,
        channels: int = 32,
        blocks: int = 5,
        first: int = 7,
    ) -> None:
        super().__init__()
        self.reach = first // 2
        self.above = nn.Conv2d(1, channels, (self.reach, first))
        self.left = nn.Conv2d(1, channels, (1, self.reach))
        self.place = nn.Parameter(torch.zeros(channels, *shape))
        self.blocks = nn.ModuleList(GatedBlock(channels) for _ in range(blocks))
        self.head = _head(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logit of ink at each pixel. Shape: images (N, 1, H, W) → (N, 1, H, W)."""
        k = self.reach
        rows_above = F.pad(images, (k, k, k, 0))[:, :, :-1]  # one row down: never its own row
        to_the_left = F.pad(images, (k, 0))[..., :-1]  # one to the right: never itself
        v = self.above(rows_above) + self.place
        h = self.left(to_the_left) + v
        for block in self.blocks:
            v, h = block(v, h)
        return self.head(h)


def nats(logits: Tensor, images: Tensor) -> Tensor:
    """Return −log p of each image, in nats: the sum over its pixels.

    Shape: logits and images (N, 1, H, W), images of zeros and ones → (N,).
    Units: nats; divided by H · W · ln 2 they are bits per dimension.

    Raises:
        ValueError: if the shapes differ.
    """
    if logits.shape != images.shape:
        raise ValueError(
            f"logits has shape {tuple(logits.shape)}; expected that of images, "
            f"{tuple(images.shape)}"
        )
    exact = torch.promote_types(logits.dtype, torch.float32)  # never in bfloat16
    each = F.binary_cross_entropy_with_logits(logits.to(exact), images.to(exact), reduction="none")
    return each.flatten(1).sum(1)


@torch.no_grad()
def nats_of(net: nn.Module, images: Tensor) -> Tensor:
    """Return −log p of each image under ``net``, 50 at a time. Shape: (N, 1, H, W) → (N,)."""
    device = next(net.parameters()).device
    return torch.cat(
        [nats(net(part), part).cpu() for part in (p.to(device) for p in images.split(50))]
    )


def seen_from(net: nn.Module, row: int, column: int, shape: tuple[int, int]) -> Tensor:
    """Return which pixels the logit at (row, column) depends on, as autograd finds them.

    Shape: → (H, W) booleans. The image is noise, so that no gradient vanishes by accident.
    """
    noise = torch.rand(8, 1, *shape, generator=torch.Generator().manual_seed(0))
    images = noise.to(next(net.parameters())).requires_grad_()
    logit = net(images)[:, 0, row, column].sum()
    return (torch.autograd.grad(logit, images)[0] != 0).any(0)[0].cpu()


def _draw(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Return ink where uniform noise is below its probability."""
    return (noise < torch.sigmoid(logits / temperature)).to(noise.dtype)


def _canvas(noise: Tensor, given: Tensor | None, rows: int, temperature: float) -> Tensor:
    """Return empty images, but for the rows that are given."""
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; expected more than 0")
    if not 0 <= rows <= noise.shape[2] or (rows and given is None):
        raise ValueError(
            f"rows is {rows}; expected 0 to {noise.shape[2]}, and the images if above 0"
        )
    images = torch.zeros_like(noise)
    if given is not None:
        images[:, :, :rows] = given[:, :, :rows]
    return images


@torch.no_grad()
def sample_slowly(
    net: nn.Module,
    noise: Tensor,
    *,
    given: Tensor | None = None,
    rows: int = 0,
    temperature: float = 1.0,
) -> Tensor:
    """Draw images from any causal net, running all of it for every pixel.

    Arguments, shapes and errors are those of ``sample``.
    """
    images = _canvas(noise, given, rows, temperature)
    for r in range(rows, images.shape[2]):
        for c in range(images.shape[3]):
            logits = net(images)[:, 0, r, c]
            images[:, 0, r, c] = _draw(logits, noise[:, 0, r, c], temperature)
    return images


@torch.no_grad()
def sample(
    net: GatedPixelCNN,
    noise: Tensor,
    *,
    given: Tensor | None = None,
    rows: int = 0,
    temperature: float = 1.0,
    watch: Callable[[Tensor, Tensor], object] | None = None,
) -> Tensor:
    """Draw images pixel by pixel, computing at each pixel only what is new.

    Args:
        net: on the device of ``noise``.
        noise: uniform in [0, 1), what the pixels are drawn with.
        given: images whose first ``rows`` rows are kept.
        rows: how many rows are given.
        temperature: divides the logits; below 1 the likelier colour is drawn more often.
        watch: called after each row with the images so far and the row's logits (N, W).

    Shape: noise and given (N, 1, H, W) → (N, 1, H, W), zeros and ones.

    Raises:
        ValueError: if ``temperature`` is not positive, or ``rows`` is out of its range.
    """
    images = _canvas(noise, given, rows, temperature)
    k, (_, _, height, width) = net.reach, images.shape
    padded = F.pad(images, (k, k, k, 0))  # drawn into, so that borders need no special case
    drawn = padded[:, 0, k:, k : k + width]
    blocks = [block for block in net.blocks if isinstance(block, GatedBlock)]
    columns = [_Columns(block) for block in blocks]
    above = [torch.zeros(()) for _ in blocks]
    for r in range(height):
        # The vertical stack: once a row, since it sees nothing of the row itself.
        v = start = net.above(padded[:, :, r : r + k]) + net.place[:, r : r + 1]
        for i, block in enumerate(blocks):
            before = above[i] if r else torch.zeros_like(v)
            above[i] = v
            seen = block.vertical(F.pad(torch.cat([before, v], 2), (1, 1)))  # (N, 2C, 1, W)
            columns[i].start_row(block.link(seen)[:, :, 0])
            v = v + gate(seen)
        if r < rows:
            continue
        # The horizontal stack: one new column of activations a pixel.
        row_logits = []
        for c in range(width):
            pixels = padded[:, :, r + k, c : c + k].flatten(1)  # (N, k): what is to the left
            h = F.linear(pixels, net.left.weight.flatten(1), net.left.bias) + start[:, :, 0, c]
            for column in columns:
                h = column(h, c)
            logits = net.head(h[:, :, None, None]).flatten()
            drawn[:, r, c] = _draw(logits, noise[:, 0, r, c], temperature)
            row_logits.append(logits)
        if watch:
            watch(drawn[:, None], torch.stack(row_logits, 1))
    return drawn[:, None].clone()


class _Columns:
    """The horizontal half of a ``GatedBlock``, one column at a time, with the one before kept."""

    def __init__(self, block: GatedBlock) -> None:
        weight = block.horizontal.weight  # (2C, C, 1, 2): left, here
        self.weight = torch.cat([weight[:, :, 0, 0], weight[:, :, 0, 1]], 1)  # (2C, 2C)
        self.bias, self.out = block.horizontal.bias, block.out

    def start_row(self, link: Tensor) -> None:
        """Take what the vertical stack tells this row. Shape: link (N, 2C, W)."""
        self.link = link.permute(2, 0, 1).contiguous()
        self.left: Tensor | None = None

    def __call__(self, h: Tensor, c: int) -> Tensor:
        """Shape: h (N, C), the input in column c → (N, C), the output there."""
        left = torch.zeros_like(h) if self.left is None else self.left
        self.left = h
        both = F.linear(torch.cat([left, h], 1), self.weight, self.bias)
        mixed = gate(both + self.link[c])
        return h + F.linear(mixed, self.out.weight.flatten(1), self.out.bias)


def _head(channels: int) -> nn.Sequential:
    """Return what turns the features of a pixel into its logit."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(),
        nn.Conv2d(channels, 1, 1),
    )
