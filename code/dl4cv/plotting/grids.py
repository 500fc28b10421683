"""Images side by side: as one PNG of their native size, or in a figure with a label each."""

from collections.abc import Sequence

import torch
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dl4cv.plotting.style import figure


def image_grid(images: Tensor, *, columns: int, gap: int = 2) -> Image.Image:
    """Tile images into one picture, row by row.

    Args:
        images: shape (N, 1, H, W) or (N, 3, H, W), uint8, or floats that span [0, 1].
        columns: images in a row.
        gap: white pixels between images.

    Returns:
        A picture of mode L or RGB, at the images' own resolution.

    Raises:
        ValueError: if ``images`` is not of such a shape, or ``columns`` is below 1.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images has shape {tuple(images.shape)}; expected (N, 1 or 3, H, W)")
    if columns < 1:
        raise ValueError(f"columns is {columns}; expected at least 1")
    if images.dtype != torch.uint8:
        images = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    canvas = torch.full(
        (channels, rows * (height + gap) - gap, columns * (width + gap) - gap),
        255,
        dtype=torch.uint8,
    )
    for index, image in enumerate(images.cpu()):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[:, top : top + height, left : left + width] = image
    array = canvas.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if channels == 1 else array)


def show_images(images: Tensor, *, columns: int, gap: int = 2) -> None:
    """Show ``image_grid`` of the same arguments below the cell."""
    display(image_grid(images, columns=columns, gap=gap))


def image_row(
    images: Sequence[Tensor] | Tensor,
    labels: Sequence[str] = (),
    *,
    columns: int | None = None,
    diverging: bool | Sequence[bool] = False,
) -> Figure:
    """Draw images in rows without axes, each with its label below it.

    Args:
        images: (H, W), (1, H, W) or (3, H, W) each: uint8, or floats in [0, 1].
        labels: one for each image, or none at all.
        columns: images in a row; all of them if None.
        diverging: whether an image holds weights around 0 instead, of any size: orange above and
            purple below, on a scale of its own. One for all, or one for each.

    Raises:
        ValueError: if there is no image, one is not of such a shape or range, or there are too few
            or too many labels.
    """
    columns = columns or len(images)
    signed = [diverging] * len(images) if isinstance(diverging, bool) else list(diverging)
    if not len(images) or len(labels) not in (0, len(images)) or len(signed) != len(images):
        raise ValueError(
            f"{len(images)} images have {len(labels)} labels and {len(signed)} times diverging; "
            "expected at least one image, and one of each for each"
        )
    pictures = [_picture(image, weights) for image, weights in zip(images, signed, strict=True)]
    rows = -(-len(pictures) // columns)
    height, width = pictures[0].shape[:2]
    room = 4.8 / columns * height / width + (0.28 if labels else 0.06)
    fig, axes = figure(rows, columns, height=rows * room, squeeze=False)
    for index, ax in enumerate(axes.flat):
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.grid(False)
        if index < len(pictures):
            top = float(pictures[index].abs().max()) or 1.0
            cmap, low, high = ("PuOr_r", -top, top) if signed[index] else ("gray", 0, 1)
            ax.imshow(pictures[index].numpy(), cmap=cmap, vmin=low, vmax=high)
        if index < len(labels):
            ax.set_xlabel(labels[index], size=9)
    return fig


def _picture(image: Tensor, weights: bool) -> Tensor:
    """Return an image as floats (H, W) or (H, W, 3) after checking it."""
    image = image.detach().cpu()
    values = image / 255 if image.dtype == torch.uint8 else image.float()
    if values.ndim == 2:
        values = values[None]
    expected = "(H, W) or (1, H, W), finite" if weights else "(H, W), (1 or 3, H, W), in [0, 1]"
    fits = values.ndim == 3 and values.shape[0] in ((1,) if weights else (1, 3)) and values.numel()
    if (
        not fits
        or not values.isfinite().all()
        or not (weights or (values.min() >= 0 and values.max() <= 1))
    ):
        raise ValueError(
            f"an image has shape {tuple(image.shape)} and type {image.dtype}; expected {expected}"
        )
    return values[0] if len(values) == 1 else values.permute(1, 2, 0)
