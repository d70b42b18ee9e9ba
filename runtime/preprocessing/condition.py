"""Whether a frame can be judged at all: exposure, contrast, focus and colour, as the network sees them.

They are measured on the views, after resampling. Detail that resampling removes cannot mislead the network, and the
cost does not grow with the size of the frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.preprocessing.colour import DIM, NO_COLOUR, Colour
from spade_edge.runtime.preprocessing.quantities import COLOURS, OPTICS, QUANTITIES, VIEWS, Quantity

BLACK, WHITE = 3.0, 252.0  # grey levels at and beyond which a pixel carries no information
EVERY = 4  # colours vary slowly, so every fourth pixel of every fourth row is enough for them
SMALL = 0.25  # a view of which a mask leaves less than this fraction is not looked at on its own

# Few and far: at most a tenth of the good images, or one, can be odd, and only if they are apart from the rest.
FEW = 10
APART, LEAST_APART = 0.75, 1.5  # from the range of the rest: relative to that range, and to the least margin
LEAST_IMAGES = 4  # of fewer, none can be called odd
SURE_IMAGES = 6  # with fewer, an image is odd only if it is farther away
SURE_APART, SURE_LEAST_APART = 4.0, 3.0

FEWER = 20.0  # images; as few as these have a range that is too narrow by so much that its margin is doubled
TOWARDS_NOTHING = 0.9  # how far the limits may go from the good images to a frame without content


@dataclass(frozen=True)
class Condition:
    """Exposure, contrast, focus and colour of a frame.

    Attributes:
        brightness: mean grey level of all views, 0 to 255.
        white: fraction of saturated pixels.
        black: fraction of black pixels.
        contrast: standard deviation of the grey levels.
        focus: mean second difference of neighbouring pixels divided by their mean first difference. A blur by one pixel
            halves it, whatever the image shows and however bright it is. White noise has √3.
        chroma: standard deviation of red minus blue, in grey levels, after all channels are brought to the same mean.
            Grey frames have 0.
        red: mean of the red channel over that of the green one; the white balance.
        blue: mean of the blue channel over that of the green one.
        warmth: how much redder and less blue a pixel is, on average, if it is one grey level brighter; of the same
            channels. Swapped channels reverse its sign; white balance does not change it.
        darkest: lowest mean grey level of a view.
        brightest: highest mean grey level of a view.
        plainest: lowest contrast of a view.
        softest: lowest focus of a view.
        harshest: highest focus of a view.
        colour: whether it has colours, and in which channels.
    """

    brightness: float
    white: float
    black: float
    contrast: float
    focus: float
    chroma: float
    red: float
    blue: float
    warmth: float
    darkest: float
    brightest: float
    plainest: float
    softest: float
    harshest: float
    colour: Colour = NO_COLOUR

    @property
    def values(self) -> dict[str, float]:
        """Name to value of everything that is measured."""
        return {name: getattr(self, name) for name in QUANTITIES}

    @classmethod
    def of(cls, views: NDArray[np.float32], painted: NDArray[np.bool_] | None = None) -> Condition:
        """Measure views, (views, h, w, 3) float32 BGR, 0 to 255, without the `painted` pixels, (views, h, w) bool."""
        grey = views[..., 0] + views[..., 1] + views[..., 2]
        grey /= 3
        pixels = grey.ravel() if painted is None else grey[~painted]
        if not pixels.size:
            return cls(**dict.fromkeys(QUANTITIES, 0.0), colour=NO_COLOUR)
        masks = [None] * len(grey) if painted is None else painted
        views_of_frame = [_Sums.of(view, mask) for view, mask in zip(grey, masks, strict=True)]
        frame = _Sums.together(views_of_frame)
        each = [view for view in views_of_frame if view.pixels >= SMALL * grey[0].size] or [frame]
        sample = views[:, ::EVERY, ::EVERY]
        kept = sample.reshape(-1, 3) if painted is None else sample[~painted[:, ::EVERY, ::EVERY]]
        return cls(
            brightness=frame.mean,
            white=float(np.count_nonzero(pixels >= WHITE)) / pixels.size,
            black=float(np.count_nonzero(pixels <= BLACK)) / pixels.size,
            contrast=frame.deviation,
            focus=frame.focus,
            **_balance(kept),
            darkest=min(view.mean for view in each),
            brightest=max(view.mean for view in each),
            plainest=min(view.deviation for view in each),
            softest=min(view.focus for view in each),
            harshest=max(view.focus for view in each),
            colour=Colour.of(kept),
        )


@dataclass(frozen=True)
class _Sums:
    """What brightness, contrast and focus are computed from, of one view or of several.

    Attributes:
        pixels: their number, without painted ones.
        mean: of the grey levels; 0 without pixels.
        squares: sum of the squared differences from it.
        steps, bends: sum and number of the first and second differences, along columns and along rows.
    """

    pixels: int
    mean: float
    squares: float
    steps: tuple[tuple[float, int], tuple[float, int]]
    bends: tuple[tuple[float, int], tuple[float, int]]

    @classmethod
    def of(cls, grey: NDArray[np.float32], painted: NDArray[np.bool_] | None) -> _Sums:
        """Of one view, (h, w), without painted pixels."""
        pixels = grey if painted is None else grey[~painted]
        if not pixels.size:
            return cls(0, 0.0, 0.0, ((0.0, 0), (0.0, 0)), ((0.0, 0), (0.0, 0)))
        return cls(
            pixels=pixels.size,
            mean=float(pixels.mean()),
            squares=float(pixels.var()) * pixels.size,
            steps=(_differences(grey, painted, axis=0, order=1), _differences(grey, painted, axis=1, order=1)),
            bends=(_differences(grey, painted, axis=0, order=2), _differences(grey, painted, axis=1, order=2)),
        )

    @classmethod
    def together(cls, views: Sequence[_Sums]) -> _Sums:
        """Of several views as if they were one."""
        pixels = sum(view.pixels for view in views)
        mean = sum(view.pixels * view.mean for view in views) / pixels
        return cls(
            pixels=pixels,
            mean=mean,
            squares=sum(view.squares + view.pixels * (view.mean - mean) ** 2 for view in views),
            steps=(_added(view.steps[0] for view in views), _added(view.steps[1] for view in views)),
            bends=(_added(view.bends[0] for view in views), _added(view.bends[1] for view in views)),
        )

    @property
    def deviation(self) -> float:
        return (self.squares / self.pixels) ** 0.5

    @property
    def focus(self) -> float:
        bends, steps = (sum(total / max(count, 1) for total, count in part) for part in (self.bends, self.steps))
        return bends / steps if steps > 0 else 0.0


def _differences(
    grey: NDArray[np.float32], painted: NDArray[np.bool_] | None, *, axis: int, order: int
) -> tuple[float, int]:
    """Sum and number of the absolute first or second differences along an axis of (h, w), without painted pixels."""
    difference = np.abs(np.diff(grey, order, axis=axis))
    if painted is not None:
        length = difference.shape[axis]
        touched = [np.take(painted, range(i, i + length), axis=axis) for i in range(order + 1)]
        difference = difference[~np.logical_or.reduce(touched)]
    return float(difference.sum()), difference.size


def _added(parts: Iterable[tuple[float, int]]) -> tuple[float, int]:
    totals, counts = zip(*parts, strict=True)
    return sum(totals), sum(counts)


def _balance(kept: NDArray[np.float32]) -> dict[str, float]:
    """Chroma, warmth, red and blue of pixels, (N, 3)."""
    if not kept.size:
        return {"chroma": 0.0, "warmth": 0.0, "red": 1.0, "blue": 1.0}
    blue, green, red = np.ascontiguousarray(kept.T)
    means = [float(channel.mean()) + DIM for channel in (blue, green, red)]
    mean = sum(means) / 3
    difference = red * np.float32(mean / means[2])
    difference -= blue * np.float32(mean / means[0])
    difference -= difference.mean()
    grey = blue + green
    grey += red
    grey -= grey.mean()
    grey /= 3
    variance = float((grey * grey).mean())
    return {
        "chroma": float((difference * difference).mean()) ** 0.5,
        # One level of variance: where there is no contrast, noise has no colour.
        "warmth": float((difference * grey).mean()) / (variance + 1),
        "red": means[2] / means[1],
        "blue": means[0] / means[1],
    }


@dataclass(frozen=True)
class OddImage:
    """A good image that would stretch the limits. It is in the gallery, but the limits ignore it.

    Attributes:
        number: of the image, counted from 0.
        quantity: the field of `Condition` in which it is odd; the first one, if there are several.
        value: its value.
        others: lowest and highest value of the good images that are not odd.
        limits: lowest and highest value in which a frame can be judged, without this image.
        reason: a sentence part for people.
    """

    number: int
    quantity: str
    value: float
    others: tuple[float, float]
    limits: tuple[float, float]
    reason: str


@dataclass(frozen=True)
class Limits:
    """The range of each value of `Condition`, (lowest, highest), in which a frame can be judged."""

    brightness: tuple[float, float]
    white: tuple[float, float]
    black: tuple[float, float]
    contrast: tuple[float, float]
    focus: tuple[float, float]
    chroma: tuple[float, float]
    red: tuple[float, float]
    blue: tuple[float, float]
    warmth: tuple[float, float]
    darkest: tuple[float, float]
    brightest: tuple[float, float]
    plainest: tuple[float, float]
    softest: tuple[float, float]
    harshest: tuple[float, float]

    @classmethod
    def learned(cls, conditions: Sequence[Condition]) -> Limits:
        """The range of the good images that are not odd, extended on both sides.

        The margin is as wide as the range; wider if the images are few, and never less than the `least` of a quantity.
        The limits are wide, because a defect may change a frame too and should be located, not rejected here. But they
        never include a frame without content, unless a good image is one.
        """
        values = _scaled(conditions)
        usual = ~_odd(values).any(axis=1)
        ends = {}
        for (name, quantity), column in zip(QUANTITIES.items(), values[usual].T, strict=True):
            ends[name] = _ends(quantity, column)
        return cls(**ends)

    def including(self, conditions: Sequence[Condition]) -> Limits:
        """The same limits, but no narrower than some conditions, which a person has called good."""
        wider = {}
        for name in QUANTITIES:
            lowest, highest = getattr(self, name)
            values = [getattr(condition, name) for condition in conditions]
            wider[name] = min([lowest, *values]), max([highest, *values])
        return replace(self, **wider)

    def complaint(self, condition: Condition) -> str:
        """Why a frame cannot be judged, whatever its score; empty if it can."""
        return self.bad_light(condition) or self.other_colours(condition)

    def bad_light(self, condition: Condition) -> str:
        """The part of `complaint` about exposure, contrast and focus."""
        return self._first(condition, OPTICS)

    def other_colours(self, condition: Condition) -> str:
        """The part of `complaint` about colours."""
        return self._first(condition, COLOURS)

    def doubt(self, condition: Condition) -> str:
        """Why a frame is not good even if it scores as good; empty if there is no reason.

        A defect may make a frame sharper, or one view plain. Its score tells it from a good frame, so these limits are
        only for frames that score as good: noise, or a view without content.
        """
        return self._first(condition, VIEWS)

    def _first(self, condition: Condition, quantities: dict[str, Quantity]) -> str:
        for name, quantity in quantities.items():
            value, (lowest, highest) = getattr(condition, name), getattr(self, name)
            what = quantity.low if value < lowest else quantity.high if value > highest else ""
            if what:
                return quantity.complaint(what, value, lowest, highest)
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


def odd_images(conditions: Sequence[Condition]) -> tuple[OddImage, ...]:
    """The good images that would stretch the limits: few, and far from all others; by number.

    Two kinds of good images, for example in two lights, are both usual if each has more than a tenth of the images.

    Args:
        conditions: of the good images. With fewer than four, none is odd.
    """
    values = _scaled(conditions)
    odd = _odd(values)
    usual = values[~odd.any(axis=1)]
    found = []
    for number in np.flatnonzero(odd.any(axis=1)).tolist():
        column = int(np.argmax(odd[number]))
        name, quantity = list(QUANTITIES.items())[column]
        value = float(getattr(conditions[number], name))
        low, high = (quantity.value(float(end)) for end in (usual[:, column].min(), usual[:, column].max()))
        found.append(
            OddImage(
                number=number,
                quantity=name,
                value=value,
                others=(low, high),
                limits=_ends(quantity, usual[:, column]),
                reason=quantity.oddity(value, low, high),
            )
        )
    return tuple(found)


def _scaled(conditions: Sequence[Condition]) -> NDArray[np.float64]:
    """The values of the good images as they are compared, (N, quantities)."""
    return np.array(
        [
            [quantity.scaled(getattr(condition, name)) for name, quantity in QUANTITIES.items()]
            for condition in conditions
        ]
    )


def _odd(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values, (N, quantities), are few and far from the others."""
    odd = np.zeros(values.shape, bool)
    count = len(values)
    if count < LEAST_IMAGES:
        return odd
    sure = count >= SURE_IMAGES
    apart, least_apart = (APART, LEAST_APART) if sure else (SURE_APART, SURE_LEAST_APART)
    for column, quantity in enumerate(QUANTITIES.values()):
        low, high = usual_range(values[:, column], apart=apart, least=least_apart * quantity.least)
        odd[:, column] = (values[:, column] < low) | (values[:, column] > high)
    return odd


