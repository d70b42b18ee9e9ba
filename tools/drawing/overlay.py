"""An anomaly map over its frame, on one fixed colour scale that is tied to the threshold.

The same distance has the same colour in every picture, so pictures can be compared. The scale is ordered by lightness
and has a step at the threshold, which a contour line marks as well: it can be read without distinguishing red from
green, and in a grey print.

    0 … threshold      linear, black to purple, transparent below half the threshold
    threshold … 4×     logarithmic, red to pale yellow; higher values stay pale yellow
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import FrameError, UsageError
from spade_edge.runtime.geometry.frame import checked
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD, FrameResult, Region

TOP = 4.0  # times the threshold: end of the scale
CLEAR = 0.5  # times the threshold: below this the frame is not tinted
UNSEEN = 0.45  # brightness of the parts that are not inspected
TILE = (64, 1024)  # rows, columns that are worked on at a time, so that the numbers stay in the processor's cache
_FINE = 1 << 14  # steps of the tables per threshold; a power of 2, so that no value above the threshold falls on it
STEP = 0.16  # fraction of the palette that is skipped at the threshold

# From black through purple, red and orange to pale yellow, each lighter than the one before; RGB.
_ANCHORS = (
    (0, 0, 4),
    (33, 12, 74),
    (86, 16, 110),
    (137, 34, 106),
    (187, 55, 84),
    (228, 90, 49),
    (249, 142, 9),
    (249, 203, 53),
    (252, 255, 164),
)
_PALETTE = (
    np.stack(
        [
            np.interp(np.linspace(0, 8, 256), range(9), channel)
            for channel in reversed(list(zip(*_ANCHORS, strict=True)))
        ],
        axis=1,
    )
    .round()
    .astype(np.uint8)
)  # (256, 3) BGR

VERDICT_COLOURS = {
    GOOD: (178, 114, 0),
    DEFECT: (0, 94, 213),
    CANNOT_JUDGE: (110, 110, 110),
}  # BGR; safe for colour-blind viewers
_WHITE, _BLACK = (255, 255, 255), (20, 20, 20)


def colour(heatmap: NDArray[np.floating[Any]], *, threshold: float) -> NDArray[np.uint8]:
    """Give each distance its colour.

    Args:
        heatmap: (h, w) float, squared distances. NaN is shown like 0.
        threshold: the pixel threshold, over 0.

    Returns:
        (h, w, 3) uint8 BGR.
    """
    return _palette(_in_thresholds(heatmap, threshold))


def overlay(frame: NDArray[np.uint8], result: FrameResult, *, pixel_threshold: float) -> NDArray[np.uint8]:
    """Draw the anomaly map, the regions and the verdict over the frame.

    Args:
        frame: (H, W, 3) uint8 BGR, or (H, W) or (H, W, 1) grey; the frame that was scored.
        result: the result of scoring it. Parts that were not inspected are darkened.
        pixel_threshold: values of the anomaly map above it form regions.

    Returns:
        (H, W, 3) uint8 BGR, a copy.
    """
    picture = map_over(
        frame,
        result.heatmap,
        extent=result.extent,
        looked_at=result.looked_at,
        regions=result.regions,
        pixel_threshold=pixel_threshold,
    )
    _label(picture, result)
    return picture


def map_over(
    frame: NDArray[np.uint8],
    heatmap: NDArray[np.float32],
    *,
    extent: tuple[float, float, float, float],
    looked_at: NDArray[np.bool_] | None,
    regions: Sequence[Region] = (),
    pixel_threshold: float,
) -> NDArray[np.uint8]:
    """Draw an anomaly map and regions over a frame, without a verdict.

    Args:
        frame: (H, W, 3) uint8 BGR, or (H, W) or (H, W, 1) grey.
        heatmap: (h, w) float32, the map; of size 0 for none.
        extent: x, y, width, height of the area that the map covers, in pixels of the frame.
        looked_at: (h, w) bool, the pixels of the map that are inspected; None for all. The others are darkened.
        regions: in pixels of the frame.
        pixel_threshold: what the colours and the contour refer to.

    Returns:
        (H, W, 3) uint8 BGR, a copy.
    """
    picture = in_colour(frame)
    height, width = picture.shape[:2]
    line = max(1, round(min(height, width) / 400))

    if heatmap.size:  # a frame that cannot be judged may have no map
        distances = _in_thresholds(heatmap, pixel_threshold)
        over = _tint(picture, distances, extent, looked_at)
        contours, _ = cv2.findContours(over, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, _WHITE, line, cv2.LINE_8)

    for region in regions:
        _box(picture, region, line)
    return picture


def in_colour(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of a frame, grey or not, in colour: (H, W, 3) uint8 BGR."""
    return np.array(np.broadcast_to(checked(frame), (*frame.shape[:2], 3)), order="C")


