"""Whether a frame can be judged at all: exposure, contrast and focus as the network sees them.

Everything is measured on the views, after resampling: what is lost there cannot mislead the network, and it costs
little at any size of frame.
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

BLACK, WHITE = 3.0, 252.0  # grey levels at and beyond which a pixel has nothing to say
WIDER = 1.0  # limits lie this share of the good images' range outside of it
LEAST = {"brightness": 12.0, "contrast": math.log(3), "focus": math.log(1.4), "white": 0.05, "black": 0.05}  # or this
RATIOS = ("contrast", "focus")  # that vary by factors
SHARES = ("white", "black")  # of the pixels
TINY = 1e-6  # and have no factor from 0


@dataclass(frozen=True)
class Condition:
    """What a frame is like, over all its views.

    Attributes:
        brightness: mean grey level, 0 to 255.
        contrast: standard deviation of the grey levels.
        focus: mean second difference of neighbouring pixels over their mean first difference: half as much where a
            picture is blurred by one pixel, whatever it shows and however bright it is.
        white: share of pixels that are saturated.
        black: share of pixels that are black.
    """

    brightness: float
    contrast: float
    focus: float
    white: float
    black: float

    @classmethod
    def of(cls, views: NDArray[np.float32], painted: NDArray[np.bool_] | None = None) -> Condition:
        """Measure views, (views, h, w, 3) float32, 0 to 255; `painted` (views, h, w) pixels are left out."""
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
    """Mean size of the first or second differences along rows and columns of (views, h, w), painted pixels left out."""
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
    """Between which a frame is like the good images: (lowest, highest) of each of `Condition`'s values."""

    brightness: tuple[float, float]
    contrast: tuple[float, float]
    focus: tuple[float, float]
    white: tuple[float, float]
    black: tuple[float, float]

    @classmethod
    def learned(cls, conditions: Sequence[Condition]) -> Limits:
        """The range of the good images and as much again on either side, at least `LEAST`.

        Contrast and focus are compared by ratio. A defect may change a frame too; it should be found by its place, not
        end here, so limits are wide.
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
        """Why a frame cannot be judged; empty if it can. More contrast, or a sharper picture, is no reason."""
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
            if name in SHARES:
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
