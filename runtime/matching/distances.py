"""Eq. 3: the distance of every position of a view from the nearest embeddings of the gallery.

    d(y, p) = 1/κ · Σ over the κ nearest f in G of ‖f − F(y, p)‖²

`match_exactly` compares with every embedding of the gallery. `match_cells` compares with every embedding of some cells
only, the most similar ones according to an HNSW index. Both rank by ‖f‖² − 2⟨f, F(y, p)⟩, with matrix products. This
form loses precision for small distances. So `match_exactly` recomputes the distance of the nearest by difference;
`match_cells` multiplies integers, which are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.geometry.resample import Product, resampling_weights
from spade_edge.runtime.kernels.workers import Workers
from spade_edge.runtime.matching.cells import CellComparison
from spade_edge.runtime.matching.coding import Coded, Coder
from spade_edge.runtime.matching.gallery import CodedGallery, Features, squared_distances
from spade_edge.runtime.network.pyramid import Pyramid, from_cells

TABLE = 2 << 20  # numbers in a table, 8 MB for any size of the gallery; larger tables do not fit the cache
CELLS = 28  # cells of a view that are compared together


@dataclass(frozen=True)
class Place:
    """An embedding of the gallery.

    Attributes:
        item: number of the gallery item.
        position: number of the position in the item's finest grid, row by row.
        distance: squared distance from the position of the view.
    """

    item: int
    position: int
    distance: float


class Matches(Protocol):
    """The distances of a view, and where its nearest embeddings lie.

    Attributes:
        distances: (h, w) float32, d(y, p) at each position of the finest grid.
    """

    @property
    def distances(self) -> NDArray[np.float32]: ...

    def nearest(self, row: int, column: int) -> Place:
        """The nearest embedding of one position."""
        ...


@dataclass(frozen=True)
class ExactMatches:
    """The nearest embedding of every position of the finest grid.

    Attributes:
        distances: (h, w) float32, d(y, p).
        items: (h, w), the gallery item with the nearest embedding.
        positions: (h, w), number of its position in the item's finest grid, row by row.
        near: (h, w) float32, the squared distance to it (κ = 1).
    """

    distances: NDArray[np.float32]
    items: NDArray[np.intp]
    positions: NDArray[np.intp]
    near: NDArray[np.float32]

    def nearest(self, row: int, column: int) -> Place:
        """The nearest embedding of one position."""
        at = row, column
        return Place(int(self.items[at]), int(self.positions[at]), float(self.near[at]))


@dataclass(frozen=True)
class CellMatches:
    """The distance of every position of the finest grid; the nearest embedding of a position is found on request.

    Attributes:
        distances: (h, w) float32, d(y, p).
        gallery: the gallery that was searched.
        candidates: (cells, T), the gallery's cells that each cell was compared with; -1 for none.
        table: (cells, T * side * side, side * side) float32, distances less `squares`.
        squares: (cells, side * side) float32, squared lengths of the view's embeddings.
    """

    distances: NDArray[np.float32]
    gallery: CodedGallery
    candidates: NDArray[np.int64]
    table: NDArray[np.float32]
    squares: NDArray[np.float32]

    def nearest(self, row: int, column: int) -> Place:
        """The nearest embedding of one position."""
        side, width = self.gallery.side, self.gallery.grid[1]
        cell = row // side * (width // side) + column // side
        within = row % side * side + column % side
        found = int(self.table[cell, :, within].argmin())
        distance = max(0.0, float(self.table[cell, found, within] + self.squares[cell, within]))
        candidate, place = divmod(found, side**2)
        return place_of(self.gallery, int(self.candidates[cell, candidate]), place, distance)


def place_of(gallery: CodedGallery, cell: int, place: int, distance: float) -> Place:
    """An embedding of the gallery, from its cell and its place in the cell, numbered row by row."""
    side, width = gallery.side, gallery.grid[1]
    item, there = divmod(cell, gallery.cells_per_item)
    top, left = divmod(there, width // side)
    return Place(item, (top * side + place // side) * width + left * side + place % side, distance)


def match_exactly(
    pyramid: Pyramid,
    gallery: Features,
    *,
    items: NDArray[np.intp],
    kappa: int,
    place: int | None = None,
    product: Product = np.matmul,
) -> ExactMatches:
    """Compare with every embedding of some gallery items.

    Enlarging is linear, so it commutes with the product. The products of a level with the query are computed at the
    level's own resolution, and the table of products is enlarged. This is exact and saves three quarters of the
    arithmetic.

    Memory: a few tables of `TABLE` numbers and a few embeddings of a view, for any size of the gallery.

    Args:
        pyramid: features of the view.
        gallery: the gallery.
        items: (K,) gallery items, at least one: the paper's K nearest, or all.
        kappa: κ, at least 1; all embeddings if there are fewer.
        place: a position is compared with the embeddings of cells at most so many cells away; None for all.
        product: multiplies matrices.

    Raises:
        BundleError: a feature is not finite.
    """
    height, width = pyramid.grid
    places = height * width
    query = pyramid.embedding().reshape(places, -1)
    ends = np.cumsum([level.shape[2] for level in pyramid.levels])
    parts = [-2 * part for part in np.split(query, ends[:-1], axis=1)]  # the query's features of each level
    kappa = min(kappa, (places if place is None else _fewest_near(gallery, place)) * len(items))
    found = np.zeros((places, kappa), np.intp)
    best = np.full((places, kappa), np.inf, np.float32)
    rows = max(1, TABLE // places)
    bands = [slice(start, min(start + rows, places)) for start in range(0, places, rows)]
    near = [None if place is None else _near(gallery, place, band) for band in bands]
    for item in items:
        squares, levels = gallery.squares_of(item).reshape(1, places), gallery.pyramid(item).levels
        for band, close in zip(bands, near, strict=True):
            table = np.repeat(squares, band.stop - band.start, axis=0)
            for level, part in zip(levels, parts, strict=True):
                height_of, width_of, channels = level.shape
                products = product(part[band], level.reshape(-1, channels).T)
                table += _enlarge_each(products.reshape(-1, height_of, width_of), (height, width), product).reshape(
                    -1, places
                )
            if close is not None:
                table[~close] = np.inf
            _keep_nearest(best[band], found[band], table, first=item * places)
    found_items, positions = np.divmod(found.T, places)
    distances = np.stack(
        [squared_distances(gallery.embeddings(found_items[k], positions[k]), query) for k in range(kappa)]
    )
    first = distances.argmin(axis=0)[np.newaxis]

    def nearest(values: NDArray[np.generic]) -> NDArray[Any]:
        return np.take_along_axis(values, first, axis=0).reshape(height, width)

    return ExactMatches(
        distances=distances.mean(axis=0).reshape(height, width),  # Eq. 3
        items=nearest(found_items),
        positions=nearest(positions),
        near=nearest(distances),
    )


def _near(gallery: Features, reach: int, some: slice) -> NDArray[np.bool_]:
    """Which positions of the finest grid lie in cells at most so many cells from those of some: (some, places) bool."""
    height, width = gallery.grid
    rows, columns = np.divmod(np.arange(height * width, dtype=np.int32), np.int32(width))
    rows, columns = rows // gallery.side, columns // gallery.side
    near = np.abs(rows[some, np.newaxis] - rows) <= reach
    near &= np.abs(columns[some, np.newaxis] - columns) <= reach
    return near


def _fewest_near(gallery: Features, reach: int) -> int:
    """Number of positions near one in a corner, where they are fewest."""
    return math.prod(min(length, (reach + 1) * gallery.side) for length in gallery.grid)


def _enlarge_each(products: NDArray[np.float32], grid: tuple[int, int], product: Product) -> NDArray[np.float32]:
    """Enlarge each of (M, h, w) tables to a finer grid, as `pyramid.enlarge` does with a level."""
    if products.shape[1:] == grid:
        return products
    rows, columns = (resampling_weights(have, want) for have, want in zip(products.shape[1:], grid, strict=True))
    across = product(products.reshape(-1, columns.shape[1]), columns.T).reshape(len(products), -1, grid[1])
    down = product(across.transpose(0, 2, 1).reshape(-1, rows.shape[1]), rows.T)
    return down.reshape(len(products), grid[1], grid[0]).transpose(0, 2, 1)


def _keep_nearest(
    best: NDArray[np.float32], where: NDArray[np.intp], table: NDArray[np.float32], *, first: int
) -> None:
    """Merge a table (queries, gallery positions) into the κ nearest so far (queries, κ), in place."""
    kappa = best.shape[1]
    # Later items improve ever fewer queries; only these are sorted.
    least = table.min(axis=1)
    if not np.isfinite(least).all():  # comparing NaN would leave the item out
        raise BundleError(
            "expected finite features of the frame and of the gallery, found NaN or infinity; copy the bundle again or "
            "rebuild it"
        )
    better = np.flatnonzero(least < best.max(axis=1))
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
    coded: Coded,
    view: int,
    gallery: CodedGallery,
    *,
    candidates: NDArray[np.int64],
    coder: Coder,
    comparison: CellComparison,
    kappa: int,
    workers: Workers,
) -> CellMatches:
    """Compare with every embedding of some cells of the gallery.

    Memory: a table of T * side² numbers per position and, for the few cells that each thread compares at a time, a copy
    of their candidates' codes, for any size of the gallery.

    Args:
        coded: the codes of some views.
        view: number of one of these views.
        gallery: the gallery.
        candidates: (cells, T), the gallery's cells to compare each cell of the view with; -1 for none.
        coder: of these codes.
        comparison: compares cells.
        kappa: κ of Eq. 3, at least 1; all embeddings of the candidates if there are fewer.
        workers: share the cells.

    Raises:
        BundleError: a distance is below zero.
    """
    cells, places = gallery.cells_per_item, gallery.side**2
    few = min(kappa, int((candidates >= 0).sum(axis=1).min()) * places)
    nearest, squares = np.empty((cells, places), np.float32), np.empty((cells, places), np.float32)
    table = np.empty((cells, candidates.shape[1] * places, places), np.float32)

    def compare(band: slice) -> None:
        seen = coder.windows(coded, slice(view * cells + band.start, view * cells + band.stop))
        nearest[band], table[band] = comparison(
            seen, levels=gallery.levels, squares=gallery.squares, candidates=candidates[band]
        )
        squares[band] = seen.squares
        if kappa > 1:
            best = np.partition(table[band], few - 1, axis=1)[:, :few] + seen.squares[:, np.newaxis]
            nearest[band] = np.maximum(best, 0).mean(axis=1)  # Eq. 3

    workers.map(compare, workers.bands(cells, usual=CELLS))
    return CellMatches(
        distances=from_cells(nearest, gallery.side, gallery.grid),
        gallery=gallery,
        candidates=candidates,
        table=table,
        squares=squares,
    )
