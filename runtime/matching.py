"""Eq. 3: how far every position of a view is from the nearest embeddings of the gallery.

    d(y, p) = 1/κ · Σ over the κ nearest f in G of ‖f − F(y, p)‖²

Two ways to find the nearest: `match_exactly` looks at every embedding of the gallery, `match_cells` asks an HNSW index
for the cells that resemble and looks at every embedding of those. Both rank by ‖f‖² − 2⟨f, F(y, p)⟩, matrix products,
and then take the distance of what they found by difference: a product form rounds badly where distances are small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.gallery import Gallery, squared_distances
from spade_edge.runtime.hnsw import Index
from spade_edge.runtime.pyramid import Pyramid, by_cell, from_cells
from spade_edge.runtime.resample import resampling_weights

TABLE = 2 << 20  # numbers in a table: 8 MB, whatever the size of the gallery; larger ones leave the cache


@dataclass(frozen=True)
class Matches:
    """What was found for every position of the finest grid.

    Attributes:
        distances: (h, w) float32, d(y, p).
        images: (h, w), number of the good image that holds the nearest embedding.
        positions: (h, w), its position in that image's finest grid, row by row.
        nearest: (h, w) float32, the squared distance to it (κ = 1).
    """

    distances: NDArray[np.float32]
    images: NDArray[np.intp]
    positions: NDArray[np.intp]
    nearest: NDArray[np.float32]


def match_exactly(pyramid: Pyramid, gallery: Gallery, *, images: NDArray[np.intp], kappa: int) -> Matches:
    """Compare with every embedding of some good images.

    Enlarging is linear, so it commutes with the product: a level's product with the query is taken at the level's own
    resolution and the table of products is enlarged. That saves three quarters of the arithmetic and is exact.

    Memory: a few tables of `TABLE` numbers and a few embeddings of a view, at any size of the gallery.

    Args:
        pyramid: features of the view.
        gallery: where to look.
        images: (K,) image numbers, at least one: the paper's K nearest, or all.
        kappa: κ, at least 1; all embeddings if there are fewer.
    """
    height, width = pyramid.grid
    places = height * width
    query = pyramid.embedding().reshape(places, -1)
    ends = np.cumsum([level.shape[2] for level in pyramid.levels])
    parts = [-2 * part for part in np.split(query, ends[:-1], axis=1)]  # the query's share of each level
    kappa = min(kappa, places * len(images))
    found = np.zeros((places, kappa), np.intp)
    band = max(1, TABLE // places)
    for start in range(0, places, band):
        stop = min(start + band, places)
        best = np.full((stop - start, kappa), np.inf, np.float32)
        for image in images:
            table = np.repeat(gallery.squares[image].reshape(1, places), stop - start, axis=0)
            for level, part in zip(gallery.levels, parts, strict=True):
                rows, columns, channels = level.shape[1:]
                products = part[start:stop] @ level[image].reshape(-1, channels).T
                table += _enlarge_each(products.reshape(-1, rows, columns), (height, width)).reshape(-1, places)
            _keep_nearest(best, found[start:stop], table, first=image * places)
    found_images, positions = np.divmod(found.T, places)
    distances = np.stack(
        [squared_distances(gallery.embeddings(found_images[k], positions[k]), query) for k in range(kappa)]
    )
    return _matches(distances, found_images, positions, (height, width))


def _enlarge_each(products: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Enlarge each of (M, h, w) tables to a finer grid, as `pyramid.enlarge` does a level."""
    if products.shape[1:] == grid:
        return products
    rows, columns = (resampling_weights(have, want) for have, want in zip(products.shape[1:], grid, strict=True))
    return np.matmul(rows, products @ columns.T)


def _keep_nearest(
    best: NDArray[np.float32], where: NDArray[np.intp], table: NDArray[np.float32], *, first: int
) -> None:
    """Merge a table (queries, gallery positions) into the κ best so far (queries, κ), in place."""
    kappa = best.shape[1]
    # Later images improve ever fewer queries; only those are worth a partial sort.
    better = np.flatnonzero(table.min(axis=1) < best.max(axis=1))
    rows = table[better]
    nearest = min(kappa, rows.shape[1])
    if nearest == 1:
        columns = rows.argmin(axis=1)[:, np.newaxis]
    else:
        columns = np.argpartition(rows, nearest - 1, axis=1)[:, :nearest]
    values = np.concatenate([best[better], np.take_along_axis(rows, columns, axis=1)], axis=1)
    places = np.concatenate([where[better], first + columns], axis=1)
    order = np.argsort(values, axis=1, kind="stable")[:, :kappa]
    best[better] = np.take_along_axis(values, order, axis=1)
    where[better] = np.take_along_axis(places, order, axis=1)


