"""Resampling as two small matrix products, one per axis, with the same numbers on every machine.

The weights are those of OpenCV's INTER_AREA if an axis shrinks, and of INTER_LINEAR (half-pixel centres, edges
repeated) if it grows. They are applied in float32, without rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BAND = 64  # rows; the speed depends little on it

Product = Callable[
    [NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]
]  # multiplies matrices, as np.matmul does


@dataclass(frozen=True)
class Bands:
    """Weights that resample one axis, for groups of neighbouring targets, which depend on few neighbouring sources.

    Attributes:
        sources: (groups, span) int64, the sources that each group depends on. If they are fewer than `span`, weights of
            0 follow, as do sources that lie next to them, or the last one again where the axis ends.
        lengths: (groups,) int64, on how many sources each group depends.
        weights: (groups, targets of a group, span) float32.
    """

    sources: NDArray[np.int64]
    lengths: NDArray[np.int64]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, source: int, target: int, *, first: int, count: int, group: int) -> Bands:
        """The weights of some targets: averages over areas when shrinking, bilinear when enlarging.

        Args:
            source: present length of the axis, at least 1.
            target: wanted length, at least 1.
            first: the first target that is wanted.
            count: how many targets are wanted, a multiple of `group`.
            group: targets in a group.
        """
        targets = np.arange(first, first + count).reshape(-1, group)
        return _area(source, target, targets) if target < source else _bilinear(source, target, targets)


@lru_cache(maxsize=64)
def resampling_weights(source: int, target: int) -> NDArray[np.float32]:
    """Weights that resample one axis: averages over areas when shrinking, bilinear when enlarging.

    Args:
        source: present length of the axis, at least 1.
        target: wanted length, at least 1.

    Returns:
        (target, source) float32, read-only; each row sums to 1.
    """
    (weights,) = Bands.of(source, target, first=0, count=target, group=target).weights
    weights.flags.writeable = False
    return weights


def _area(source: int, target: int, targets: NDArray[np.int64]) -> Bands:
    # Target pixel t covers the source interval [t, t + 1) * source / target; a source pixel counts by its overlap.
    lower, upper = targets * (source / target), (targets + 1) * (source / target)
    starts = np.floor(lower[:, 0]).astype(np.int64)
    stops = np.minimum(np.ceil(upper[:, -1]).astype(np.int64), source)
    sources = _neighbours(starts, stops)
    pixels = sources[:, None]
    weights = np.minimum(upper[..., None], pixels + 1)
    weights -= np.maximum(lower[..., None], pixels)
    np.maximum(weights, 0, out=weights)
    weights *= target / source
    weights[-1, :, stops[-1] - starts[-1] :] = 0  # rounded, the last target may end a little beyond the axis
    return Bands(np.minimum(sources, source - 1), stops - starts, weights.astype(np.float32))


def _bilinear(source: int, target: int, targets: NDArray[np.int64]) -> Bands:
    centre = np.clip((targets + 0.5) * (source / target) - 0.5, 0, source - 1)
    left = np.floor(centre).astype(np.int64)
    right = np.minimum(left + 1, source - 1)
    fraction = centre - left
    starts, stops = left[:, 0], right[:, -1] + 1
    sources = _neighbours(starts, stops)
    weights = np.zeros((*targets.shape, sources.shape[1]))
    groups, members = np.ogrid[: targets.shape[0], : targets.shape[1]]
    weights[groups, members, left - starts[:, None]] += 1 - fraction
    weights[groups, members, right - starts[:, None]] += fraction
    return Bands(np.minimum(sources, source - 1), stops - starts, weights.astype(np.float32))


def _neighbours(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """As many neighbours from each start as the widest group needs: (groups, span)."""
    return starts[:, None] + np.arange((stops - starts).max())


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
