"""Golden frames: a few frames in a bundle with what the machine that built it made of them.

A device scores them again and so proves that it reproduces the workstation: its processor, its onnxruntime, its
provider.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.observation import Difference, Observation, difference
from spade_edge.runtime.errors import DeviceError
from spade_edge.runtime.result import CANNOT_JUDGE

# Of `Difference.largest`, by the precision of the model. float32 differs by 1e-5 between processors, with TF32 by 1e-3.
# int8 rounds again and again, and a last digit becomes more: ARM64 was .033 off where x86-64 had built the bundle.
TOLERANCES = {"fp32": 0.01, "fp16": 0.03, "int8": 0.1}


@dataclass(frozen=True)
class Golden:
    """Frames and what is expected of them.

    Attributes:
        frames: (G, H, W, 3) uint8 BGR or (G, H, W) grey.
        observations: of each frame, by the machine that built the bundle.
    """

    frames: NDArray[np.uint8]
    observations: tuple[Observation, ...]

    def differences(
        self, observe: Callable[[NDArray[np.uint8]], Observation], *, names: tuple[str, ...], threshold: float
    ) -> tuple[Difference, ...]:
        """Observe the frames again and compare.

        Args:
            observe: scores a frame on this machine, as `Scorer.observe` does.
            names: names of the levels.
            threshold: the bundle's threshold of the image score.
        """
        return tuple(
            difference(expected, observe(frame), names=names, threshold=threshold)
            for frame, expected in zip(self.frames, self.observations, strict=True)
        )


def check(differences: Sequence[Difference], *, precision: str, where: str) -> None:
    """Refuse a machine that does not reproduce the golden frames.

    Args:
        differences: of each golden frame.
        precision: of the model.
        where: what ran it, for the message.

    Raises:
        DeviceError: a difference over `TOLERANCES`, or a frame that only one of them can judge.
    """
    tolerance = TOLERANCES[precision]
    for number, found in enumerate(differences, start=1):
        if not found.largest <= tolerance:  # NaN too
            raise DeviceError(
                f"golden frame {number}: expected what the machine that built the bundle found within {tolerance:.0%}, "
                f"found {found.worst} {found.largest:.2g} off on {where}; {_REMEDY}"
            )
        # Within the tolerance good and defect differ only for a frame that lies at the threshold.
        if CANNOT_JUDGE in (found.expected, found.found) and found.expected != found.found:
            raise DeviceError(
                f"golden frame {number}: expected the verdict {found.expected} of the machine that built the "
                f"bundle, found {found.found} on {where}; {_REMEDY}"
            )


_REMEDY = (
    "see 'spade-edge parity --bundle' and 'spade-edge doctor', try --provider cpu, "
    "or build the bundle on a machine like this one"
)
