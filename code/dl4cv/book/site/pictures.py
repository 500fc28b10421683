"""Pictures on the page: sizes known beforehand, smaller formats, and animations that can stop."""

import hashlib
import html
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, features

from dl4cv import storage

# A PNG above this many bytes is offered in a smaller format too, if there is one.
HEAVY = 100_000
LOSSY = {"format": "AVIF", "quality": 65, "speed": 6}
LOSSLESS = {"format": "WEBP", "lossless": True, "quality": 90, "method": 4}

#: How many times its own size a picture may fill: more, and a reader sees that it is blurred.
LARGEST = {"chart": 1, "picture": 2}
#: From this ratio of width to height on, a picture may be wider than the text. A chart never is:
#: its letters would be larger than the text's.
WIDE = 1.5

_TAG = re.compile(r"<img\b[^>]*>")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')


@dataclass(frozen=True)
class Variants:
    """Other files of the same picture, beside it: a smaller one, and the first frame alone."""

    smaller: Path | None
    still: Path | None


def variants(source: Path, cache: Path, *, exact: bool = True) -> Variants:
    """Make the smaller formats of a GIF or PNG, or find them in ``cache`` by its content.

    An animation becomes AVIF or WebP, whichever is smaller, and a PNG of its first frame. A heavy
    PNG becomes lossless WebP, or AVIF if it need not be ``exact``. What is not smaller than the
    source is left out.
    """
    content = source.read_bytes()
    key = hashlib.sha256(content).hexdigest()[:20] + ("" if exact else "-lossy")
    stamp = cache / f"{key}.done"
    if not stamp.exists():
        made = _transcode(content, exact)
        for suffix, data in made.items():
            storage.write_atomically(cache / f"{key}{suffix}", data)
        storage.write_atomically(stamp, b"")
    smaller = [cache / f"{key}{suffix}" for suffix in (".avif", ".webp")]
    still = cache / f"{key}.still.png"
    return Variants(
        smaller=next((path for path in smaller if path.exists()), None),
        still=still if still.exists() else None,
    )


def improve(body: str, find: Callable[[str], Path | None], images: Path, cache: Path) -> str:
    """Return the HTML ``body`` with its pictures made quick, calm and steady.

    Each links to its file, which book.js opens large. It has its width and height, so that the text
    does not jump, and waits to be loaded until the reader is near. GIFs and heavy PNGs get their
    smaller formats through ``<picture>``, and an animation its still first frame for readers who
    asked for less motion.

    Args:
        body: the page's content.
        find: from the ``src`` of a picture to its file, or None if the book does not own it.
        images: the folder of the built book where pictures lie; the variants are put there.
        cache: where the variants are kept between builds.
    """

    def replace(match: re.Match[str]) -> str:
        attributes = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(match[0])}
        source = find(attributes.get("src", ""))
        if source is None or source.suffix not in (".gif", ".png", ".jpg", ".webp"):
            return match[0]
        with Image.open(source) as picture:
            size = picture.size
            alpha = picture.getchannel("A") if "A" in picture.getbands() else None
            transparent = alpha is not None and any(alpha.histogram()[:255])
        attributes |= {"width": str(size[0]), "height": str(size[1]), "decoding": "async"}
        classes = attributes.get("class", "").split()
        for name, most in LARGEST.items():
            if name in classes:
                attributes["style"] = f"max-width: min(100%, {most * size[0]}px)"
        if "chart" not in classes:
            more = ["wide"] * (size[0] >= WIDE * size[1]) + ["transparent"] * transparent
            attributes["class"] = " ".join([*classes, *more])
        if "hero" not in classes:
            attributes["loading"] = "lazy"
        image = f"<img {_written(attributes)} />"
        link = f'<a class="enlarge" href="{html.escape(attributes["src"])}" title="Enlarge">'
        if source.suffix not in (".gif", ".png"):
            return f"{link}{image}</a>"
        found = variants(source, cache, exact="picture" not in classes)
        if found.smaller is None and found.still is None:
            return f"{link}{image}</a>"
        folder = attributes["src"].rpartition("/")[0]
        sources, kind = "", ""
        if found.still is not None:
            shutil.copy2(found.still, images)
            still = html.escape(f"{folder}/{found.still.name}")
            sources += f'<source media="(prefers-reduced-motion: reduce)" srcset="{still}" />'
            kind = f' class="animation" data-still="{still}"'
        if found.smaller is not None:
            shutil.copy2(found.smaller, images)
            format_ = found.smaller.suffix.removeprefix(".")
            smaller = html.escape(f"{folder}/{found.smaller.name}")
            sources += f'<source type="image/{format_}" srcset="{smaller}" />'
        return f"{link}<picture{kind}>{sources}{image}</picture></a>"

    return _TAG.sub(replace, body)


def social_card(picture: Path, target: Path) -> None:
    """Write the middle of ``picture`` as the JPEG of 1200 × 630 that links to the book show."""
    with Image.open(picture) as image:
        width, height = image.size
        scale = min(width / 1200, height / 630)
        box_width, box_height = 1200 * scale, 630 * scale
        left, top = (width - box_width) / 2, (height - box_height) / 2
        card = image.convert("RGB").resize(
            (1200, 630),
            Image.Resampling.LANCZOS,
            box=(left, top, left + box_width, top + box_height),
        )
    buffer = io.BytesIO()
    card.save(buffer, format="JPEG", quality=85)
    storage.write_atomically(target, buffer.getvalue())


def _transcode(content: bytes, exact: bool) -> dict[str, bytes]:
    """Return the files to keep, by suffix."""
    image = Image.open(io.BytesIO(content))
    made: dict[str, bytes] = {}
    if not getattr(image, "is_animated", False):
        if len(content) > HEAVY:
            lossy = not exact and features.check("avif")
            suffix = ".avif" if lossy else ".webp"
            buffer = io.BytesIO()
            image.save(buffer, **(LOSSY if lossy else LOSSLESS))
            made[suffix] = buffer.getvalue()
        return {suffix: data for suffix, data in made.items() if len(data) < len(content)}
    frames, durations = [], []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        durations.append(image.info.get("duration", 100))
        frames.append(image.convert("RGB"))
    still = io.BytesIO()
    frames[0].save(still, format="PNG", optimize=True)
    settings: dict[str, dict] = {".webp": {"format": "WEBP", "quality": 75, "method": 4, "loop": 0}}
    if features.check("avif"):
        settings[".avif"] = {"format": "AVIF", "quality": 60, "speed": 7}
    for suffix, keywords in settings.items():
        buffer = io.BytesIO()
        frames[0].save(
            buffer, save_all=True, append_images=frames[1:], duration=durations, **keywords
        )
        made[suffix] = buffer.getvalue()
    smallest = min(made, key=lambda suffix: len(made[suffix]))
    kept = {smallest: made[smallest]} if len(made[smallest]) < len(content) else {}
    return kept | {".still.png": still.getvalue()}


def _written(attributes: dict[str, str]) -> str:
    return " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
