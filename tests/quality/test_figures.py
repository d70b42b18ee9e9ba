"""Figures from histograms against scikit-learn and naive loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from quality.figures import LIMIT, Scores, Truth, draws, figures, interval, seen_mask, verdict
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
    image, pixel, aupro = figures(truth, scores, np.ones((1, N)))[:, 0]
    assert image == pytest.approx(roc_auc_score(truth.defective, scores.images), abs=1e-12)
    assert pixel == pytest.approx(roc_auc_score(truth.masks.ravel(), scores.maps.ravel()), abs=1e-4)
    assert aupro == pytest.approx(naive_aupro(truth.masks, scores.maps), abs=1e-3)


@pytest.mark.slow
def test_drawing_an_image_twice_is_having_it_twice(truth: Truth, scores: Scores) -> None:
    counts = draws(truth.defective, times=3, seed=5)
    found = figures(truth, scores, counts)
    for column, count in zip(found.T[1:], counts[1:].astype(int), strict=True):
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
    np.testing.assert_allclose(figures(truth, perfect, counts), 1)
    same = Scores(np.zeros(N), np.zeros(truth.masks.shape, np.float32), np.ones(N))
    np.testing.assert_allclose(figures(truth, same, counts), [[0.5], [0.5], [LIMIT / 2]] * np.ones((1, 21)))


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
    assert verdict(spread) == "ahead"
    assert verdict(-spread) == "behind"
    assert verdict(spread - 0.05) == "level"
    assert interval(np.array([9.0, *spread])) == (pytest.approx(0.01225), pytest.approx(0.09775))
