"""Pictures for browsers: small enough to be drawn and sent while the line runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DataError, SpadeError
from spade_edge.tools.drawing.overlay import in_colour, map_over
from spade_edge.tools.line.decision import Inspection

SHOWN = 960  # pixels, the longer side of a picture on the page
QUALITY = 80  # of JPEG
LARGEST_FILE = 400_000_000  # bytes of a picture of the evidence that is read


def jpeg(inspection: Inspection, *, side: int, heat: bool) -> bytes:
    """A frame as JPEG, reduced first, so that a large frame costs no more than a small one.

    Args:
        inspection: has a frame.
        side: pixels that the longer side has at most.
        heat: whether its heat map and regions are drawn over it, if it was scored.
    """
    frame, result = inspection.frame, inspection.result
    assert frame is not None  # noqa: S101
    height, width = frame.shape[:2]
    small = _reduced(frame, side)
    down, across = small.shape[0] / height, small.shape[1] / width
    picture = in_colour(small)
    if heat and result is not None:
        x, y, wide, high = result.extent
        extent = (x * across, y * down, min(wide * across, small.shape[1] - x * across), high * down)
        regions = [
            replace(
                one,
                x=round(one.x * across),
                y=round(one.y * down),
                width=max(1, round(one.width * across)),
                height=max(1, round(one.height * down)),
            )
            for one in result.regions
        ]
        try:
            picture = map_over(
                small,
                result.heatmap,
                extent=(*extent[:3], min(extent[3], small.shape[0] - extent[1])),
                looked_at=result.looked_at,
                regions=regions,
                pixel_threshold=result.pixel_threshold,
            )
        except SpadeError:  # a map that cannot be drawn; the frame is what matters
            picture = in_colour(small)
    return _encoded(picture)


def reduced_file(path: Path, *, side: int) -> bytes:
    """A picture of the evidence as JPEG, reduced.

    Raises:
        DataError: it is gone or cannot be read.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path.name}: expected a picture of the evidence, found a file that is too large")
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as problem:
        raise DataError(f"{path.name}: expected a picture of the evidence, found: {problem.strerror}") from None
    try:
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error:
        picture = None
    if picture is None:
        raise DataError(f"{path.name}: expected a picture of the evidence, found something else")
    return _encoded(_reduced(np.asarray(picture, np.uint8), side))


def _reduced(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    well, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not well:
        raise DataError(f"expected a picture that can be stored, found {picture.shape} {picture.dtype}")
    return bytes(content)
