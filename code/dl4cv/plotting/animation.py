"""Animations: frames in, a looping GIF out; the page loads it as AVIF or WebP."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image


@dataclass(frozen=True)
class Animation:
    """A looping GIF. A notebook shows it as it is; the build adds smaller formats and a pause."""

    gif: bytes

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {"image/gif": self.gif, "text/plain": f"<animation of {len(self)} frames>"}

    def __len__(self) -> int:
        return getattr(Image.open(io.BytesIO(self.gif)), "n_frames", 1)


def from_frames(
    frames: Sequence[Image.Image],
    *,
    milliseconds: int = 100,
    hold: int = 1500,
    last_first: bool = False,
) -> Animation:
    """Return the animation that shows ``frames`` in turn, for ever.

    The first frame must tell the story alone: it is what a reader sees who prefers less motion.

    Args:
        frames: pictures of one size.
        milliseconds: how long each is shown.
        hold: how long the last is shown before the loop begins again, in milliseconds.
        last_first: whether the last frame is shown before the first one too, so that the still
            shows the end.

    Raises:
        ValueError: if there are no frames or their sizes differ.
    """
    sizes = {frame.size for frame in frames}
    if len(sizes) != 1:
        raise ValueError(
            f"frames have the sizes {sorted(sizes)}; expected one size, at least one frame"
        )
    shown = [*frames[-1:], *frames] if last_first else frames
    first, *rest = (frame if frame.mode == "L" else frame.convert("RGB") for frame in shown)
    buffer = io.BytesIO()
    durations = [milliseconds] * len(rest) + [hold]
    first.save(buffer, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    return Animation(buffer.getvalue())


def animate(
    fig: Figure,
    draw: Callable[[int], object],
    count: int,
    *,
    milliseconds: int = 100,
    hold: int = 1500,
) -> Animation:
    """Call ``draw(i)`` for i in 0 … count - 1 and film the Matplotlib figure after each call.

    The figure is closed afterwards, so that the page shows the animation alone.
    """
    frames = []
    for index in range(count):
        draw(index)
        buffer = io.BytesIO()
        # Not cropped to its ink, as figures are: every frame must have one size.
        with plt.rc_context({"savefig.bbox": None}):
            fig.savefig(buffer, format="png", facecolor="white", dpi=120)
        frames.append(Image.open(buffer).convert("RGB"))
    plt.close(fig)
    return from_frames(frames, milliseconds=milliseconds, hold=hold)
