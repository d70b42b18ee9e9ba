"""What of a frame is never looked at: a clamp, a belt, a date stamp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.geometry.resample import resampling_weights

PAINT = (103.5, 116.3, 123.7)  # BGR: the mean of ImageNet's images, which the network is given as 0


@dataclass(frozen=True)
class Mask:
    """A mask of a frame: whatever lies in the ignored pixels, scores and maps stay the same, bit by bit.

    The network sees ignored pixels painted in one colour, in frames as in good images.

    Attributes:
        looked_at: (H, W) bool, False for pixels that are ignored.
    """

    looked_at: NDArray[np.bool_]

    def painted(self, canvas: Canvas) -> NDArray[np.bool_]:
        """Pixels of the views that an ignored pixel would have a share in: (views, h, w)."""
        ignored = (~self.looked_at).astype(np.float32)
        touched = []
        for x, y, width, height in canvas.boxes:
            rows, columns = (
                resampling_weights(have, want) for have, want in zip((height, width), canvas.view.size, strict=True)
            )
            touched.append(rows @ ignored[y : y + height, x : x + width] @ columns.T > 0)
        return np.stack(touched)

    def fractions(self, canvas: Canvas, grid: tuple[int, int]) -> NDArray[np.float32]:
        """How much of each position of the views' grids is looked at, 0 to 1: (views, rows, columns) float32."""
        painted = self.painted(canvas)
        views, height, width = painted.shape
        blocks = painted.reshape(views, grid[0], height // grid[0], grid[1], width // grid[1])
        return (1 - blocks.mean(axis=(2, 4))).astype(np.float32)

    def kept(self, canvas: Canvas) -> NDArray[np.bool_]:
        """Pixels of the map whose middle is looked at: (h, w)."""
        rows, columns = (canvas.centres(axis).astype(int) for axis in (0, 1))
        return self.looked_at[np.ix_(rows, columns)]
