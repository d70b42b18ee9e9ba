"""A mask: the pixels of a frame that are ignored, such as a clamp, a belt or a date stamp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.geometry.resample import resampling_weights

PAINT = (103.5, 116.3, 123.7)  # BGR: the mean of ImageNet's images, which the network normalises to 0


@dataclass(frozen=True)
class Mask:
    """The pixels of a frame that are ignored. Their content does not change scores or maps by a single bit.

    Ignored pixels are painted in one colour before the network sees them, in frames and in good images.

    Attributes:
        looked_at: (H, W) bool, False for pixels that are ignored.
    """

    looked_at: NDArray[np.bool_]

    def painted(self, canvas: Canvas) -> NDArray[np.bool_]:
        """Pixels of the views to which an ignored pixel contributes: (views, h, w) bool."""
        ignored = (~self.looked_at).astype(np.float32)
        touched = []
        for x, y, width, height in canvas.boxes:
            rows, columns = (
                resampling_weights(have, want) for have, want in zip((height, width), canvas.view.size, strict=True)
            )
            touched.append(rows @ ignored[y : y + height, x : x + width] @ columns.T > 0)
        return np.stack(touched)

    def fractions(self, canvas: Canvas, grid: tuple[int, int]) -> NDArray[np.float32]:
        """Fraction of each position of the views' grids that is not ignored: (views, rows, columns) float32."""
        painted = self.painted(canvas)
        views, height, width = painted.shape
        blocks = painted.reshape(views, grid[0], height // grid[0], grid[1], width // grid[1])
        return (1 - blocks.mean(axis=(2, 4))).astype(np.float32)

    def kept(self, canvas: Canvas) -> NDArray[np.bool_]:
        """Pixels of the map whose centre is not ignored: (h, w) bool."""
        rows, columns = (canvas.centres(axis).astype(int) for axis in (0, 1))
        return self.looked_at[np.ix_(rows, columns)]
