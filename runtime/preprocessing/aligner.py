"""Finds the part in a view, and brings it back to where good parts lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.motion import Motion
from spade_edge.runtime.geometry.resample import resample, resampling_weights
from spade_edge.runtime.preprocessing.alignment import Alignment, Extent
from spade_edge.runtime.preprocessing.moved import Moved
from spade_edge.runtime.preprocessing.registration import Registration, Relief
from spade_edge.runtime.result import Pose


@dataclass(frozen=True)
class Located:
    """Where the part of a frame lies.

    Attributes:
        motion: how far it is shifted and turned against the middle of the good parts; None if it was not found.
        moved: how its view was brought back, which is `motion` or the shift of it in whole pixels; None if it was not.
        unreachable: whether the part lies too far away to be judged.
    """

    motion: Motion | None
    moved: Moved | None = None
    unreachable: bool = False

    def pose(self, extent: Extent) -> Pose | None:
        """The same in pixels of the frame."""
        if self.motion is None:
            return None
        _, _, width, height = extent
        right, down, angle = self.motion.right * width, self.motion.down * height, self.motion.angle
        return Pose(right=right, down=down, angle=angle, aligned=self.moved is not None)


class Aligner:
    """Finds the part in a view, and brings it back to where good parts lie.

    Args:
        alignment: what was learned from the good images.
        reference: (rows, columns, 3) float32 BGR, the mean of the good parts. It fills what a frame does not show.
        size: (height, width) of the views.
    """

    def __init__(self, alignment: Alignment, reference: NDArray[np.float32], *, size: tuple[int, int]) -> None:
        self.alignment = alignment
        rows, columns = reference.shape[:2]
        relief = Relief((rows, columns))(reference)
        self._registration = Registration(relief, aspect=alignment.aspect, turns=alignment.turns)
        self._relief = Relief(size)
        self._filling = resample(
            reference, rows=resampling_weights(rows, size[0]), columns=resampling_weights(columns, size[1])
        )

    def __call__(self, view: NDArray[np.float32]) -> tuple[NDArray[np.float32], Located]:
        """Find the part, and bring it back if it lies elsewhere than good parts, but not too far away.

        Args:
            view: (h, w, 3) float32 BGR, 0 to 255.

        Returns:
            the view, the same array if it was not changed, and where the part lies.
        """
        found = self._registration(self._relief(view))
        if found.likeness < self.alignment.likeness or found.lead < self.alignment.lead:
            return view, Located(None)
        if self.alignment.usual(found.motion):
            return view, Located(found.motion)
        if not self.alignment.reachable(found.motion):
            return view, Located(found.motion, unreachable=True)
        moved = Moved(self._correction(found.motion, view), self.alignment.aspect)
        return moved.brought_back(view, self._filling), Located(found.motion, moved)

    def _correction(self, motion: Motion, view: NDArray[np.float32]) -> Motion:
        """What of a motion is undone: if the part is turned as good parts may be, a shift by whole pixels of the view.

        Such a shift copies pixels and leaves small defects as sharp as they are.
        """
        low, high = self.alignment.angle
        if not low <= motion.angle <= high:
            return motion
        height, width = view.shape[:2]
        return Motion(right=round(motion.right * width) / width, down=round(motion.down * height) / height)
