"""Figures from histograms against scikit-learn and naive loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from quality.figures import (
    COUNTED,
    FIGURES,
    LIMIT,
    STRICT,
    Floats,
    Scores,
    Truth,
    draws,
    figures,
    interval,
    seen_mask,
    verdict,
)
from scipy import ndimage
from sklearn.metrics import roc_auc_score

N, SIDE = 14, 40


@pytest.fixture(scope="module")
def truth() -> Truth:
    rng = np.random.default_rng(0)
    masks = np.zeros((N, SIDE, SIDE), bool)
    for mask in masks[5:]:
        for _ in range(rng.integers(1, 4)):
            y, x = rng.integers(0, SIDE - 8, 2)
            mask[y : y + rng.integers(1, 8), x : x + rng.integers(1, 8)] = True
    return Truth(tuple(map(str, range(N))), masks.any(axis=(1, 2)), masks)


@pytest.fixture(scope="module")
def scores(truth: Truth) -> Scores:
    rng = np.random.default_rng(1)
    maps = (rng.normal(0, 1, truth.masks.shape) + truth.masks * rng.normal(1, 1, (N, 1, 1))).astype(np.float32)
    return Scores(np.round(maps.max(axis=(1, 2)), 1).astype(np.float64), maps, np.ones(N))


def named(found: Floats) -> dict[str, Floats]:
    """The figures by name, each (R,)."""
    return dict(zip(FIGURES, found, strict=True))


def naive_aupro(masks: np.ndarray, maps: np.ndarray) -> float:
    good = maps[~masks]
    rates, overlaps = [], []
    for threshold in [np.inf, *np.sort(np.unique(maps))[::-1]]:
        rates.append((good >= threshold).mean())
        shares = []
        for mask, heatmap in zip(masks, maps, strict=True):
            regions, count = ndimage.label(mask, np.ones((3, 3)))
            shares += [(heatmap[regions == number] >= threshold).mean() for number in range(1, count + 1)]
        overlaps.append(np.mean(shares))
        if rates[-1] > LIMIT:
            break
    fine = np.linspace(0, LIMIT, 20001)
    return float(np.interp(fine, rates, overlaps).mean())


@pytest.mark.slow
def test_the_figures_are_those_of_scikit_learn_and_of_naive_loops(truth: Truth, scores: Scores) -> None:
    found = named(figures(truth, scores, np.ones((1, N))))
    assert found["image AUROC"] == pytest.approx(roc_auc_score(truth.defective, scores.images), abs=1e-12)
    assert found["pixel AUROC"] == pytest.approx(roc_auc_score(truth.masks.ravel(), scores.maps.ravel()), abs=1e-4)
    assert found["AUPRO"] == pytest.approx(naive_aupro(truth.masks, scores.maps), abs=1e-3)


def naive_aupimo(defective: np.ndarray, masks: np.ndarray, maps: np.ndarray) -> float:
    good, thresholds = maps[~defective], np.append(np.unique(maps), np.inf)
    rates = np.array([(good > threshold).mean() for threshold in thresholds])
    middles = np.exp(np.linspace(*np.log(STRICT), 4001))
    middles = np.sqrt(middles[1:] * middles[:-1])
    areas = []
    for mask, heatmap in zip(masks[defective], maps[defective], strict=True):
        overlaps = np.array([(heatmap[mask] > threshold).mean() for threshold in thresholds])
        areas.append(np.mean([overlaps[rates <= rate].max() for rate in middles]))
    return float(np.mean(areas))


def test_aupimo_is_that_of_a_naive_loop_also_for_drawn_images_and_ties() -> None:
    rng = np.random.default_rng(2)
    defective, masks = np.arange(7) >= 3, np.zeros((7, 160, 160), bool)
    for i in range(3, 7):
        masks[i, 20 : 23 + i, 30:38] = True
    bumps = np.repeat(np.repeat(rng.normal(0, 1, (7, 40, 40)), 4, axis=1), 4, axis=2)
    maps = np.round(2 * bumps + rng.normal(0, 0.3, masks.shape) + masks * rng.uniform(2, 9, masks.shape), 2)
    truth, scores = Truth(tuple("abcdefg"), defective, masks), Scores(np.zeros(7), maps.astype(np.float32), np.ones(7))
    counts = draws(defective, times=3, seed=1)
    found = named(figures(truth, scores, counts))["AUPIMO"]
    assert found.min() > 0.2 and found.max() < 0.9 and len(np.unique(found)) == 4
    for value, count in zip(found, counts.astype(int), strict=True):
        drawn = np.repeat(np.arange(7), count)
        assert value == pytest.approx(naive_aupimo(defective[drawn], masks[drawn], scores.maps[drawn]), abs=1e-3)


def test_aupimo_ignores_the_surroundings_of_defects_and_regions_count_by_their_pixels(truth: Truth) -> None:
    maps = np.zeros(truth.masks.shape, np.float32)
    maps[truth.defective] = 5  # everywhere in defective images
    counts = np.ones((1, N))
    assert named(figures(truth, Scores(np.zeros(N), maps, np.ones(N)), counts))["AUPIMO"] == pytest.approx(1)
    masks = np.zeros((2, 20, 20), bool)
    masks[1, :2, :2] = masks[1, 10:16, 10:16] = True
    maps = np.zeros(masks.shape, np.float32)
    maps[1, :2, :2] = 1  # one region of two, 4 pixels of 40
    two = Truth(("a", "b"), np.array([False, True]), masks)
    assert named(figures(two, Scores(np.zeros(2), maps, np.ones(2)), np.ones((1, 2))))["AUPIMO"] == pytest.approx(0.1)


def test_rejects_and_misses_are_counted_for_each_draw_and_both_thresholds(truth: Truth, scores: Scores) -> None:
    rejected = np.random.default_rng(3).random((2, N)) < [[0.6], [0.3]]
    counts = draws(truth.defective, times=20, seed=0)
    found = named(figures(truth, Scores(scores.images, scores.maps, scores.milliseconds, rejected), counts))
    for r, count in enumerate(counts.astype(int)):
        drawn = np.repeat(np.arange(N), count)
        expected = []
        for row in rejected:
            expected += [np.mean([row[i] for i in drawn if i < 5]), np.mean([not row[i] for i in drawn if i >= 5])]
        assert [found[name][r] for name in COUNTED] == pytest.approx(expected)
    none = named(figures(truth, scores, counts))
    assert all(np.isnan(none[name]).all() for name in COUNTED)


@pytest.mark.slow
def test_drawing_an_image_twice_is_having_it_twice(truth: Truth, scores: Scores) -> None:
    counts = draws(truth.defective, times=3, seed=5)
    found = figures(truth, scores, counts)
    for column, count in zip(found[:3].T[1:], counts[1:].astype(int), strict=True):
        drawn = np.repeat(np.arange(N), count)
        defective, masks, maps = truth.defective[drawn], truth.masks[drawn], scores.maps[drawn]
        assert column[0] == pytest.approx(roc_auc_score(defective, scores.images[drawn]), abs=1e-12)
        assert column[1] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-4)
        assert column[2] == pytest.approx(naive_aupro(masks, maps), abs=1e-3)


def test_a_draw_has_as_many_good_and_defective_images_as_there_are(truth: Truth) -> None:
    counts = draws(truth.defective, times=50, seed=0)
    assert (counts[0] == 1).all()
    assert (counts[:, truth.defective].sum(axis=1) == truth.defective.sum()).all()
    assert (counts.sum(axis=1) == N).all()
    assert len(np.unique(counts, axis=0)) > 40
    np.testing.assert_array_equal(counts, draws(truth.defective, times=50, seed=0))


def test_only_the_order_of_scores_counts(truth: Truth, scores: Scores) -> None:
    counts = np.ones((1, N))
    other = Scores(np.exp(scores.images), np.exp(scores.maps), scores.milliseconds)
    np.testing.assert_allclose(figures(truth, other, counts), figures(truth, scores, counts), atol=1e-4)


def test_a_perfect_and_a_useless_method(truth: Truth) -> None:
    counts = draws(truth.defective, times=20, seed=0)
    perfect = Scores(truth.defective.astype(float), truth.masks.astype(np.float32), np.ones(N))
    np.testing.assert_allclose(figures(truth, perfect, counts)[:4], 1)
    same = Scores(np.zeros(N), np.zeros(truth.masks.shape, np.float32), np.ones(N))
    np.testing.assert_allclose(figures(truth, same, counts)[:4], [[0.5], [0.5], [LIMIT / 2], [0]] * np.ones((1, 21)))


def test_a_wide_defect_is_seen_where_half_is_covered_and_a_narrow_one_where_it_is_covered_most() -> None:
    mask = np.zeros((80, 80), bool)
    mask[20:33, 20:40] = True  # in a view eight times smaller: rows 2.5 to 4.125, columns 2.5 to 5
    mask[60, 50] = True
    seen = seen_mask(mask, (10, 10))
    expected = np.zeros((10, 10), bool)
    expected[2:4, 2:5] = True  # half of row 2, half of column 2
    expected[2, 2] = False  # where both meet a quarter
    expected[7, 6] = True
    np.testing.assert_array_equal(seen, expected)


def test_what_a_verdict_says() -> None:
    spread = np.linspace(0.01, 0.1, 100)
    assert verdict("AUPIMO", spread) == "ahead"
    assert verdict("AUPIMO", -spread) == "behind"
    assert verdict("AUPIMO", spread - 0.05) == "level"
    assert [verdict("missed", each) for each in (spread, -spread, spread - 0.05)] == ["behind", "ahead", "level"]
    assert verdict("missed", spread * np.nan) == ""
    assert interval(np.array([9.0, *spread])) == (pytest.approx(0.01225), pytest.approx(0.09775))
