"""A picture that explains a verdict: frame, anomaly map, and each region beside the good part it resembles."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.result import FrameResult, Region
from spade_edge.tools.drawing.nearest import PARTS, nearest_patch
from spade_edge.tools.drawing.overlay import figure, in_colour, overlay

LONGEST = 640  # pixels of the frame's longer side in the picture, at most
WIDE = 1.5  # a frame wider than this times its height gets its anomaly map below it, not beside it
PATCH = 208  # pixels of a patch's side
REGIONS = 4  # the worst ones are shown
GAP, LINE = 8, 20  # pixels between pictures, and of a line of text
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def explanation(bundle: Bundle, frame: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """Draw frame and anomaly map side by side, and below them each region beside its nearest good patch.

    Args:
        bundle: the bundle that the frame was scored with.
        frame: (H, W, 3) uint8 BGR, or (H, W) or (H, W, 1) grey.
        result: the result of scoring it.

    Returns:
        (h, w, 3) uint8 BGR.
    """
    threshold = bundle.manifest.threshold.pixel
    judged = overlay(frame, result, pixel_threshold=threshold)
    height, width = judged.shape[:2]
    share = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    plain, small = (
        in_colour(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8))
        for picture in (frame, judged)
    )
    captioned = [_captioned(plain, "frame"), _captioned(small, _verdict(result))]
    rows = [_stacked(captioned)] if width > WIDE * height else [_beside(captioned)]
    worst = list(zip(result.regions, result.nearest, strict=True))[:REGIONS]
    for number, (region, match) in enumerate(worst, start=1):
        here = _surroundings(bundle, region, (height, width))
        title = f"{number}: {region.width} x {region.height} at ({region.x}, {region.y})"
        good = f"good: {match.image} {match.x:.0%}, {match.y:.0%}"
        patches = [
            _captioned(_patch(in_colour(frame[here])), title),
            _captioned(_patch(judged[here]), f"peak {figure(region.score)}"),
            _captioned(_patch(nearest_patch(bundle, match)), good),
        ]
        rows.append(_beside(patches))
    left_out = len(result.regions) - len(worst)
    if left_out:
        rows.append(_captioned(np.full((1, 2 * PATCH, 3), 255, np.uint8), f"and {left_out} more"))
    return np.pad(_stacked(rows), ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)


def _verdict(result: FrameResult) -> str:
    verdict = result.verdict.replace("_", " ")
    return f"anomaly map: {verdict}, score {figure(result.score)}, threshold {figure(result.threshold)}"


def _surroundings(bundle: Bundle, region: Region, size: tuple[int, int]) -> tuple[slice, slice]:
    """What of a frame of (height, width) is shown of a region: as much as `nearest_patch` shows of a good part."""
    canvas = bundle.manifest.canvas
    middle = ((region.y + region.height / 2) / size[0], (region.x + region.width / 2) / size[1])
    *_, wide, high = canvas.boxes[canvas.view_of(*middle)]
    cut = []
    for pixels, at, length, reference in zip(size, middle, (high, wide), canvas.reference, strict=True):
        side = min(pixels, max(1, round(pixels * length / reference / PARTS)))
        start = min(max(0, round(at * pixels - side / 2)), pixels - side)
        cut.append(slice(start, start + side))
    return cut[0], cut[1]


def _patch(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    share = PATCH / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)


def _captioned(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    width = max(picture.shape[1], PATCH)
    line = np.full((LINE, width, 3), _PAPER, np.uint8)
    kept = text
    scale = 0.42
    while len(kept) > 4 and cv2.getTextSize(kept, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0] > width:
        kept = f"{kept[:-4]}..."  # the end of a long file name
    cv2.putText(line, kept, (0, 14), cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)
    return _stacked([line, picture], gap=0)


def _beside(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height = max(picture.shape[0] for picture in pictures)
    parts = [
        np.pad(picture, ((0, height - picture.shape[0]), (0, GAP), (0, 0)), constant_values=255) for picture in pictures
    ]
    return np.hstack(parts)[:, :-GAP]


def _stacked(pictures: list[NDArray[np.uint8]], *, gap: int = GAP) -> NDArray[np.uint8]:
    width = max(picture.shape[1] for picture in pictures)
    parts = [
        np.pad(picture, ((0, gap), (0, width - picture.shape[1]), (0, 0)), constant_values=255) for picture in pictures
    ]
    return np.vstack(parts)[: -gap or None]
