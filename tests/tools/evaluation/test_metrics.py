"""Metrics against scikit-learn, scipy and naive loops; bounded memory; masks brought to maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, stats
from scipy.integrate import trapezoid
from sklearn import metrics as oracle

from spade_edge.galleries.binomial import clopper_pearson
from spade_edge.tools.evaluation.metrics import (
    PixelTally,
    Rate,
    TruthOnMap,
    auroc,
    average_precision,
    f1_max,
    roc,
    truth_on_map,
)

Mask = NDArray[np.bool_]
Map = NDArray[np.float32]


def naive_aupro(maps: list[Map], masks: list[Mask], seen: list[Mask], *, limit: float = 0.3) -> float:
    """As Bergmann et al. define it: every value a threshold, every region on its own, nothing binned."""
    values = np.concatenate([heat[see] for heat, see in zip(maps, seen, strict=True)])
    truth = np.concatenate([mask[see] for mask, see in zip(masks, seen, strict=True)])
    regions = []
    for heat, mask, see in zip(maps, masks, seen, strict=True):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [heat[(labels == label) & see] for label in range(1, count + 1)]
    regions = [region for region in regions if len(region)]
    thresholds = np.unique(values)[::-1]
    good = values[~truth]
    rates = [0.0] + [float((good >= t).mean()) for t in thresholds]
    overlaps = [0.0] + [float(np.mean([(region >= t).mean() for region in regions])) for t in thresholds]
    area = 0.0
    for i in range(len(rates) - 1):
        step, rise = rates[i + 1] - rates[i], overlaps[i + 1] - overlaps[i]
        inside = min(step, limit - rates[i])
        if step > 0 and inside > 0:
            area += inside * (overlaps[i] + rise * inside / step / 2)
    return area / limit


def on_same_grid(mask: Mask, seen: Mask | None = None) -> TruthOnMap:
    height, width = mask.shape
    return truth_on_map(mask, size=(height, width), extent=(0, 0, width, height), looked_at=seen)


def tally_of(maps: list[Map], masks: list[Mask], seen: list[Mask] | None = None) -> PixelTally:
    tally = PixelTally()
    for i, (heat, mask) in enumerate(zip(maps, masks, strict=True)):
        see = None if seen is None else seen[i]
        tally.add(heat, on_same_grid(mask, see) if mask.any() else None, looked_at=see)
    return tally


def scene(seed: int, *, count: int = 6, size: tuple[int, int] = (24, 31)) -> tuple[list[Map], list[Mask]]:
    """Smooth random maps that rise a little in random blotches; the first has none."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for i in range(count):
        mask = ndimage.gaussian_filter(rng.normal(size=size), 2) > (np.inf if i == 0 else 0.18)
        heat = ndimage.gaussian_filter(rng.gamma(2, 100, size), 1.5) + 25 * mask * rng.uniform(0, 2)
        maps.append(heat.astype(np.float32))
        masks.append(mask)
    return maps, masks


# Images


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ties", [None, 2, 0])
def test_image_metrics_are_scikit_learns(seed: int, ties: int | None) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 200))
    positive = rng.random(size) < 0.4
    positive[:2] = (True, False)
    scores = rng.normal(size=size) + positive
    scores = scores if ties is None else scores.round(ties)
    assert auroc(scores, positive).value == pytest.approx(oracle.roc_auc_score(positive, scores), abs=1e-12)
    precision = oracle.average_precision_score(positive, scores)
    assert average_precision(scores, positive).value == pytest.approx(precision, abs=1e-12)
    everything = np.array(oracle.roc_curve(positive, scores, drop_intermediate=False)[:2]).T
    curve = np.array(roc(scores, positive))
    assert (curve[0] == 0).all() and (curve[-1] == 1).all()
    assert all(np.isclose(everything, point, atol=1e-12).all(axis=1).any() for point in curve)
    (dx, dy), (x, y) = np.diff(curve, axis=0).T, curve[:-1].T
    assert all(np.isclose(dx * (b - y), dy * (a - x), atol=1e-12).any() for a, b in everything)
    assert (dx[1:] * dy[:-1] != dx[:-1] * dy[1:]).all() and trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(
        auroc(scores, positive).value, abs=1e-12
    )
    # F1 by trying every score.
    every = [(oracle.f1_score(positive, scores >= score), score) for score in scores]
    best, threshold = f1_max(scores, positive)
    assert (best.value, threshold) == (pytest.approx(max(every)[0], abs=1e-12), threshold)
    assert oracle.f1_score(positive, scores >= threshold) == pytest.approx(max(every)[0], abs=1e-12)


