"""Resampling as two small matrix products, one an axis: the same numbers on every machine.

The weights are those of OpenCV's INTER_AREA where an axis shrinks and INTER_LINEAR (half-pixel centres, edges
repeated) where it grows, applied in float32 and never rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BAND = 64  # rows; a few times more or less is as fast

Product = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]  # of matrices: np.matmul, say


@lru_cache(maxsize=64)
def resampling_weights(source: int, target: int) -> NDArray[np.float32]:
    """Weights that resample one axis: averages over areas when shrinking, bilinear when enlarging.

    Args:
        source: length of the axis now, at least 1.
        target: length wanted, at least 1.

    Returns:
        (target, source) float32, rows sum to 1, read-only.
    """
    weights = _area(source, target) if target < source else _bilinear(source, target)
    weights.flags.writeable = False
    return weights


def _area(source: int, target: int) -> NDArray[np.float32]:
    # Target pixel t covers the source interval [t, t + 1) * source / target; a source pixel counts by its overlap.
    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0) * (target / source)).astype(np.float32)


def _bilinear(source: int, target: int) -> NDArray[np.float32]:
    centre = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    left = np.floor(centre).astype(int)
    right = np.minimum(left + 1, source - 1)
    share = centre - left
    weights = np.zeros((target, source), np.float64)
    weights[np.arange(target), left] += 1 - share
    weights[np.arange(target), right] += share
    return weights.astype(np.float32)


def resample(
    image: NDArray[np.generic], *, rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Resample both axes: `rows @ image @ columns.T` for every channel.

    Args:
        image: (H, W, C), any number type and strides.
        rows: (h, H) float32, `resampling_weights` of the first axis or rows of it.
        columns: (w, W) float32, likewise of the second.

    Returns:
        (h, w, C) float32.
    """
    across = _weigh(rows, image).transpose(1, 0, 2)  # (h, W, C) -> (W, h, C)
    return _weigh(columns, across).transpose(1, 0, 2)  # (w, h, C) -> (h, w, C)


def _weigh(weights: NDArray[np.float32], image: NDArray[np.generic]) -> NDArray[np.float32]:
    """`weights` (target, source) times an image (source, other, C), a band of the source at a time.

    Only a few targets look at a band, so most of the product, which is zero, is never taken; and no more than a band
    is ever held as float32.
    """
    source, *rest = image.shape
    result = np.zeros((len(weights), int(np.prod(rest))), np.float32)
    for start in range(0, source, BAND):
        stop = min(start + BAND, source)
        targets = np.flatnonzero(weights[:, start:stop].any(axis=1))
        if len(targets):
            part = slice(targets[0], targets[-1] + 1)
            band = np.ascontiguousarray(image[start:stop], np.float32).reshape(stop - start, -1)
            result[part] += weights[part, start:stop] @ band
    return result.reshape(-1, *rest)
