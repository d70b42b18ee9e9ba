"""The parts of every page: document, style, escaped text, embedded images, and writing the file."""

from __future__ import annotations

import base64
import os
import re
import unicodedata
from collections.abc import Iterable
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.tools.drawing.overlay import legend
from spade_edge.tools.drawing.picture_size import LONGEST, shrink
from spade_edge.tools.output import check_replaceable, replacing
from spade_edge.tools.report.style import EVERY

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
GENERATOR = '<meta name="generator" content="spade-edge">'


def document(title: str, *, header: str, sections: Iterable[tuple[str, str, str]], style: str = "") -> str:
    """Assemble a page.

    Args:
        title: plain text.
        header: HTML below the title; contains the h1.
        sections: (anchor, heading in plain text, HTML) of each.
        style: additional style rules.
    """
    parts = "".join(
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{text(heading)}</h2>\n{body}\n</section>\n'
        for name, heading, body in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{GENERATOR}
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
    """Write a page, and replace an earlier one in one step. Its folder is created if missing.

    Raises:
        UsageError: another file or a link has that name.
        DataError: the page cannot be written.
    """
    path = Path(path)
    check_page(path)
    with replacing(path) as file:
        file.write(page.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def check_page(path: Path) -> None:
    """Refuse a path for a page where another file or a link stands.

    Raises:
        UsageError: something that is not a page of spade-edge has that name.
    """
    check_replaceable(path, lambda head: head.startswith(b"<!doctype html>") and GENERATOR.encode() in head)


def image(picture: NDArray[np.uint8], *, alternative: str, kind: str = ".jpg", longest: int = LONGEST) -> str:
    """An embedded image.

    Args:
        picture: (H, W, 3) uint8 BGR, or (H, W) or (H, W, 1) grey.
        alternative: what it shows, in plain text.
        kind: ".jpg", or ".png" for small images that must keep their exact colours.
        longest: largest length of the longer side of a ".jpg", in pixels.
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
    """The colour scale of the anomaly maps, with its meaning."""
    alternative = (
        "Colour scale: black at 0, purple below the pixel threshold, red above it, pale yellow from 4 times on"
    )
    ticks = "".join(f"<span>{tick}</span>" for tick in ("0", "½", "<b>pixel threshold</b>", "2×", "4×"))
    scale = image(legend(width=512, height=8), alternative=alternative, kind=".png")
    return f"""<figure class="legend">
{scale}
<div class="ticks" aria-hidden="true">{ticks}</div>
<figcaption>All pictures share one colour scale. Below half the pixel threshold, the frame is shown unchanged. The white
contour is the pixel threshold, the box is a region.</figcaption>
</figure>
"""


def terms(rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """A list of terms, each with lines of plain text; terms without lines are left out."""
    lines = [(name, tuple(values)) for name, values in rows]
    items = [
        f"<div><dt>{text(name)}</dt>{''.join(f'<dd>{text(value)}</dd>' for value in values)}</div>"
        for name, values in lines
        if values
    ]
    return f"<dl>{''.join(items)}</dl>" if items else '<p class="quiet">No information.</p>'


def heading(words: str) -> str:
    """The first sentence of the page, with no line break between a number and its noun."""
    return f"<h1>{re.sub(r'(?<=[0-9]) |(?<= of) ', '&nbsp;', text(words))}</h1>"


def text(words: str) -> str:
    """Any text, such as a file name, escaped for HTML; unprintable characters are shown as codes."""
    return escape("".join(letter if _printable(letter) else ascii(letter)[1:-1] for letter in words))


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 part, 2 parts."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def sentence(words: str) -> str:
    """Begin with a capital and end with a full stop."""
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '!', '?')) else '.'}"


def shortened(words: str, *, letters: int = 60) -> str:
    """Shorten long text, such as a file name, in the middle."""
    half = (letters - 1) // 2
    return words if len(words) <= letters else f"{words[:half]}…{words[-half:]}"


def class_name(truth: str | None) -> str:
    """The name of a class for people."""
    return "not labelled" if truth is None else truth.replace("_", " ")


def _printable(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # narrow and non-breaking spaces