def legend(*, width: int = 512, height: int = 16) -> NDArray[np.uint8]:
    """Draw the scale: 0 on the left, the threshold in the middle, 2× at three quarters, 4× and more on the right.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    share = np.linspace(0, 1, width)
    ratio = np.where(share <= 0.5, 2 * share, TOP ** (2 * share - 1))
    return np.ascontiguousarray(np.broadcast_to(_palette(ratio[np.newaxis]), (height, width, 3)))


def figure(value: float) -> str:
    """Format a score for people: at least three digits, and an exponent only for very large or small values."""
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "infinite"
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"
    return f"{value:.3g}"


def _in_thresholds(heatmap: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.float32]:
    """(h, w) distances in units of the threshold, 0 to `TOP`."""
    if not (math.isfinite(threshold) and threshold > 0):
        raise UsageError(f"expected a pixel threshold over 0, found {threshold}")
    if heatmap.ndim != 2:
        found = "x".join(map(str, heatmap.shape)) or "a single number"
        raise UsageError(f"expected an anomaly map of height and width, found {found}")
    ratio = np.nan_to_num(np.asarray(heatmap, dtype=np.float64) / threshold, nan=0.0, posinf=TOP, neginf=0.0)
    # Rounding to float32 must not move a value above the threshold down to it.
    over = ratio > 1
    narrow = np.clip(ratio, 0, TOP).astype(np.float32)
    return np.where(over, np.maximum(narrow, np.nextafter(np.float32(1), np.float32(2))), narrow)


def _palette(ratio: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return np.asarray(_PALETTE[_places(ratio)])


def _places(ratio: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """The place in the palette of distances in units of the threshold."""
    share = (1 - STEP) / 2
    below = share * np.clip(ratio, 0, 1)
    above = share + STEP + share * np.log(np.clip(ratio, 1, TOP)) / math.log(TOP)
    return np.rint(255 * np.where(ratio > 1, above, below)).astype(np.uint8)


# Place in the palette and strength of the tint, for 0 to `TOP` thresholds in `_FINE` steps each.
_STEPS = np.arange(int(TOP) * _FINE + 1) / _FINE
_COLOUR_OF = _places(_STEPS)
_STRENGTH_OF = np.interp(_STEPS, (CLEAR, 1, 1.0001, TOP), (0, 0.35, 0.55, 0.72)).astype(np.float32)


def _tint(
    picture: NDArray[np.uint8],
    ratio: NDArray[np.float32],
    extent: tuple[float, float, float, float],
    looked_at: NDArray[np.bool_] | None,
) -> NDArray[np.uint8]:
    """Colour a picture in place, tile by tile: a map as large as the picture would take 20 times its memory.

    Args:
        picture: (H, W, 3) uint8 BGR.
        ratio: (h, w) float32, the map in units of the threshold.
        extent: as for `map_over`.
        looked_at: as for `map_over`.

    Returns:
        (H, W) uint8, 1 where an inspected pixel is over the threshold, else 0.
    """
    height, width = picture.shape[:2]
    x, y, wide, high = extent
    if x < 0 or y < 0 or x + wide > width + 1e-6 or y + high > height + 1e-6:
        raise FrameError(
            f"expected a frame that the anomaly map fits on, found {width}x{height} pixels "
            f"and a map up to {x + wide:g}x{y + high:g}; is this the frame that was scored?"
        )
    # Pixel centres of the frame, in pixels of the map.
    rows, columns = (
        ((np.arange(source) + 0.5 - start) * (pixels / length) - 0.5).astype(np.float32)
        for source, start, length, pixels in zip((height, width), (y, x), (high, wide), ratio.shape, strict=True)
    )
    top, bottom, left, right = math.floor(y), math.ceil(y + high), math.floor(x), math.ceil(x + wide)
    inside = None if looked_at is None or looked_at.all() else np.asarray(looked_at, np.float32)
    over = np.zeros((height, width), np.uint8)  # the system gives memory only to the pages that are written to
    for first in range(0, height, TILE[0]):
        for start in range(0, width, TILE[1]):
            here = np.s_[first : first + TILE[0], start : start + TILE[1]]
            beyond = min(first + TILE[0], height), min(start + TILE[1], width)
            covered = top <= first and left <= start and beyond[0] <= bottom and beyond[1] <= right
            if covered and inside is None and _largest(ratio, rows[here[0]], columns[here[1]]) <= CLEAR:
                continue
            grid_x, grid_y = np.meshgrid(columns[here[1]], rows[here[0]])
            values = cv2.remap(ratio, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            seen = np.zeros(values.shape, bool)
            seen[max(top - first, 0) : max(bottom - first, 0), max(left - start, 0) : max(right - start, 0)] = True
            if inside is not None:
                seen &= cv2.remap(inside, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) >= 0.5
            if not seen.all():
                values[~seen] = 0
            elif values.max() <= CLEAR:
                continue
            picture[here] = _blended(picture[here], values, seen)
            if values.max() > 1:
                over[here] = values > 1
    return over


def _largest(ratio: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]) -> np.floating[Any]:
    """The largest value of the map around the places of a tile in it: no value between them is larger."""
    around = (slice(max(0, math.floor(at[0])), math.floor(at[-1]) + 2) for at in (rows, columns))
    return ratio[tuple(around)].max()


def _blended(tile: NDArray[np.uint8], ratio: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A tile, (h, w, 3) uint8, under its part of the map, (h, w) in units of the threshold and 0 where not seen."""
    steps = np.ceil(ratio * np.float32(_FINE)).astype(np.intp)
    colours = cv2.applyColorMap(np.take(_COLOUR_OF, steps, mode="clip"), _PALETTE[:, np.newaxis])
    strength = np.take(_STRENGTH_OF, steps, mode="clip")
    if not seen.all():
        colours[~seen] = 0
        strength[~seen] = 1 - UNSEEN
    return np.asarray(cv2.blendLinear(tile, colours, 1 - strength, strength), np.uint8)


