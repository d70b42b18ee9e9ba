"""Metrics in numpy: ROC, average precision and F1 of images, AUROC and AUPRO of pixels, intervals of rates.

Metrics of images are exact. Pixels are counted in bins of their values as they come, so that memory does not grow with
their number.

    tally = PixelTally()
    truth = truth_on_map(mask, size=result.heatmap.shape, extent=result.extent, looked_at=result.looked_at)
    tally.add(result.heatmap, truth, looked_at=result.looked_at)
    tally.auroc(), tally.aupro()
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.binomial import clopper_pearson

LIMIT = 0.3  # false-positive rate up to which AUPRO is computed
POINTS = 400  # of a curve to be drawn

Curve = tuple[tuple[float, float], ...]  # (x, y), x never falling


@dataclass(frozen=True)
class Metric:
    """A metric, or why it is undefined.

    Attributes:
        value: 0 to 1; None if undefined.
        reason: why it is undefined, as a phrase; empty if it is defined.
    """

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Rate:
    """The rate of wrong verdicts among some images, with a 95 % Clopper-Pearson interval.

    Attributes:
        count, of: number of wrong verdicts, and of images.
        fraction: count / of; None if `of` is 0.
        low, high: ends of the interval; None if `of` is 0.
    """

    count: int
    of: int
    fraction: float | None
    low: float | None
    high: float | None

    @classmethod
    def among(cls, count: int, of: int) -> Rate:
        """The rate of `count` among `of`."""
        if of == 0:
            return cls(count, of, None, None, None)
        return cls(count, of, count / of, *clopper_pearson(count, of))

    def to_json(self) -> dict[str, Any]:
        """The fields in the JSON of an evaluation."""
        return {"count": self.count, "of": self.of, "share": self.fraction, "low": self.low, "high": self.high}


# Images


def _descending(scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> tuple[NDArray[Any], ...]:
    """Distinct scores, highest first, and the numbers of negatives and positives with at least each score."""
    distinct, place = np.unique(scores, return_inverse=True)
    place = place.reshape(-1)
    positives = np.bincount(place[positive], minlength=len(distinct))[::-1].cumsum()
    negatives = np.bincount(place[~positive], minlength=len(distinct))[::-1].cumsum()
    return distinct[::-1], negatives, positives


def _undefined(positive: NDArray[np.bool_]) -> str:
    """Why metrics that compare two classes are undefined; empty if they are defined."""
    if not len(positive):
        return "no image was scored"
    if not positive.any():
        return "no defective image was scored"
    return "" if not positive.all() else "no good image was scored"


def roc(scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> Curve:
    """The curve of (false-positive rate, true-positive rate) over all thresholds; equal scores share a threshold.

    Args:
        scores: (N,) finite, larger is more likely positive.
        positive: (N,) bool, True for the positive class.

    Returns:
        from (0, 0) to (1, 1), without points on straight lines; empty if there is only one class.
    """
    if _undefined(positive):
        return ()
    _, negatives, positives = _descending(scores, positive)
    x, y = np.append(0, negatives), np.append(0, positives)
    keep = np.ones(len(x), bool)
    # A corner is where the direction changes. Integers make the comparison exact.
    keep[1:-1] = np.diff(x)[:-1] * np.diff(y)[1:] != np.diff(x)[1:] * np.diff(y)[:-1]
    return _points(x[keep] / x[-1], y[keep] / y[-1])


def auroc(scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> Metric:
    """The area under `roc`: the probability that a positive has the higher score; equal scores count half."""
    if reason := _undefined(positive):
        return Metric(None, reason)
    _, negatives, positives = _descending(scores, positive)
    return Metric(_area(np.append(0, negatives / negatives[-1]), np.append(0, positives / positives[-1])))


def average_precision(scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> Metric:
    """The area under the precision-recall curve, as a sum of steps without interpolation."""
    if reason := _undefined(positive):
        return Metric(None, reason)
    _, negatives, positives = _descending(scores, positive)
    gained = np.diff(np.append(0, positives)) / positives[-1]
    return Metric(float((gained * positives / (negatives + positives)).sum()))


def f1_max(scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> tuple[Metric, float | None]:
    """The best F1 over all thresholds, and the lowest score that it classifies as positive.

    If several thresholds are equally good, the highest counts.
    """
    if reason := _undefined(positive):
        return Metric(None, reason), None
    distinct, negatives, positives = _descending(scores, positive)
    f1 = 2 * positives / (negatives + positives + positives[-1])
    best = int(f1.argmax())
    return Metric(float(f1[best])), float(distinct[best])


# Pixels


@dataclass(frozen=True)
class TruthOnMap:
    """A mask at the resolution of the anomaly map.

    Attributes:
        defective: (h, w) bool.
        weights: (h, w) float64, 1 / (number of pixels of its region) per pixel; the sum if it is in several regions.
        regions: number of regions with an inspected pixel.
        unseen: number of regions without one.
    """

    defective: NDArray[np.bool_]
    weights: NDArray[np.float64]
    regions: int
    unseen: int


def truth_on_map(
    mask: NDArray[np.bool_],
    *,
    size: tuple[int, int],
    extent: tuple[float, float, float, float],
    looked_at: NDArray[np.bool_] | None = None,
) -> TruthOnMap:
    """Resample a mask to the resolution of an anomaly map.

    Regions are the 8-connected parts of the mask at its own resolution, so their number does not depend on the view of
    the network. A map pixel belongs to a region if the region covers at least half as much of it as of the map pixel
    that it covers most. For a region wider than a map pixel this means half of its area. On average, this equals the
    common practice of taking the nearest pixel of the mask, but a scratch that is finer than the map's pixels stays
    whole, and no region vanishes.

    Args:
        mask: (H, W) bool, True for the defective pixels of the frame.
        size: (h, w) of the map.
        extent: x, y, width, height of the area that the map covers, in pixels of the frame.
        looked_at: (h, w) bool, True for the inspected pixels of the map; None for all.
    """
    height, width = size
    defective, weights = np.zeros(size, bool), np.zeros(size)
    seen = 0
    import cv2  # the thresholds to choose from are counted without it, on a device

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for label in range(1, count):
        left, top, wide, high = (int(value) for value in stats[label, :4])
        rows, row_edges = _reached(top, high, start=extent[1], step=extent[3] / height)
        columns, column_edges = _reached(left, wide, start=extent[0], step=extent[2] / width)
        part = (labels[top : top + high, left : left + wide] == label).astype(np.float64)
        area = _along(_along(part, row_edges - top).T, column_edges - left).T
        y, x = np.nonzero(area >= 0.5 * (1 - 1e-9) * area.max())  # the tolerance is for rounding errors
        y, x = y + rows, x + columns
        # The region may extend beyond the map.
        on_map = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        y, x = y[on_map], x[on_map]
        if looked_at is not None:
            y, x = y[looked_at[y, x]], x[looked_at[y, x]]
        if len(y):
            seen += 1
            defective[y, x] = True
            weights[y, x] += 1 / len(y)
    return TruthOnMap(defective, weights, seen, count - 1 - seen)


def _reached(first: int, length: int, *, start: float, step: float) -> tuple[int, NDArray[np.float64]]:
    """The first map pixel that a run of frame pixels touches, possibly outside of the map, and the edges of all."""
    begin, end = math.floor((first - start) / step), math.ceil((first + length - start) / step)
    return begin, np.asarray(start + step * np.arange(begin, end + 1), np.float64)


def _along(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exact integral between neighbouring edges along axis 0, of values constant over each pixel and 0 outside."""
    edges = np.clip(edges, 0, len(values))
    whole = np.minimum(edges.astype(np.intp), len(values) - 1)
    total = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
    return np.diff(total[whole] + (edges - whole)[:, None] * values[whole], axis=0)


