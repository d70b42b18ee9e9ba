"""Frames to measure with, made from the thumbnails of a bundle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.geometry.layout import Layout
from spade_edge.runtime.geometry.resample import resample, resampling_weights


def frames_like(bundle: Bundle, count: int, *, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Make frames from the thumbnails of good images: enlarged, moved by a few pixels, with noise.

    Args:
        bundle: whose thumbnails are used.
        count: number of frames; all differ.
        size: (height, width) of a frame.

    Returns:
        `count` frames, (H, W, 3) uint8 BGR.
    """
    random = np.random.default_rng(0)
    good = len(bundle.manifest.names)
    frames = []
    for i in range(count):
        views = bundle.thumbnails[i * max(1, good // count) % good :: good]
        picture = _together(views, bundle.manifest.layout)
        moved = np.roll(picture, random.integers(-4, 5, 2).tolist(), axis=(0, 1))
        frame = _resized(moved, size) + random.normal(0, 3, (*size, 1)).astype(np.float32)
        frames.append(np.ascontiguousarray(np.clip(np.rint(frame), 0, 255), np.uint8))
    return frames


def _together(views: NDArray[np.uint8], layout: Layout) -> NDArray[np.generic]:
    """Put views together to a frame; black where there is no view."""
    if layout.frame is None:
        return views[0]
    frame = np.zeros((*layout.frame, 3), np.float32)
    for view, (x, y, width, height) in zip(views, layout.boxes, strict=True):
        frame[y : y + height, x : x + width] = _resized(view, (height, width))
    return frame


def _resized(picture: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.float32]:
    rows, columns = (resampling_weights(have, want) for have, want in zip(picture.shape, size, strict=False))
    return resample(picture, rows=rows, columns=columns)