def usual_range(values: NDArray[np.float64], *, apart: float, least: float) -> tuple[float, float]:
    """The range outside of which values of good images are few and far from the others.

    Args:
        values: (N,), two at least.
        apart: how far from the others, relative to their range.
        least: how far in any case.
    """
    count = len(values)
    most = max(1, count // FEW)
    # The narrowest range that leaves out `most` images. Where they lie has no influence on it.
    ordered = np.sort(values)
    widths = ordered[count - most - 1 :] - ordered[: most + 1]
    start = int(np.argmin(widths))
    reach = max(apart * float(widths[start]), least)
    return ordered[start] - reach, ordered[start + count - most - 1] + reach


def _ends(quantity: Quantity, usual: NDArray[np.float64]) -> tuple[float, float]:
    """The limits of a quantity from the values of the images that are not odd, as they are compared."""
    low, high = float(usual.min()), float(usual.max())
    margin = min((1 + FEWER / len(usual)) * (high - low), quantity.most)
    lowest, highest = low - max(margin, quantity.least), high + max(margin, quantity.least_above or quantity.least)
    nothing_low, nothing_high = quantity.nothing
    if nothing_low is not None and nothing_low <= low:
        lowest = max(lowest, low + TOWARDS_NOTHING * (nothing_low - low))
    if nothing_high is not None and nothing_high >= high:
        highest = min(highest, high + TOWARDS_NOTHING * (nothing_high - high))
    return quantity.value(lowest), quantity.value(highest)
