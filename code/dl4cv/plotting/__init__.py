"""The book's figures: one palette and font, image grids, overlays and animations."""

from dl4cv.plotting.animation import Animation, animate
from dl4cv.plotting.grids import image_grid, show_images
from dl4cv.plotting.style import COLORS, figure

__all__ = ["COLORS", "Animation", "animate", "figure", "image_grid", "show_images"]
