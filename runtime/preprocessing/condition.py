"""Whether a frame can be judged at all: exposure, contrast and focus, as the network sees them.

They are measured on the views, after resampling. Detail that resampling removes cannot mislead the network, and the
cost does not grow with the size of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields

BLACK, WHITE = 3.0, 252.0  # grey levels at and beyond which a pixel carries no information
WIDER = 1.0  # distance of the limits from the good images' range, as a fraction of that range
LEAST = {"brightness": 12.0, "contrast": math.log(3), "focus": math.log(1.4), "white": 0.05, "black": 0.05}  # at least
RATIOS = ("contrast", "focus")  # compared as ratios
FRACTIONS = ("white", "black")  # of the pixels
TINY = 1e-6  # smallest value of a ratio, as 0 has no logarithm


@dataclass(frozen=True)
class Condition:
    """Exposure, contrast and focus of a frame, over all its views.

    Attributes:
        brightness: mean grey level, 0 to 255.
        contrast: standard deviation of the grey levels.
        focus: mean second difference of neighbouring pixels divided by their mean first difference. A blur by one pixel
            halves it, whatever the image shows and however bright it is.
        white: fraction of saturated pixels.
        black: fraction of black pixels.
    """

    brightness: float
    contrast: float
    focus: float
    white: float
    black: float

    @classmethod
    def of(cls, views: NDArray[np.float32], painted: NDArray[np.bool_] | None = None) -> Condition:
        """Measure views, (views, h, w, 3) float32, 0 to 255, without the `painted` pixels, (views, h, w) bool."""
        grey = views[..., 0] + views[..., 1] + views[..., 2]
        grey /= 3
        pixels = grey.ravel() if painted is None else grey[~painted]
        if not pixels.size:
            return cls(brightness=0.0, contrast=0.0, focus=0.0, white=0.0, black=0.0)
        steps = _mean_difference(grey, painted, order=1)
        return cls(
            brightness=float(pixels.mean()),
            contrast=float(pixels.std()),
            focus=_mean_difference(grey, painted, order=2) / steps if steps > 0 else 0.0,
            white=float(np.count_nonzero(pixels >= WHITE)) / pixels.size,
            black=float(np.count_nonzero(pixels <= BLACK)) / pixels.size,
        )


def _mean_difference(grey: NDArray[np.float32], painted: NDArray[np.bool_] | None, *, order: int) -> float:
    """Mean absolute first or second difference along rows and columns of (views, h, w), without painted pixels."""
    total = 0.0
    for axis in (1, 2):
        difference = np.abs(np.diff(grey, order, axis=axis))
        if painted is not None:
            length = difference.shape[axis]
            touched = [np.take(painted, range(i, i + length), axis=axis) for i in range(order + 1)]
            difference = difference[~np.logical_or.reduce(touched)]
        total += float(difference.mean()) if difference.size else 0.0
    return total


@dataclass(frozen=True)
class Limits:
    """The range of each value of `Condition`, (lowest, highest), in which a frame can be judged."""

    brightness: tuple[float, float]
    contrast: tuple[float, float]
    focus: tuple[float, float]
    white: tuple[float, float]
    black: tuple[float, float]

    @classmethod
    def learned(cls, conditions: Sequence[Condition]) -> Limits:
        """The range of the good images, extended by the same width on both sides, or by `LEAST` if that is more.

        Contrast and focus are compared as ratios. The limits are wide, because a defect may change a frame too and
        should be located, not rejected here.
        """
        limits = {}
        for name, least in LEAST.items():
            values = np.array([getattr(condition, name) for condition in conditions])
            if name in RATIOS:
                values = np.log(np.maximum(values, TINY))
            margin = max(WIDER * float(np.ptp(values)), least)
            ends = float(values.min()) - margin, float(values.max()) + margin
            limits[name] = (math.exp(ends[0]), math.exp(ends[1])) if name in RATIOS else ends
        return cls(**limits)

    def complaint(self, condition: Condition) -> str:
        """Why a frame cannot be judged; empty if it can. More contrast or a sharper image is no reason."""
        for name, low, high in (
            ("brightness", "too dark", "too bright"),
            ("white", "", "overexposed"),
            ("black", "", "underexposed"),
            ("contrast", "without contrast", ""),
            ("focus", "blurred", ""),
        ):
            value, (lowest, highest) = getattr(condition, name), getattr(self, name)
            compared = max(value, TINY) if name in RATIOS else value
            what = low if compared < lowest else high if compared > highest else ""
            if not what:
                continue
            found, good = f"{name} {value:.3g}", f"{lowest:.3g} to {highest:.3g}"
            if name in FRACTIONS:
                found, good = f"{value:.0%} of its pixels {name}", f"at most {max(highest, 0):.0%}"
            return f"the frame is {what}: {found}, good images have {good}; look at light, lens and camera"
        return ""

    def to_json(self) -> dict[str, Any]:
        return {name: list(ends) for name, ends in asdict(self).items()}

    @classmethod
    def from_fields(cls, own: Fields, *, source: str) -> Limits:
        limits = {}
        for field in fields(cls):
            ends = own.numbers(field.name)
            if len(ends) != 2 or ends[0] > ends[1]:
                raise BundleError(f"{source}: expected a lowest and a highest {field.name}, found {list(ends)}")
            limits[field.name] = (ends[0], ends[1])
        own.done()
        return cls(**limits)
