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

FIGURES = ("image AUROC", "pixel AUROC", "AUPRO")
LIMIT = 0.3  # false-positive rate up to which AUPRO is taken
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
    """

    images: Floats
    maps: NDArray[np.float32]
    milliseconds: Floats


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
        (3, R)
    """
    return np.stack([_image_auroc(scores.images, truth.defective, counts), *_of_pixels(truth.masks, scores, counts)])


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


def _rates(histograms: Floats) -> Floats:
    """(R, levels) -> (R, 1 + levels), the fraction of all that is over a threshold, from 0 to 1."""
    over = np.cumsum(histograms, axis=1)
    return np.pad(over / over[:, -1:], ((0, 0), (1, 0)))


def _area(false: Floats, overlap: Floats) -> float:
    inside = false < LIMIT
    x = np.append(false[inside], LIMIT)
    y = np.append(overlap[inside], np.interp(LIMIT, false, overlap))
    return float(trapezoid(y, x) / LIMIT)


def verdict(differences: Sequence[float] | Floats) -> str:
    """What differences of two methods, for each draw, say of the first."""
    low, high = interval(np.asarray(differences))
    return "behind" if high < 0 else "ahead" if low > 0 else "level"
