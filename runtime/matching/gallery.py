"""The gallery: the features of the good images, stored as levels and enlarged to embeddings only where needed.

Levels have a quarter of the numbers of embeddings, without loss: at 224x224, the embeddings of Wide-ResNet50-2 have
3,136 x 1,792 numbers per image, its three levels have 1.4 million. `Gallery` stores them in float32 as the network
outputs them, `CodedGallery` in codes of one byte.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.resample import resampling_weights
from spade_edge.runtime.matching.coding import Coder, Coding, by_row, decoded
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid


@dataclass(frozen=True)
class Features(ABC):
    """Features of N good images, in whatever form they are stored.

    Each view of each good image is a gallery item. Items are ordered view by view: item = view * N + image.

    Attributes:
        card: the card of the model that computed the features.
        levels: finest first, one array per level with one row per item, usually memory-mapped.
        descriptors: (items, C) float32, global descriptors.
        names: N file names, relative to the folder of the good images.
    """

    card: ModelCard
    levels: tuple[NDArray[Any], ...]
    descriptors: NDArray[np.float32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of good images."""
        return len(self.names)

    @property
    def views(self) -> int:
        """Number of views per good image."""
        return len(self.descriptors) // len(self.names)

    @property
    def grid(self) -> tuple[int, int]:
        """Positions of the finest level, (rows, columns)."""
        return self.card.grid(self.card.levels[0])

    @property
    def side(self) -> int:
        """Positions of the finest grid along one side of a cell."""
        return self.card.side

    @property
    def cells_per_item(self) -> int:
        return self.card.cells

    @abstractmethod
    def pyramid(self, item: int) -> Pyramid:
        """The features of one item, as they are compared: as the network outputs them, or normalised and rounded."""

    @abstractmethod
    def squares_of(self, item: int) -> NDArray[np.float32]:
        """Squared length of each embedding of an item: (h, w) float32."""

    @abstractmethod
    def stored_lengths(self, items: NDArray[np.intp], positions: NDArray[np.intp]) -> NDArray[np.float32]:
        """Squared length of the embeddings at M positions as the gallery's files have it: (M,) float32."""

    def lengths(self, items: NDArray[np.intp], positions: NDArray[np.intp]) -> NDArray[np.float32]:
        """The same, computed from the features."""
        embeddings = self.embeddings(items, positions)
        return np.einsum("mc,mc->m", embeddings, embeddings)

    @abstractmethod
    def _at(
        self, level: int, items: NDArray[np.intp], rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Features of a level at M places: (M, C) float32."""

    def nearest_items(
        self, descriptor: NDArray[np.float32], count: int, *, allowed: NDArray[np.bool_]
    ) -> NDArray[np.intp]:
        """The K items whose global descriptors are nearest to a view's, nearest first (the paper's stage 1).

        Args:
            descriptor: (C,) float32, the view's.
            count: K; all allowed items if there are fewer.
            allowed: (items,) bool, the items that may be chosen.
        """
        distances = squared_distances(self.descriptors, descriptor)
        distances[~allowed] = np.inf
        return np.argsort(distances, kind="stable")[: min(count, int(allowed.sum()))]

    def embeddings(self, items: NDArray[np.intp], positions: NDArray[np.intp]) -> NDArray[np.float32]:
        """Embeddings at M positions.

        Args:
            items: (M,) gallery items.
            positions: (M,) positions of the finest grid, numbered row by row.

        Returns:
            (M, sum of C) float32.
        """
        rows, columns = np.divmod(positions, self.grid[1])
        parts = []
        for number, level in enumerate(self.card.levels):
            height, width = self.card.grid(level)
            above, below, lower = _taps(height, self.grid[0])
            left, right, further = _taps(width, self.grid[1])
            part: NDArray[np.float32] = np.zeros((len(items), level.channels), np.float32)
            for row, row_weights in ((above, 1 - lower), (below, lower)):
                for column, column_weights in ((left, 1 - further), (right, further)):
                    weights = row_weights[rows] * column_weights[columns]
                    seen = np.flatnonzero(weights)  # the finest level has one neighbour, not four
                    part[seen] += weights[seen, None] * self._at(
                        number, items[seen], row[rows[seen]], column[columns[seen]]
                    )
            parts.append(part)
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Gallery(Features):
    """Features in float32, as the network outputs them: `levels` are (items, h, w, C) float32.

    Attributes:
        squares: (items, h, w) float32, squared length of every embedding on the finest grid.
    """

    squares: NDArray[np.float32]

    def pyramid(self, item: int) -> Pyramid:
        return Pyramid(
            levels=tuple(np.asarray(level[item]) for level in self.levels), descriptor=self.descriptors[item]
        )

    def squares_of(self, item: int) -> NDArray[np.float32]:
        return self.squares[item]

    def stored_lengths(self, items: NDArray[np.intp], positions: NDArray[np.intp]) -> NDArray[np.float32]:
        return np.asarray(self.squares.reshape(len(self.squares), -1)[items, positions])

    def _at(
        self, level: int, items: NDArray[np.intp], rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        return np.asarray(self.levels[level][items, rows, columns], np.float32)


@dataclass(frozen=True)
class CodedGallery(Features):
    """Features in codes: `levels` are (items, positions, C) uint8, row by row, the finest level cell by cell.

    Attributes:
        coding: the coding of the features.
        squares: (items * cells, side * side) float32, squared length of every embedding, with code 0 as the origin.
    """

    coding: Coding
    squares: NDArray[np.float32]

    def pyramid(self, item: int) -> Pyramid:
        return decoded(self.codes(item), self.card, self.coding, self.descriptors[item])

    def codes(self, item: int) -> tuple[NDArray[np.uint8], ...]:
        """The codes of one item: for each level (positions, C) uint8."""
        return tuple(np.asarray(level[item]) for level in self.levels)

    def squares_of(self, item: int) -> NDArray[np.float32]:
        return squared_lengths(self.pyramid(item))

    def stored_lengths(self, items: NDArray[np.intp], positions: NDArray[np.intp]) -> NDArray[np.float32]:
        by_item = self.squares.reshape(len(self.descriptors), -1)  # cell by cell
        return np.asarray(by_item[items, by_row(self.grid, self.side)[positions]])

    def lengths(self, items: NDArray[np.intp], positions: NDArray[np.intp]) -> NDArray[np.float32]:
        origin = replace(self.coding, lowest=np.zeros_like(self.coding.lowest))
        return Features.lengths(replace(self, coding=origin), items, positions)

    def _at(
        self, level: int, items: NDArray[np.intp], rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        positions = rows * self.card.grid(self.card.levels[level])[1] + columns
        if level == 0 and self.side > 1:
            positions = by_row(self.grid, self.side)[positions]
        codes = self.levels[level][items, positions].astype(np.float32)
        return np.asarray(codes * self.coding.steps[level] + self.coding.lowest[level], np.float32)


def keys_of(gallery: CodedGallery, items: Iterable[int], coder: Coder) -> NDArray[np.uint8]:
    """The keys of the cells of some items, computed from their codes: (items * cells, D) uint8."""
    levels = (tuple(level[np.newaxis] for level in gallery.codes(item)) for item in items)
    return np.concatenate([coder.with_keys(one).keys for one in levels])


def squared_distances(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared L2 distance of each of (..., C) vectors to the query; computed by difference, so exact near zero."""
    difference = vectors - query
    return np.einsum("...c,...c->...", difference, difference)


def squared_lengths(pyramid: Pyramid) -> NDArray[np.float32]:
    """Squared length of every embedding of a view: (h, w) float32."""
    embedding = pyramid.embedding()
    return np.einsum("hwc,hwc->hw", embedding, embedding)


def _taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    # The two source positions of each bilinear target position, and the weight of the second one.
    weights = resampling_weights(source, target)
    first = weights.argmax(axis=1)
    rest = weights.copy()
    rest[np.arange(target), first] = 0
    second = rest.argmax(axis=1)
    return first, second, rest[np.arange(target), second]