def match_cells(
    pyramid: Pyramid,
    gallery: Gallery,
    *,
    index: Index,
    keys: NDArray[np.float32],
    allowed: NDArray[np.bool_] | None,
    candidates: int,
    ef: int,
    kappa: int,
) -> Matches:
    """Compare with the embeddings of the gallery's most similar cells.

    Memory: a few tables of `TABLE` numbers and a few embeddings of a view, at any size of the gallery.

    Args:
        pyramid: features of the view.
        gallery: where to look.
        index: over the keys of all cells, labelled with cell numbers.
        keys: (cells, D) float32, what the view's cells are found by (`cell_keys`).
        allowed: (N,) bool, images that may be matched; None for all.
        candidates: T, cells of the gallery to look into for each cell of the view.
        ef: length of the index's list of best keys.
        kappa: κ of Eq. 3, at least 1; all embeddings of the candidates if there are fewer.
    """
    side = gallery.side
    query = by_cell(pyramid.embedding(), side)
    permitted = None if allowed is None else np.repeat(allowed, gallery.cells_per_image)
    candidates = min(candidates, len(index) if permitted is None else int(permitted.sum()))
    found, _ = index.search(keys, count=candidates, ef=ef, allowed=permitted)
    found = np.where(found < 0, found[:, :1], found)  # a walk that found fewer: look into its best cell again
    kappa = min(kappa, candidates * side**2)
    shape = (len(query), kappa, side**2)
    distances, cells = np.empty(shape, np.float32), np.empty(shape, np.intp)
    within = np.empty(shape, np.intp)
    chunk = max(1, TABLE // (candidates * side**2 * query.shape[2]))
    for start in range(0, len(query), chunk):
        part = slice(start, start + chunk)
        cells_here, at = np.unique(found[part], return_inverse=True)
        at = at.reshape(found[part].shape)
        embeddings = gallery.cells(cells_here)
        squares = gallery.cell_squares(cells_here)
        offered = embeddings[at].reshape(*at.shape[:1], -1, query.shape[2])  # (chunk, T * side², sum of C)
        table = -2 * np.matmul(offered, query[part].transpose(0, 2, 1))
        table += squares[at].reshape(len(at), -1, 1)
        if kappa == 1:
            rows = table.argmin(axis=1)[:, np.newaxis]
        else:
            rows = np.argpartition(table, kappa - 1, axis=1)[:, :kappa]
        cells[part] = np.take_along_axis(found[part], (rows // side**2).reshape(len(at), -1), axis=1).reshape(
            rows.shape
        )
        within[part] = rows % side**2
        for k in range(kappa):
            nearest = np.take_along_axis(offered, rows[:, k, :, np.newaxis], axis=1)
            difference = nearest - query[part]
            distances[part, k] = np.einsum("...c,...c->...", difference, difference)
    images, cell = np.divmod(cells, gallery.cells_per_image)
    row, column = np.divmod(cell, gallery.grid[1] // side)
    positions = (row * side + within // side) * gallery.grid[1] + column * side + within % side

    def over_grid(values: NDArray[Any]) -> NDArray[Any]:
        return np.stack([from_cells(values[:, k], side, pyramid.grid).ravel() for k in range(kappa)])

    return _matches(over_grid(distances), over_grid(images), over_grid(positions), pyramid.grid)


def _matches(
    distances: NDArray[np.float32], images: NDArray[np.intp], positions: NDArray[np.intp], grid: tuple[int, int]
) -> Matches:
    """From the κ nearest of every position, (κ, places) each, to what is told of them."""
    first = distances.argmin(axis=0)[np.newaxis]

    def nearest(values: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(values, first, axis=0).reshape(grid)

    return Matches(
        distances=distances.mean(axis=0).reshape(grid),  # Eq. 3
        images=nearest(images),
        positions=nearest(positions),
        nearest=nearest(distances),
    )
