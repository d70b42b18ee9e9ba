"""The features of one view: the levels of the pyramid, and the embedding that they form together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.resample import resample, resampling_weights


@dataclass(frozen=True)
class Pyramid:
    """The features of one view, as the network outputs them.

    Attributes:
        levels: finest first, each (h, w, C) float32.
        descriptor: (C,) float32, the global descriptor F(x) of the paper's stage 1.
    """

    levels: tuple[NDArray[np.float32], ...]
    descriptor: NDArray[np.float32]

    @property
    def grid(self) -> tuple[int, int]:
        """Positions of the finest level, (rows, columns)."""
        rows, columns = self.levels[0].shape[:2]
        return rows, columns

    def embedding(self) -> NDArray[np.float32]:
        """Concatenate the levels at every position of the finest grid: (h, w, sum of C) float32, read-only.

        Levels have equal weight; coarser ones are enlarged bilinearly, half-pixel centres (the paper names no method).
        """
        return self._embedding

    @cached_property
    def _embedding(self) -> NDArray[np.float32]:
        # Cached, as it is needed more than once, and enlarging is expensive.
        embedding = np.concatenate([enlarge(level, self.grid) for level in self.levels], axis=-1)
        embedding.flags.writeable = False
        return embedding


def enlarge(level: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Enlarge a level (h, w, C) to a finer grid (rows, columns): bilinear, half-pixel centres, edges repeated."""
    if level.shape[:2] == grid:
        return level
    return resample(
        level, rows=resampling_weights(level.shape[0], grid[0]), columns=resampling_weights(level.shape[1], grid[1])
    )


def by_cell(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Reorder the positions of a map by cell: (h, w, C) to (cells, side * side, C), both row by row."""
    height, width, channels = values.shape
    blocks = values.reshape(height // side, side, width // side, side, channels)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(-1, side * side, channels)


def from_cells(values: NDArray[Any], side: int, grid: tuple[int, int]) -> NDArray[Any]:
    """Undo `by_cell` for one number per position: (cells, side * side) to `grid`."""
    rows, columns = grid[0] // side, grid[1] // side
    return values.reshape(rows, columns, side, side).transpose(0, 2, 1, 3).reshape(grid)
