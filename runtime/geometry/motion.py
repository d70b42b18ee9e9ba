"""How far a part is shifted and turned: from where good parts lie to where it lies in a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Motion:
    """A turn about the centre of a view, and a shift.

    A view may squeeze a frame along one axis. A turn in the frame is a shear as well in such a view, so wherever points
    are moved, the aspect of what the view covers must be known: its width over its height, in pixels of the frame.

    Attributes:
        right, down: the shift, as fractions of the view's width and height.
        angle: the turn in degrees, clockwise as one sees the frame.
    """

    right: float = 0.0
    down: float = 0.0
    angle: float = 0.0

    def matrix(self, aspect: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """The linear part, for (x, y) from the view's centre as fractions of its width and height."""
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        return (cosine, -sine / aspect), (sine * aspect, cosine)

    def moved(
        self, x: NDArray[np.float32], y: NDArray[np.float32], aspect: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where points of a good part lie in the frame.

        Args:
            x: float32 of any shape, fractions (0 to 1) of the view's width.
            y: the same of its height.
            aspect: width over height of what the view covers.
        """
        (a, b), (c, d) = self.matrix(aspect)
        x, y = x - 0.5, y - 0.5
        return (
            np.asarray(a * x + b * y + (0.5 + self.right), np.float32),
            np.asarray(c * x + d * y + (0.5 + self.down), np.float32),
        )

    def undone(
        self, x: NDArray[np.float32], y: NDArray[np.float32], aspect: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Undo `moved`: where points of a frame lie on a good part."""
        (a, b), (c, d) = Motion(angle=-self.angle).matrix(aspect)
        x, y = x - (0.5 + self.right), y - (0.5 + self.down)
        return np.asarray(a * x + b * y + 0.5, np.float32), np.asarray(c * x + d * y + 0.5, np.float32)


def pixel_centres(size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The centres (x, y) of the pixels of a view of (height, width), each (height, width), as fractions."""
    height, width = size
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return x.astype(np.float32), y.astype(np.float32)