def _box(picture: NDArray[np.uint8], region: Region, line: int) -> None:
    """A white box with a dark edge, around the region and not over it."""
    for outset, shade in ((2 * line, _BLACK), (line, _WHITE)):
        corner = (region.x - outset, region.y - outset)
        opposite = (region.x + region.width - 1 + outset, region.y + region.height - 1 + outset)
        cv2.rectangle(picture, corner, opposite, shade, line, cv2.LINE_8)


def _label(picture: NDArray[np.uint8], result: FrameResult) -> None:
    """One line on a bar in the colour of the verdict; at the bottom if it would hide a region at the top."""
    height, width = picture.shape[:2]
    text = f"{result.verdict.replace('_', ' ').upper()}   {figure(result.score)} / {figure(result.threshold)}"
    scale = 0.46 * (min(height, width) / 320) ** 0.65  # stays thin on a large frame
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    if text_width > width - 8:  # reduce a long line instead of cutting off its figures
        scale *= max(width - 8, 1) / text_width
        (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    bar = round(1.9 * text_height)
    if text_height < 5 or bar > height / 4:
        return  # the frame is too small for text
    low = any(region.y < bar for region in result.regions)
    top = height - bar if low else 0
    picture[top : top + bar] = VERDICT_COLOURS.get(result.verdict, VERDICT_COLOURS[CANNOT_JUDGE])
    at = (round(0.5 * text_height), top + (bar + text_height) // 2)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _WHITE, max(1, round(scale)), cv2.LINE_AA)