BITS = 24  # leading bits of a float32 that select the bin: sign, exponent and 15 of the 23 bits of the mantissa


class PixelTally:
    """A histogram of the pixels of any number of anomaly maps.

    Values with the same leading 24 bits fall into one bin and count as equal; they differ by at most 1 part in 32,768.
    There are 2²⁴ bins, but memory is used only near values that occur: about 0.8 MB per factor of 2 between the lowest
    and the highest value.

    AUPRO needs no list of regions: the mean overlap of the regions at a threshold is a sum over defective pixels, each
    with the weight 1 / (number of pixels of its region).

    Attributes:
        images: number of maps.
        regions: number of defective regions with an inspected pixel.
        unseen: number of defective regions without one.
    """

    def __init__(self) -> None:
        self.images = self.regions = self.unseen = 0
        # The system provides memory for these zeros only where something is written.
        self._good = np.zeros(1 << BITS, np.int64)
        self._defective = np.zeros(1 << BITS, np.int64)
        self._overlap = np.zeros(1 << BITS, np.float64)
        self._first, self._end = 1 << BITS, 0  # the bins in use lie between

    def add(
        self, heatmap: NDArray[np.float32], truth: TruthOnMap | None, *, looked_at: NDArray[np.bool_] | None = None
    ) -> None:
        """Add a map.

        Args:
            heatmap: (h, w) float32, finite.
            truth: the defective pixels; None for a good image.
            looked_at: (h, w) bool, True for the inspected pixels; None for all.
        """
        bins = _bins(heatmap)
        good = np.ones(heatmap.shape, bool) if looked_at is None else looked_at.copy()
        if truth is not None:
            good &= ~truth.defective
            of, where, count = np.unique(bins[truth.defective], return_inverse=True, return_counts=True)
            self._defective[of] += count
            self._overlap[of] += np.bincount(where.reshape(-1), truth.weights[truth.defective], minlength=len(of))
            self.regions += truth.regions
            self.unseen += truth.unseen
        of, count = np.unique(bins[good], return_counts=True)
        self._good[of] += count
        self._first, self._end = min(self._first, int(bins.min())), max(self._end, int(bins.max()) + 1)
        self.images += 1

    def auroc(self) -> Metric:
        """The probability that a defective pixel has a higher value than a good one; equal values count half."""
        if reason := self._reason():
            return Metric(None, reason)
        good, defective, _ = self._rates()
        return Metric(_area(good, defective))

    def aupro(self, *, limit: float = LIMIT) -> Metric:
        """The area under `pro` up to a false-positive rate, divided by that rate.

        Bergmann et al. 2021, The MVTec Anomaly Detection Dataset, IJCV 129, section 6.3.1.
        """
        if reason := self._reason():
            return Metric(None, reason)
        return Metric(_area(*_cut(*self._pro(), limit)) / limit)

    def pro(self, *, limit: float = LIMIT, points: int = POINTS) -> Curve:
        """The curve of (false-positive rate of pixels, mean overlap of regions), thinned out; empty if undefined."""
        if self._reason():
            return ()
        x, y = _cut(*self._pro(), limit)
        if len(x) > points:
            # Keep the points nearest to equal steps along the curve, so that a steep start stays visible.
            along = np.append(0, np.cumsum(np.diff(x) / limit + np.diff(y)))
            some = np.unique(np.searchsorted(along, np.linspace(0, along[-1], points), side="left"))
            some = np.unique(np.clip(np.append(some, (0, len(x) - 1)), 0, len(x) - 1))
            x, y = x[some], y[some]
        return _points(x, y)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The state of the tally, to be restored by `from_arrays`."""
        used = self._used()
        return {
            "counts": np.array([self.images, self.regions, self.unseen], np.int64),
            "bins": used.astype(np.int32),
            "good": self._good[used],
            "defective": self._defective[used],
            "overlap": self._overlap[used],
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> PixelTally:
        """Restore a tally from `to_arrays`.

        Raises:
            ValueError, KeyError, IndexError: the arrays are not those of a tally.
        """
        tally = cls()
        tally.images, tally.regions, tally.unseen = (int(count) for count in arrays["counts"])
        bins = arrays["bins"]
        tally._good[bins], tally._defective[bins] = arrays["good"], arrays["defective"]
        tally._overlap[bins] = arrays["overlap"]
        if len(bins):
            tally._first, tally._end = int(bins.min()), int(bins.max()) + 1
        return tally

    def _reason(self) -> str:
        if self.regions == 0:
            return "no defective pixel was inspected" if self.images else "no image was scored"
        return "" if self._good[self._first : self._end].any() else "no good pixel was inspected"

    def _used(self) -> NDArray[np.intp]:
        between = slice(self._first, self._end)
        return self._first + np.flatnonzero((self._good[between] != 0) | (self._defective[between] != 0))

    def _rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Fractions of good pixels, defective pixels and regions at or above each value, highest value first."""
        used = self._used()[::-1]
        sums = (np.append(0, counts[used].cumsum()) for counts in (self._good, self._defective, self._overlap))
        good, defective, overlap = (sum_ / sum_[-1] for sum_ in sums)
        return good, defective, overlap

    def _pro(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        good, _, overlap = self._rates()
        return good, overlap


def _bins(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Bin numbers from 0 to 2²⁴ - 1, in the order of the values. The bits of a float32 are ordered but for the sign."""
    if not np.isfinite(values).all():
        raise ValueError("expected finite values, found NaN or infinity")
    bits = (np.ascontiguousarray(values, np.float32) + np.float32(0)).view(np.uint32)  # -0 becomes 0
    flipped = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))
    return np.asarray(flipped >> (32 - BITS), np.int64)


# Curves


def _area(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The area under a curve by the trapezoidal rule."""
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)


def _cut(
    x: NDArray[np.float64], y: NDArray[np.float64], limit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The part of a curve up to x = limit; the last point is interpolated."""
    inside = int(np.searchsorted(x, limit, side="right"))
    if inside == len(x):
        return x, y
    fraction = (limit - x[inside - 1]) / (x[inside] - x[inside - 1])
    last = y[inside - 1] + fraction * (y[inside] - y[inside - 1])
    return np.append(x[:inside], limit), np.append(y[:inside], last)


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    return tuple(zip(x.tolist(), y.tolist(), strict=True))