def test_equal_scores_are_a_coin() -> None:
    scores, positive = np.full(7, 3.0), np.arange(7) < 3
    assert auroc(scores, positive).value == 0.5 and roc(scores, positive) == ((0, 0), (1, 1))
    assert average_precision(scores, positive).value == pytest.approx(3 / 7)
    assert f1_max(scores, positive)[0].value == pytest.approx(2 * 3 / (7 + 3)) and f1_max(scores, positive)[1] == 3.0


def test_what_one_class_leaves_undefined() -> None:
    for positive, reason in (
        (np.array([], bool), "no image was scored"),
        (np.array([False]), "no defective image was scored"),
        (np.array([True, True]), "no good image was scored"),
    ):
        scores = np.arange(len(positive), dtype=float)
        for metric in (auroc(scores, positive), average_precision(scores, positive), f1_max(scores, positive)[0]):
            assert metric.value is None and metric.reason == reason
        assert f1_max(scores, positive)[1] is None and roc(scores, positive) == ()


def test_one_image_of_each_class() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([False, True])).value == 1.0
    assert auroc(np.array([2.0, 1.0]), np.array([False, True])).value == 0.0


# Rates


@pytest.mark.parametrize("of", [1, 2, 7, 20, 333, 20_000])
def test_intervals_are_clopper_and_pearsons(of: int) -> None:
    for count in {0, 1, of // 7, of // 2, of - 1, of}:
        low, high = clopper_pearson(count, of)
        assert low == pytest.approx(stats.beta.ppf(0.025, count, of - count + 1) if count else 0.0, abs=1e-9)
        assert high == pytest.approx(stats.beta.ppf(0.975, count + 1, of - count) if count < of else 1.0, abs=1e-9)
        assert low <= count / of <= high


def test_a_rate_among_none_has_no_share() -> None:
    assert Rate.among(0, 0) == Rate(0, 0, None, None, None)
    assert Rate.among(1, 4).fraction == 0.25


# Pixels


@pytest.mark.parametrize("seed", range(6))
def test_pixel_metrics_are_the_exact_ones(seed: int) -> None:
    maps, masks = scene(seed)
    tally = tally_of(maps, masks)
    everything = np.concatenate([heat.ravel() for heat in maps]), np.concatenate([mask.ravel() for mask in masks])
    assert tally.auroc().value == pytest.approx(oracle.roc_auc_score(everything[1], everything[0]), abs=1e-4)
    exact = naive_aupro(maps, masks, [np.ones_like(mask) for mask in masks])
    assert tally.aupro().value == pytest.approx(exact, abs=1e-4)
    assert tally.regions == sum(ndimage.label(mask, np.ones((3, 3)))[1] for mask in masks) and tally.unseen == 0
    curve = np.array(tally.pro())
    assert tuple(curve[0]) == (0, 0) and curve[-1, 0] == pytest.approx(0.3) and (np.diff(curve, axis=0) >= 0).all()
    assert trapezoid(curve[:, 1], curve[:, 0]) / 0.3 == pytest.approx(exact, abs=2e-3)  # thinned out
    assert len(tally.pro(points=20)) <= 22 and tally.pro(points=20)[-1] == tally.pro()[-1]


@pytest.mark.parametrize("seed", range(3))
def test_pixels_not_looked_at_do_not_count(seed: int) -> None:
    maps, masks = scene(seed)
    rng = np.random.default_rng(seed)
    seen = [np.asarray(ndimage.gaussian_filter(rng.normal(size=mask.shape), 3) > -0.05) for mask in masks]
    tally = tally_of([np.where(see, heat, 0) for heat, see in zip(maps, seen, strict=True)], masks, seen)
    values = np.concatenate([heat[see] for heat, see in zip(maps, seen, strict=True)])
    truth = np.concatenate([mask[see] for mask, see in zip(masks, seen, strict=True)])
    assert tally.auroc().value == pytest.approx(oracle.roc_auc_score(truth, values), abs=1e-4)
    assert tally.aupro().value == pytest.approx(naive_aupro(maps, masks, seen), abs=1e-4)


def test_values_far_apart_below_0_and_tied() -> None:
    rng = np.random.default_rng(0)
    for values in (
        10.0 ** rng.uniform(-30, 30, (40, 40)),
        rng.normal(size=(40, 40)),
        rng.integers(-2, 3, (40, 40)) * 1.0,
        np.where(rng.random((40, 40)) < 0.5, -0.0, 0.0),
    ):
        heat, mask = values.astype(np.float32), rng.random((40, 40)) < 0.2
        tally = tally_of([heat], [mask])
        exact = oracle.roc_auc_score(mask.ravel(), heat.ravel())
        assert tally.auroc().value == pytest.approx(exact, abs=1e-4)
        assert tally.aupro().value == pytest.approx(naive_aupro([heat], [mask], [mask | True]), abs=1e-4)


def test_maps_of_one_value() -> None:
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    tally = tally_of([np.full((9, 9), 5, np.float32)], [mask])
    assert tally.auroc().value == 0.5
    assert tally.aupro().value == pytest.approx(0.15)  # a straight line up to 0.3, over 0.3


@pytest.mark.parametrize("found", [True, False])
def test_a_mask_of_one_pixel(found: bool) -> None:
    heat, mask = np.arange(100, dtype=np.float32).reshape(10, 10), np.zeros((10, 10), bool)
    mask[(9, 9) if found else (0, 0)] = True
    tally = tally_of([heat], [mask])
    assert tally.auroc().value == tally.aupro().value == (1.0 if found else 0.0)


def test_all_pixels_defective_or_none_is_undefined() -> None:
    heat = np.ones((3, 3), np.float32)
    assert PixelTally().auroc().reason == "no image was scored"
    assert tally_of([heat], [np.ones((3, 3), bool)]).aupro().reason == "no good pixel was inspected"
    tally = tally_of([heat], [np.zeros((3, 3), bool)])
    assert tally.auroc().value is None and tally.auroc().reason == "no defective pixel was inspected"
    assert tally.pro() == () and tally.aupro().value is None


def test_a_region_where_nothing_is_looked_at_is_counted_apart() -> None:
    mask, seen = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    mask[1:3, 1:3] = mask[5:7, 5:7] = True
    seen[:4] = False
    tally = tally_of([mask.astype(np.float32)], [mask], [seen])
    assert (tally.regions, tally.unseen) == (1, 1) and tally.aupro().value == 1.0


def test_huge_counts_do_not_overflow() -> None:
    """As many pixels as ten thousand images of 4096 x 4096 have, from a stream that repeats one small map."""
    maps, masks = scene(1)
    tally = tally_of(maps, masks)
    before = tally.auroc().value, tally.aupro().value
    arrays = tally.to_arrays()
    for name in ("good", "defective", "overlap"):
        arrays[name] = arrays[name] * 50_000_000
    tally = PixelTally.from_arrays(arrays)
    assert int(arrays["good"].sum()) > 1.6e11
    assert (tally.auroc().value, tally.aupro().value) == pytest.approx(before, abs=1e-12)


def test_a_long_stream_in_memory_that_does_not_grow() -> None:
    rng = np.random.default_rng(0)
    tally = PixelTally()
    sizes = []
    for _ in range(60):
        heat = rng.gamma(2, 100, (64, 64)).astype(np.float32)
        tally.add(heat, on_same_grid(heat > 600) if (heat > 600).any() else None)
        sizes.append(len(tally.to_arrays()["bins"]))
    assert tally.images == 60 and tally.auroc().value == 1.0
    assert sizes[-1] < 60 * 64 * 64 / 2 and sizes[-1] - sizes[-2] < (sizes[1] - sizes[0]) / 2


def test_a_tally_goes_on_as_if_it_had_not_been_put_away() -> None:
    maps, masks = scene(2)
    whole, half = tally_of(maps, masks), PixelTally.from_arrays(tally_of(maps[:3], masks[:3]).to_arrays())
    for heat, mask in zip(maps[3:], masks[3:], strict=True):
        half.add(heat, on_same_grid(mask))
    assert half.auroc() == whole.auroc() and half.aupro() == whole.aupro() and half.pro() == whole.pro()
    assert (half.images, half.regions, half.unseen) == (whole.images, whole.regions, whole.unseen)


def test_a_map_that_is_not_finite_is_refused() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            PixelTally().add(np.full((2, 2), value, np.float32), None)


# Masks on maps


def naive_area(mask: Mask, size: tuple[int, int], extent: tuple[float, float, float, float], fine: int = 40) -> Map:
    """The fraction of each of the map's pixels that is defective, by looking at many points inside."""
    x, y, width, height = extent
    rows = y + (np.arange(size[0] * fine) + 0.5) * height / (size[0] * fine)
    columns = x + (np.arange(size[1] * fine) + 0.5) * width / (size[1] * fine)
    points = mask[rows.astype(int)][:, columns.astype(int)]
    return points.reshape(size[0], fine, size[1], fine).mean(axis=(1, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("frame", "size", "extent"),
    [
        ((90, 120), (30, 30), (0, 0, 120, 90)),  # coarser, squeezed
        ((20, 16), (48, 64), (0, 0, 16, 20)),  # finer
        ((90, 120), (23, 17), (7.5, 10.25, 100, 61.75)),  # a part, at odds with the pixels
        ((50, 50), (50, 50), (0, 0, 50, 50)),
    ],
)
def test_a_map_pixel_is_defective_if_half_of_it_is(
    frame: tuple[int, int], size: tuple[int, int], extent: tuple[float, float, float, float]
) -> None:
    y, x = np.mgrid[: frame[0], : frame[1]]
    mask = np.asarray(((x - 0.6 * frame[1]) ** 2 + (y - 0.4 * frame[0]) ** 2) < (0.3 * min(frame)) ** 2)
    truth = truth_on_map(mask, size=size, extent=extent)
    share = naive_area(mask, size, extent)
    decided = np.abs(share - 0.5) > 0.03  # of the points' coarseness
    assert (truth.defective == (share >= 0.5))[decided].all() and truth.defective.any()
    assert truth.weights.sum() == pytest.approx(1) and (truth.regions, truth.unseen) == (1, 0)
    assert ((truth.weights > 0) == truth.defective).all()


def test_fine_scratches_and_single_pixels_stay_whole() -> None:
    mask = np.zeros((100, 100), bool)
    mask[50, 5:95] = True  # a tenth of the map's pixels
    mask[10, 10] = mask[99, 99] = mask[0, 99] = True  # also in the corners
    truth = truth_on_map(mask, size=(10, 10), extent=(0, 0, 100, 100))
    assert truth.regions == 4 and truth.unseen == 0
    assert truth.defective[5].all() and truth.defective[1, 1] and truth.defective[9, 9] and truth.defective[0, 9]
    assert truth.defective.sum() == 13 and truth.weights.sum() == pytest.approx(4)


def test_regions_are_counted_on_the_mask_and_touch_at_corners() -> None:
    mask = np.zeros((40, 40), bool)
    mask[0:4, 0:4] = mask[4:8, 4:8] = True  # one region: their corners touch
    mask[20, 20] = mask[20, 22] = True  # two regions in one of the map's pixels
    truth = truth_on_map(mask, size=(10, 10), extent=(0, 0, 40, 40))
    assert truth.regions == 3
    assert truth.weights[0, 0] == truth.weights[1, 1] == 0.5 and truth.weights[5, 5] == 2.0
    assert truth.defective.sum() == 3


def test_defects_beyond_the_map_are_unseen() -> None:
    mask = np.zeros((40, 40), bool)
    mask[0:6, 0:6] = True  # outside
    mask[8:20, 8:14] = True  # half outside
    truth = truth_on_map(mask, size=(20, 20), extent=(10, 10, 20, 20))
    assert (truth.regions, truth.unseen) == (1, 1)
    assert truth.defective.sum() == 10 * 4 and truth.defective[:10, :4].all()
    # What is seen of a region is not made larger by what is not: the edge is as elsewhere.
    mask = np.zeros((40, 40), bool)
    mask[0:22, 0:31] = True
    assert truth_on_map(mask, size=(2, 2), extent=(20, 20, 20, 20)).unseen == 1
