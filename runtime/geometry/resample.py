"""Resampling as two small matrix products, one per axis, with the same numbers on every machine.

The weights are those of OpenCV's INTER_AREA if an axis shrinks, and of INTER_LINEAR (half-pixel centres, edges
repeated) if it grows. They are applied in float32, without rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BAND = 64  # rows; the speed depends little on it

Product = Callable[
    [NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]
]  # multiplies matrices, as np.matmul does


@lru_cache(maxsize=64)
def resampling_weights(source: int, target: int) -> NDArray[np.float32]:
    """Weights that resample one axis: averages over areas when shrinking, bilinear when enlarging.

    Args:
        source: present length of the axis, at least 1.
        target: wanted length, at least 1.

    Returns:
        (target, source) float32, read-only; each row sums to 1.
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
    fraction = centre - left
    weights = np.zeros((target, source), np.float64)
    weights[np.arange(target), left] += 1 - fraction
    weights[np.arange(target), right] += fraction
    return weights.astype(np.float32)


def resample(
    image: NDArray[np.generic], *, rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Resample both axes: `rows @ image @ columns.T` for every channel.

    Args:
        image: (H, W, C), any number type and strides.
        rows: (h, H) float32, `resampling_weights` of the first axis, or some of their rows.
        columns: (w, W) float32, likewise for the second axis.

    Returns:
        (h, w, C) float32.
    """
    across = _weigh(rows, image).transpose(1, 0, 2)  # (h, W, C) -> (W, h, C)
    return _weigh(columns, across).transpose(1, 0, 2)  # (w, h, C) -> (h, w, C)


def _weigh(weights: NDArray[np.float32], image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Multiply `weights` (target, source) by an image (source, other, C), one band of the source at a time.

    Only a few targets depend on a band, so most of the product, which is zero, is not computed. Only one band at a time
    is held as float32.
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
