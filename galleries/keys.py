"""The projection that turns a cell's mean embedding into the short key it is found by.

Principal directions of the good cells' means: what the walk through the index needs is to tell good cells apart, and
that is where they vary. The distance of Eq. 3 is never taken in it, so nothing a defect shows is lost here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.gallery import Gallery
from spade_edge.runtime.pyramid import by_cell

DIMENSIONS = 64
IMAGES = 100  # good images that the directions are fitted to, evenly spaced: 19,600 cells at 224x224


def fit_key_projection(gallery: Gallery, *, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    """Fit the projection: (sum of C, D) float32 with orthonormal columns, D at most `dimensions`."""
    images = np.unique(np.linspace(0, len(gallery) - 1, IMAGES).round().astype(int))
    width = sum(level.shape[3] for level in gallery.levels)
    total, products, count = np.zeros(width), np.zeros((width, width)), 0
    for image in images:
        means = by_cell(gallery.pyramid(int(image)).embedding(), gallery.side).mean(axis=1)
        total += means.sum(axis=0)
        products += means.T @ means
        count += len(means)
    covariance = products / count - np.outer(total, total) / count**2
    _, directions = np.linalg.eigh(covariance)  # ascending
    return np.ascontiguousarray(directions[:, ::-1][:, :dimensions], np.float32)
