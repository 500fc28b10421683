"""Grids of images: many small pictures as one PNG of their native size, scaled by the page."""

import torch
from IPython.display import display
from PIL import Image


def image_grid(
    images: torch.Tensor, *, columns: int, gap: int = 2, background: int = 255
) -> Image.Image:
    """Tile images into one picture, row by row.

    Args:
        images: shape (N, 1, H, W) or (N, 3, H, W), uint8, or floats that span [0, 1].
        columns: images in a row.
        gap: pixels between images.
        background: grey value of the gaps and of the empty places, 0 to 255.

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
        background,
        dtype=torch.uint8,
    )
    for index, image in enumerate(images.cpu()):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[:, top : top + height, left : left + width] = image
    array = canvas.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if channels == 1 else array)


def show_images(images: torch.Tensor, *, columns: int, gap: int = 2, background: int = 255) -> None:
    """Show ``image_grid`` of the same arguments below the cell."""
    display(image_grid(images, columns=columns, gap=gap, background=background))
