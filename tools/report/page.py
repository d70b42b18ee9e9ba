"""What every page is made of: the document, its style, harmless text, images inside it, and the writing of it."""

from __future__ import annotations

import base64
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DataError
from spade_edge.tools.drawing.overlay import legend
from spade_edge.tools.report.style import EVERY

LARGEST_IMAGE = 320  # pixels of the longer side
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, *, header: str, sections: Iterable[tuple[str, str, str]], style: str = "") -> str:
    """Put a page together.

    Args:
        title: plain text.
        header: HTML of the top, below the title; it has the page's h1.
        sections: (anchor, heading in plain text, HTML) each.
        style: rules beside those of every page.
    """
    parts = "".join(
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{text(heading)}</h2>\n{body}\n</section>\n'
        for name, heading, body in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<style>{EVERY}{style}</style>
</head>
<body>
<header>
<p class="title">{text(title)}</p>
{header}
</header>
<main>
{parts}</main>
</body>
</html>
"""


def write(path: str | Path, page: str) -> None:
    """Write a page; a reader sees the former one or this one, never half of it. Its folder is made if missing."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(page.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            Path(unfinished).chmod(0o644)  # mkstemp's 0600 would hide the page from a web server
            Path(unfinished).replace(path)
        finally:
            Path(unfinished).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror}; is the folder writable and the disk not full?"
        ) from error


def shrink(picture: NDArray[np.uint8], *, longest: int = LARGEST_IMAGE) -> NDArray[np.uint8]:
    """Make an image small enough for a page; a smaller one stays as it is.

    Args:
        picture: (H, W, 3) uint8 BGR, (H, W) or (H, W, 1) grey.
        longest: pixels of its longer side afterwards.
    """
    height, width = picture.shape[:2]
    share = longest / max(height, width)
    if share >= 1:
        return picture
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def image(picture: NDArray[np.uint8], *, alternative: str, kind: str = ".jpg", longest: int = LARGEST_IMAGE) -> str:
    """An image inside the page.

    Args:
        picture: (H, W, 3) uint8 BGR, or (H, W) or (H, W, 1) grey.
        alternative: what it shows, in plain text.
        kind: ".jpg", or ".png" for what is small already and must keep its colours.
        longest: pixels of its longer side at most, of a ".jpg".
    """
    small = shrink(picture, longest=longest) if kind == ".jpg" else picture
    options = [cv2.IMWRITE_JPEG_QUALITY, 82] if kind == ".jpg" else []
    data = base64.b64encode(cv2.imencode(kind, small, options)[1].tobytes()).decode("ascii")
    height, width = small.shape[:2]
    media = "jpeg" if kind == ".jpg" else "png"
    return (
        f'<img src="data:image/{media};base64,{data}" alt="{text(alternative)}" '
        f'width="{width}" height="{height}" decoding="async">'
    )


def colour_scale() -> str:
    """The scale of the heat maps, with what its colours mean."""
    alternative = (
        "Colour scale: black at 0, purple below the pixel threshold, red above it, pale yellow at 4 times and more"
    )
    ticks = "".join(f"<span>{tick}</span>" for tick in ("0", "½", "<b>pixel threshold</b>", "2×", "4×"))
    scale = image(legend(width=512, height=8), alternative=alternative, kind=".png")
    return f"""<figure class="legend">
{scale}
<div class="ticks" aria-hidden="true">{ticks}</div>
<figcaption>One colour scale for every picture: never stretched to fit. Below half the pixel threshold the picture is
left as it is; the white contour is the threshold itself, the box is a region.</figcaption>
</figure>
"""


def terms(rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """A list of terms, each with lines of plain text; one without lines is left out."""
    lines = [(name, tuple(values)) for name, values in rows]
    items = [
        f"<div><dt>{text(name)}</dt>{''.join(f'<dd>{text(value)}</dd>' for value in values)}</div>"
        for name, values in lines
        if values
    ]
    return f"<dl>{''.join(items)}</dl>" if items else '<p class="quiet">Nothing noted.</p>'


def heading(words: str) -> str:
    """The page's first sentence; its numbers stay with what they count."""
    return f"<h1>{re.sub(r'(?<=[0-9]) |(?<= of) ', '&nbsp;', text(words))}</h1>"


def text(words: str) -> str:
    """Text from anywhere, such as a file's name, as harmless HTML; what cannot be printed is shown as its code."""
    return escape("".join(letter if _printable(letter) else ascii(letter)[1:-1] for letter in words))


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 part, 2 parts."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def sentence(words: str) -> str:
    """Begin with a capital and end with a full stop."""
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '!', '?')) else '.'}"


def shortened(words: str, *, letters: int = 60) -> str:
    """Leave out the middle of what is long, such as a file's name."""
    half = (letters - 1) // 2
    return words if len(words) <= letters else f"{words[:half]}…{words[-half:]}"


def class_name(truth: str | None) -> str:
    """A class as people call it."""
    return "not labelled" if truth is None else truth.replace("_", " ")


def _printable(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # narrow and unbreakable spaces
