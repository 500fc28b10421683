"""The book's figures: one palette and font, image grids, overlays and animations."""

from dl4cv.plotting.animation import Animation, animate
from dl4cv.plotting.charts import bars, curve, heat_map, legend
from dl4cv.plotting.graphs import draw_graph
from dl4cv.plotting.grids import image_grid, image_row, show_images
from dl4cv.plotting.style import COLORS, figure

__all__ = [
    "COLORS",
    "Animation",
    "animate",
    "bars",
    "curve",
    "draw_graph",
    "figure",
    "heat_map",
    "image_grid",
    "image_row",
    "legend",
    "show_images",
]
