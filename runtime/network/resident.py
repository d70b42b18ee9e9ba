"""Features that stay on the device that computed them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.device_kernel import Value
from spade_edge.runtime.network.pyramid import Pyramid


@dataclass(frozen=True)
class ResidentPyramids:
    """The features of some views on the device.

    Attributes:
        levels: finest first, each an onnxruntime.OrtValue of (views, h, w, C) float32.
        descriptors: (views, C) float32, the global descriptors, on the host.
    """

    levels: tuple[Value, ...]
    descriptors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.descriptors)

    def __getitem__(self, view: int) -> Pyramid:
        """Copy the features of one view to the host."""
        levels = tuple(np.array(level.numpy()[view]) for level in self.levels)
        return Pyramid(levels=levels, descriptor=self.descriptors[view])
