"""Near-duplicates among the good images: two images of the same part in the same place, which match each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.03  # of the usual difference of two good images; less is due to noise, compression or a little light
MOST = 0.25  # fraction of the images that one image may resemble
COLUMNS = 4096  # values of each thumbnail that are processed together


def near_duplicates(thumbnails: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    """Find pairs of images whose thumbnails differ far less than those of two good images usually do.

    The mean squared difference of pixels, at equal brightness, is compared with its median over all pairs. On six
    public sets the smallest value for two different images was 0.09 of the median; for copies with noise (σ = 3), JPEG
    compression or 2 % more light it stayed below 0.01. Images of a part that was moved are not duplicates. An image
    that resembles more than a quarter of all images shows a common kind of part, or nothing that varies; it is then no
    duplicate.

    Args:
        thumbnails: (views * count, h, w, 3) uint8, of the gallery items, view by view.
        count: N, images.

    Returns:
        (N, N) bool, symmetric, true on the diagonal.
    """
    pixels = thumbnails.reshape(len(thumbnails) // count, count, -1)
    products = np.zeros((count, count), np.float64)
    # Without this, images of a fixed part under varying light would seem duplicates whenever the light is the same.
    brightness = (128 / np.maximum(pixels.mean(axis=(0, 2)), 1)).astype(np.float32)[:, np.newaxis]
    for view in pixels:
        for start in range(0, view.shape[1], COLUMNS):
            part = view[:, start : start + COLUMNS] * brightness
            part -= part.mean(axis=0)
            products += part @ part.T
    squares = np.diag(products)
    differences = squares[:, None] + squares[None] - 2 * products
    pairs = differences[np.triu_indices(count, 1)]
    usual = float(np.median(pairs)) if pairs.size else 0.0
    same = differences < ALIKE * usual
    many = same.sum(axis=1) > max(2, MOST * count)
    same[many] = same[:, many] = False
    np.fill_diagonal(same, True)
    return np.asarray(same)


def groups(duplicates: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    """Group each image with the first earlier one that it duplicates; only groups of two or more are returned."""
    members: dict[int, list[int]] = {}
    for image, row in enumerate(duplicates):
        first = next((other for other in members if row[other]), image)
        members.setdefault(first, []).append(image)
    return tuple(tuple(group) for group in members.values() if len(group) > 1)


def distinct(count: int, duplicates: Sequence[Sequence[int]]) -> list[list[int]]:
    """The distinct parts among `count` images: each image without a duplicate alone, then each group of duplicates."""
    repeated = {image for group in duplicates for image in group}
    return [[image] for image in range(count) if image not in repeated] + [list(group) for group in duplicates]
