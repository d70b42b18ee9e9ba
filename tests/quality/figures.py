"""Figures of detection quality, and how far they could differ with other test images.

All come from scores and maps as they are: nothing is scaled, clipped or thresholded first. Figures of pixels are taken
from histograms, one for each image, so that test images can be drawn again and again without touching a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]
from scipy.integrate import trapezoid

from spade_edge.runtime.geometry.resample import resample, resampling_weights

COUNTED = ("false rejects", "missed", "false rejects, lowest rate", "missed, lowest rate")  # fractions: less is better
FIGURES = ("image AUROC", "pixel AUROC", "AUPRO", "AUPIMO", *COUNTED)
LIMIT = 0.3  # false-positive rate up to which AUPRO is taken
STRICT = (1e-5, 1e-4)  # false-positive rates between which AUPIMO is taken
LEVELS = 4096  # quantiles of good pixels and of defective ones each, between which pixels count as equal
TOUCHING = np.ones((3, 3))  # pixels of one region, corners too

Floats = NDArray[np.float64]


def seen_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """What of a mask is left in a view of (height, width).

    A pixel of the view is defective if at least half of it is. A defect that is narrower than that everywhere would
    vanish (13 of 16 AITEX images), so half is taken of what the defect's most covered pixel has.

    Args:
        mask: (H, W) of the frame, True where it is defective.
        size: of the view, which covers the whole frame.
    """
    seen = np.zeros(size, bool)
    rows, columns = (resampling_weights(*sides) for sides in zip(mask.shape, size, strict=True))
    regions, count = ndimage.label(mask, TOUCHING)
    for number in range(1, count + 1):
        region = (regions == number).astype(np.float32)[..., np.newaxis]
        covered = resample(region, rows=rows, columns=columns)[..., 0]
        seen |= covered >= covered.max() / 2 * (1 - 1e-6)
    return seen


@dataclass(frozen=True)
class Truth:
    """What is right for a set of test images.

    Attributes:
        names: of the images.
        defective: (N,) bool.
        masks: (N, h, w) bool, True where a view is defective.
    """

    names: tuple[str, ...]
    defective: NDArray[np.bool_]
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """What a method says of the same images, in the same order.

    Attributes:
        images: (N,) score of each.
        maps: (N, h, w) anomaly maps.
        milliseconds: (N,) that each took.
        rejected: (2, N) bool, whether each is rejected by the verdict, and whether it would be at the lowest
            false-reject rate that the good images certify; None for a method without verdicts.
    """

    images: Floats
    maps: NDArray[np.float32]
    milliseconds: Floats
    rejected: NDArray[np.bool_] | None = None


def draws(defective: NDArray[np.bool_], *, times: int, seed: int | list[int]) -> Floats:
    """How often each image is drawn; good and defective ones are drawn apart, as many as there are of each.

    Args:
        defective: (N,).
        times: of drawing.
        seed: of the draws; methods that are to be compared in pairs must share them.

    Returns:
        (1 + times, N), the first row with each image once.
    """
    random = np.random.default_rng(seed)
    counts = np.ones((1 + times, len(defective)))
    for kind in (defective, ~defective):
        share = np.full(int(kind.sum()), 1 / max(1, kind.sum()))
        counts[1:, kind] = random.multinomial(len(share), share, size=times)
    return counts


def figures(truth: Truth, scores: Scores, counts: Floats) -> Floats:
    """All FIGURES for each way to draw the images.

    Args:
        truth: with N images.
        scores: of one method.
        counts: (R, N) how often each image is drawn.

    Returns:
        (FIGURES, R), NaN for the figures of verdicts if there are none.
    """
    return np.stack(
        [
            _image_auroc(scores.images, truth.defective, counts),
            *_of_pixels(truth.masks, scores, counts),
            _aupimo(truth, scores.maps, counts),
            *_of_verdicts(truth.defective, scores.rejected, counts),
        ]
    )


def interval(values: Floats) -> tuple[float, float]:
    """Between which 95 % of the draws lie; the first value, which is no draw, is left out."""
    low, high = np.percentile(values[1:], (2.5, 97.5))
    return float(low), float(high)


def _image_auroc(scores: Floats, defective: NDArray[np.bool_], counts: Floats) -> Floats:
    bad, good = scores[defective], scores[~defective]
    wins = np.sign(bad[:, np.newaxis] - good) / 2 + 0.5  # a tie is half a win
    pairs = counts[:, defective].sum(axis=1) * counts[:, ~defective].sum(axis=1)
    return np.einsum("rb,bg,rg->r", counts[:, defective], wins, counts[:, ~defective], optimize=True) / pairs


def _of_pixels(masks: NDArray[np.bool_], scores: Scores, counts: Floats) -> tuple[Floats, Floats]:
    """Pixel AUROC, and AUPRO: the mean fraction of a region that is found, over false-positive rates up to LIMIT."""
    quantiles = np.linspace(0, 1, LEVELS)
    maps = scores.maps
    edges = np.unique(np.concatenate([np.quantile(part, quantiles) for part in (maps[masks], maps[~masks])]))
    size = len(edges) + 1
    good, bad, share = (np.zeros((len(maps), size)) for _ in range(3))  # share: of regions, each weighing 1
    for i, (heatmap, mask) in enumerate(zip(maps, masks, strict=True)):
        level = len(edges) - np.searchsorted(edges, heatmap, side="right")  # the worst first
        good[i] = np.bincount(level[~mask], minlength=size)
        bad[i] = np.bincount(level[mask], minlength=size)
        labels, _ = ndimage.label(mask, TOUCHING)
        pixels = np.bincount(labels[mask])
        share[i] = np.bincount(level[mask], weights=1 / pixels[labels[mask]], minlength=size)
    false, true, overlap = (_rates(counts @ part) for part in (good, bad, share))
    auroc = np.array([trapezoid(y, x) for x, y in zip(false, true, strict=True)])
    aupro = np.array([_area(x, y) for x, y in zip(false, overlap, strict=True)])
    return auroc, aupro


def _aupimo(truth: Truth, maps: NDArray[np.float32], counts: Floats) -> Floats:
    """The mean fraction of a defective image's pixels that is found, over the logarithm of the false-positive rate.

    The rate counts pixels of good images alone. At each rate in STRICT the threshold is the lowest that it allows, so
    nothing lies between two pixels: 1e-5 of 20 good maps of 224x224 is ten pixels, and these touch each other in one
    map or two. The figure says what is found at a threshold that hardly any good image exceeds, and its interval is
    mostly about whether the worst good image is drawn. Source: Bertoldo et al. 2024, "AUPIMO".
    """
    good, bad = ~truth.defective, truth.defective
    low, high = STRICT
    pixels = maps[0].size
    most = min(pixels, int(high * good.sum() * pixels) + 1)  # of an image, if it is drawn every time
    highest = np.sort(maps[good].reshape(-1, pixels), axis=1)[:, -most:]
    values = np.unique(highest)[::-1]
    reached = np.stack([most - np.searchsorted(each, values) for each in highest])  # pixels of a value or more
    false = counts[:, good] @ reached / (pixels * counts[:, good].sum(axis=1, keepdims=True))
    widths = np.diff(np.log(np.clip(np.pad(false, ((0, 0), (1, 0))), low, high)), axis=1)
    found = zip(maps[bad], truth.masks[bad], strict=True)
    overlaps = np.stack([_fractions_over(values, each[mask]) for each, mask in found])
    mean = counts[:, bad] @ overlaps / counts[:, bad].sum(axis=1, keepdims=True)
    return np.asarray((mean * widths).sum(axis=1) / np.log(high / low))


def _fractions_over(values: NDArray[np.float32], pixels: NDArray[np.float32]) -> Floats:
    """What fraction of the pixels is larger than each value."""
    return 1 - np.searchsorted(np.sort(pixels), values, side="right") / len(pixels)


def _of_verdicts(defective: NDArray[np.bool_], rejected: NDArray[np.bool_] | None, counts: Floats) -> list[Floats]:
    """COUNTED: the fraction of good images that is rejected, and that of defective ones that is not, for each row."""
    if rejected is None:
        return [np.full(len(counts), np.nan)] * len(COUNTED)
    found = []
    for row in rejected:
        found += [_fraction(row, ~defective, counts), _fraction(~row, defective, counts)]
    return found


def _fraction(those: NDArray[np.bool_], among: NDArray[np.bool_], counts: Floats) -> Floats:
    return np.asarray(counts[:, those & among].sum(axis=1) / counts[:, among].sum(axis=1))


def _rates(histograms: Floats) -> Floats:
    """(R, levels) -> (R, 1 + levels), the fraction of all that is over a threshold, from 0 to 1."""
    over = np.cumsum(histograms, axis=1)
    return np.pad(over / over[:, -1:], ((0, 0), (1, 0)))


def _area(false: Floats, overlap: Floats) -> float:
    inside = false < LIMIT
    x = np.append(false[inside], LIMIT)
    y = np.append(overlap[inside], np.interp(LIMIT, false, overlap))
    return float(trapezoid(y, x) / LIMIT)


def verdict(figure: str, differences: Sequence[float] | Floats) -> str:
    """What differences of two methods in a figure, for each draw, say of the first; empty if one has no such figure."""
    low, high = interval(np.asarray(differences))
    if np.isnan(low):
        return ""
    if figure in COUNTED:
        low, high = -high, -low
    return "behind" if high < 0 else "ahead" if low > 0 else "level"
