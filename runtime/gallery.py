"""The embeddings of the good images, kept as the network's own levels and enlarged only where they are looked at.

Storing levels instead of embeddings keeps everything in a quarter of the bytes: at 224x224, a Wide-ResNet50-2
embedding has 3,136 x 1,792 numbers an image, its three levels have 1.4 million.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.pyramid import Pyramid, by_cell, cell_side
from spade_edge.runtime.resample import resampling_weights


@dataclass(frozen=True)
class Gallery:
    """Embeddings of N good images.

    Attributes:
        levels: finest first, each (N, h, w, C) float32, usually memory-mapped.
        squares: (N, h, w) float32, squared length of every embedding on the finest grid.
        images: (N, C) float32, image vectors.
        names: N file names, relative to the folder they were read from.
    """

    levels: tuple[NDArray[np.float32], ...]
    squares: NDArray[np.float32]
    images: NDArray[np.float32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def grid(self) -> tuple[int, int]:
        """Positions of the finest level, (rows, columns)."""
        rows, columns = self.squares.shape[1:]
        return rows, columns

    @property
    def side(self) -> int:
        """Positions of the finest grid along one side of a cell."""
        return cell_side([level.shape[1:3] for level in self.levels])

    @property
    def cells_per_image(self) -> int:
        return int(np.prod(self.levels[-1].shape[1:3]))

    def pyramid(self, image: int) -> Pyramid:
        """A good image as if it had just left the network."""
        return Pyramid(levels=tuple(np.asarray(level[image]) for level in self.levels), image=self.images[image])

    def nearest_images(self, image: NDArray[np.float32], count: int, *, allowed: NDArray[np.bool_]) -> NDArray[np.intp]:
        """The K good images most like a frame, nearest first (the paper's stage 1).

        Args:
            image: (C,) image vector.
            count: K; all allowed images if there are no more than that.
            allowed: (N,) bool, the images that may be chosen.
        """
        distances = squared_distances(self.images, image)
        distances[~allowed] = np.inf
        return np.argsort(distances, kind="stable")[: min(count, int(allowed.sum()))]

    def embeddings(self, images: NDArray[np.intp], positions: NDArray[np.intp]) -> NDArray[np.float32]:
        """Embeddings at single positions.

        Args:
            images: (M,) image numbers.
            positions: (M,) positions of the finest grid, row by row.

        Returns:
            (M, sum of C) float32.
        """
        rows, columns = np.divmod(positions, self.grid[1])
        parts = []
        for level in self.levels:
            above, below, lower = _taps(level.shape[1], self.grid[0])
            left, right, further = _taps(level.shape[2], self.grid[1])
            part: NDArray[np.float32] = np.zeros((len(images), level.shape[3]), np.float32)
            for row, row_share in ((above, 1 - lower), (below, lower)):
                for column, column_share in ((left, 1 - further), (right, further)):
                    share = row_share[rows] * column_share[columns]
                    seen = np.flatnonzero(share)  # the finest level has one neighbour, not four
                    part[seen] += share[seen, None] * level[images[seen], row[rows[seen]], column[columns[seen]]]
            parts.append(part)
        return np.concatenate(parts, axis=1)

    def cells(self, cells: NDArray[np.intp]) -> NDArray[np.float32]:
        """All embeddings of some cells.

        Args:
            cells: (M,) cell numbers: image * cells_per_image + row * columns + column.

        Returns:
            (M, side * side, sum of C) float32, positions row by row.
        """
        images, within = np.divmod(cells, self.cells_per_image)
        rows, columns = np.divmod(within, self.levels[-1].shape[2])
        parts = []
        for level in self.levels:
            step = self.grid[0] // level.shape[1]  # finest positions to one of this level
            span = self.side // step  # positions of this level along a cell
            if step == 1:
                around, weights = np.arange(span), None
            else:
                # Bilinear enlarging looks one position past the cell on each side; at the border the edge repeats.
                around = np.arange(-1, span + 1)
                weights = resampling_weights(len(around), len(around) * step)[step : step + self.side]
            at_rows = np.clip(rows[:, None] * span + around, 0, level.shape[1] - 1)
            at_columns = np.clip(columns[:, None] * span + around, 0, level.shape[2] - 1)
            part = level[images[:, None, None], at_rows[:, :, None], at_columns[:, None, :]]
            if weights is not None:
                part = np.matmul(weights, part.reshape(len(cells), len(around), -1))
                part = np.matmul(weights, part.reshape(len(cells), self.side, len(around), -1))
            parts.append(part.reshape(len(cells), self.side**2, -1))
        return np.concatenate(parts, axis=2)

    def cell_squares(self, cells: NDArray[np.intp]) -> NDArray[np.float32]:
        """Squared lengths of the embeddings of some cells: (M, side * side) float32."""
        images, within = np.divmod(cells, self.cells_per_image)
        rows, columns = np.divmod(within, self.levels[-1].shape[2])
        along = np.arange(self.side)
        at_rows = rows[:, None, None] * self.side + along[:, None]
        at_columns = columns[:, None, None] * self.side + along
        return self.squares[images[:, None, None], at_rows, at_columns].reshape(len(cells), -1)


def squared_distances(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared L2 distance of each of (..., C) vectors to the query, by difference: exact where it is near zero."""
    difference = vectors - query
    return np.einsum("...c,...c->...", difference, difference)


def cell_keys(pyramid: Pyramid, projection: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a cell is found by: the mean of its embeddings, projected to (cells, D) float32.

    Args:
        pyramid: features of a view.
        projection: (sum of C, D) float32.
    """
    side = cell_side([level.shape[:2] for level in pyramid.levels])
    return by_cell(pyramid.embedding(), side).mean(axis=1) @ projection


def squared_lengths(pyramid: Pyramid) -> NDArray[np.float32]:
    """Squared length of every embedding of a view: (h, w) float32."""
    embedding = pyramid.embedding()
    return np.einsum("hwc,hwc->hw", embedding, embedding)


def _taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    # The two source positions that a bilinear target position looks at, and the share of the second.
    weights = resampling_weights(source, target)
    first = weights.argmax(axis=1)
    rest = weights.copy()
    rest[np.arange(target), first] = 0
    second = rest.argmax(axis=1)
    return first, second, rest[np.arange(target), second]
