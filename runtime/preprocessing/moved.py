"""A view whose part was brought back to where good parts lie, and the way from it to the frame's own view."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.motion import Motion, pixel_centres
from spade_edge.runtime.kernels.sampling import BICUBIC, BILINEAR, EDGE, ZEROS, Sampler

WHOLE = 1e-6  # pixels from a whole number that rounding may leave
SLACK = 0.005  # of the view: so little beyond its edge, the edge itself still shows what lies there


@dataclass(frozen=True)
class Moved:
    """How a view was brought back.

    Attributes:
        motion: from where good parts lie to where the part lies in the frame.
        aspect: width over height of what the view covers, in pixels of the frame.
    """

    motion: Motion
    aspect: float

    def brought_back(self, view: NDArray[np.float32], filling: NDArray[np.float32]) -> NDArray[np.float32]:
        """The view as if the part lay in the middle of the good parts.

        Args:
            view: (h, w, 3) float32 BGR, 0 to 255.
            filling: the same; taken where the frame shows nothing.
        """
        height, width = view.shape[:2]
        right, down = self.motion.right * width, self.motion.down * height
        if self.motion.angle == 0 and max(abs(right - round(right)), abs(down - round(down))) < WHOLE:
            return _shifted(view, filling, right=round(right), down=round(down))
        x, y = self.motion.moved(*pixel_centres((height, width)), self.aspect)
        sampled = np.clip(_sampler(BICUBIC, EDGE)(view, x, y), 0, 255)
        return np.where(_within(x, y)[..., np.newaxis], sampled, filling)

    def unseen(self, grid: tuple[int, int]) -> NDArray[np.bool_]:
        """Positions of a grid over the view brought back that the frame does not show, or that lie beside one.

        Features see beyond their own position, so a position beside one that was filled in is no evidence either.

        Args:
            grid: (rows, columns).
        """
        rows, columns = (_reaches(count) for count in grid)
        unseen = np.zeros(grid, bool)
        for top in rows:
            for left in columns:
                x, y = np.meshgrid(left, top)
                unseen |= ~_within(*self.motion.moved(x, y, self.aspect))
        return unseen

    def carried_back(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps of the view brought back, (h, w, maps) float32, where they lie in the frame's view; 0 beyond them."""
        height, width = maps.shape[:2]
        return _sampler(BILINEAR, ZEROS)(maps, *self.motion.undone(*pixel_centres((height, width)), self.aspect))

    def on_good(self, row: float, column: float) -> tuple[float, float]:
        """Where a place of the frame's view lies in the view brought back; both (row, column) as fractions."""
        x, y = self.motion.undone(np.array([column], np.float32), np.array([row], np.float32), self.aspect)
        return float(y[0]), float(x[0])


def _shifted(view: NDArray[np.float32], filling: NDArray[np.float32], *, right: int, down: int) -> NDArray[np.float32]:
    """A view that is brought back by whole pixels, by copying them."""
    height, width = view.shape[:2]
    back = filling.copy()
    there = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
    here = slice(max(-down, 0), height - max(down, 0)), slice(max(-right, 0), width - max(right, 0))
    back[here] = view[there]
    return back


@lru_cache(maxsize=2)
def _sampler(mode: str, beyond: str) -> Sampler:
    return Sampler(mode=mode, beyond=beyond)


def _within(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether points lie in the frame."""
    return np.asarray((x >= -SLACK) & (x <= 1 + SLACK) & (y >= -SLACK) & (y <= 1 + SLACK))


def _reaches(count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From where to where each position and its neighbours reach along an axis, as fractions; within the view."""
    ends = np.clip(np.arange(-1, count + 2) / count, 0, 1).astype(np.float32)
    return ends[:count], ends[3:]
