"""The book's figures: one palette and font, image grids, overlays and animations."""

from dl4cv.plotting.animation import Animation, animate
from dl4cv.plotting.graphs import draw_graph
from dl4cv.plotting.grids import image_grid, show_images
from dl4cv.plotting.style import COLORS, figure

__all__ = ["COLORS", "Animation", "animate", "draw_graph", "figure", "image_grid", "show_images"]
