"""Golden frames: a few frames in a bundle, together with the values that the machine that built it found for them.

A device scores them again. This proves that its processor, onnxruntime and execution provider reproduce the
workstation's scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.observation import Difference, Observation, difference
from spade_edge.runtime.errors import DeviceError
from spade_edge.runtime.result import CANNOT_JUDGE

# Upper limits of `Difference.largest` by the model's precision. Between processors float32 differs by 1e-5,
# TF32 by 1e-3. int8 rounds in every layer, which amplifies small differences: ARM64 was .033 off an x86-64 bundle.
TOLERANCES = {"fp32": 0.01, "fp16": 0.03, "int8": 0.1}


@dataclass(frozen=True)
class Golden:
    """Frames with their reference values.

    Attributes:
        frames: (G, H, W, 3) uint8 BGR or (G, H, W) grey.
        observations: one per frame, made by the machine that built the bundle.
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
        differences: one per golden frame.
        precision: the model's: "fp32", "fp16" or "int8".
        where: the execution provider, for the message.

    Raises:
        DeviceError: a difference exceeds `TOLERANCES`, or only one of the two machines can judge a frame.
    """
    tolerance = TOLERANCES[precision]
    for number, found in enumerate(differences, start=1):
        if not found.largest <= tolerance:  # NaN too
            raise DeviceError(
                f"golden frame {number}: expected what the machine that built the bundle found, within "
                f"{tolerance:.0%}, found {found.worst} {found.largest:.2g} off on {where}; {_REMEDY}"
            )
        # Within the tolerance, good and defect can only differ for a frame close to the threshold.
        if CANNOT_JUDGE in (found.expected, found.found) and found.expected != found.found:
            raise DeviceError(
                f"golden frame {number}: expected the verdict {found.expected} of the machine that built the "
                f"bundle, found {found.found} on {where}; {_REMEDY}"
            )


_REMEDY = (
    "see 'spade-edge parity --bundle' and 'spade-edge doctor', try --provider cpu, "
    "or build the bundle on a machine like this one"
)
