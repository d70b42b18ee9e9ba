"""Thresholds with a stated false-reject rate against naive counting, SciPy's distributions and simulated lines."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from evidence import evidence
from numpy.typing import NDArray

from spade_edge.galleries import binomial, conformal
from spade_edge.galleries.conformal import Limit, check_rate, images_needed, lowest_rate
from spade_edge.runtime import UsageError

RATES = [Fraction(1, d) for d in (2, 3, 4, 5, 7, 8, 10, 16, 20, 25, 50, 64, 99, 100)] + [
    Fraction(n, d) for n, d in ((2, 3), (3, 4), (9, 10), (99, 100), (1, 3), (3, 7), (3, 10), (7, 10), (29, 100))
]


def limit(scores: Iterable[float], *, rate: float | None = None) -> Limit:
    """The limit of scores of different parts; the lowest rate that they certify unless one is given."""
    parts = evidence(scores)
    return conformal.limit(parts, rate=lowest_rate(parts.parts) if rate is None else rate)


def rate_of(scores: Iterable[float], value: float) -> tuple[float, tuple[float, float]]:
    return conformal.rate_of(evidence(scores), value)


def naive(scores: list[float], rate: Fraction) -> tuple[float, Fraction] | None:
    """The smallest score of which the conformal rate is not over the wanted one, found one by one; None for none."""
    # Of the scores and a frame's, which is one like them, those that come after a score are over it.
    for after, value in zip(range(len(scores), 0, -1), sorted(scores), strict=True):
        if after * rate.denominator <= rate.numerator * (len(scores) + 1):
            return value, Fraction(after, len(scores) + 1)
    return None


@pytest.mark.parametrize("count", [*range(1, 26), 63, 98, 99, 100, 127, 199, 399])
def test_ranks_are_those_of_naive_counting(count: int) -> None:
    scores = np.random.default_rng(count).gamma(2, 3, count).tolist()
    overs = range(1, count + 1) if count < 26 else (1, 2, 3, count // 10, count // 3)
    boundaries = {Fraction(over, count + 1) for over in overs}  # (n + 1)(1 - α) is a whole number
    for rate in sorted(boundaries | set(RATES)):
        expected = naive(scores, rate)
        if expected is None:
            assert rate < Fraction(1, count + 1)
            continue
        found = limit(scores, rate=float(rate))
        assert (found.value, found.basis) == (expected[0], "certified"), rate
        assert found.rate == pytest.approx(float(expected[1]), rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 8, 99, 500])
def test_without_a_rate_it_is_the_lowest_that_can_be_certified(count: int) -> None:
    scores = np.random.default_rng(count).normal(5, 1, count).tolist()
    assert limit(scores) == limit(scores, rate=lowest_rate(count))
    assert limit(scores).value == max(scores) and limit(scores).rate == 1 / (count + 1)


def test_one_image() -> None:
    for rate in (None, 0.5, 0.9):
        found = limit([7.0], rate=rate)
        assert (found.value, found.rate, found.basis) == (7.0, 0.5, "certified")
    assert found.interval == pytest.approx((0.025, 0.975))  # of a uniform distribution
    with pytest.raises(UsageError, match="0.5, .* found 0.4"):
        limit([7.0], rate=0.4)


def test_ties_never_reject_more_than_is_stated() -> None:
    scores = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0]
    for rate in (0.1, 0.2, 0.3, 0.5, 0.8):
        found = limit(scores, rate=rate)
        assert found.value == naive(scores, Fraction(str(rate)))[0]  # type: ignore[index]
        assert (np.count_nonzero(np.array(scores) > found.value) + 1) / 10 <= found.rate <= rate + 1e-12
    assert limit([4.0] * 12).value == 4.0
    for rate in (0.05, 1e-6):  # no tail to follow
        assert limit([4.0] * 12, rate=rate).value == 4.0


def test_the_order_of_the_images_does_not_matter() -> None:
    scores = np.random.default_rng(0).gamma(2, 3, 30)
    shuffled = np.random.default_rng(1).permutation(scores)
    for rate in (None, 0.3, 0.05, 0.001):
        assert limit(scores.tolist(), rate=rate) == limit(shuffled.tolist(), rate=rate)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 20, 99, 400])
def test_the_interval_is_scipys_beta(count: int) -> None:
    scores = np.random.default_rng(count).normal(size=count).tolist()
    for over in {1, 2, count // 3 + 1, count}:
        if over > count:
            continue
        found = limit(scores, rate=over / (count + 1))
        expected = scipy.stats.beta(over, count + 1 - over).ppf([0.025, 0.975])
        assert found.interval == pytest.approx(tuple(expected), rel=1e-6, abs=1e-9)
        assert found.interval[0] < found.rate < found.interval[1]


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 99), (3, 5), (40, 2), (17, 300), (1, 2000), (500, 500)])
def test_the_beta_distribution_is_scipys(first: int, second: int) -> None:
    for x in np.linspace(0, 1, 41).tolist():
        expected = scipy.stats.beta.cdf(x, first, second)
        assert binomial.beta_probability(first, second, x) == pytest.approx(expected, abs=1e-9)
        # The identity that it is taken from: of n tosses at least `first` come up.
        assert expected == pytest.approx(scipy.stats.binom.sf(first - 1, first + second - 1, x), abs=1e-9)


def test_the_chi_squared_quantile_is_scipys_to_a_hundredth() -> None:
    for degrees in (10, 11, 14, 20, 40, 100, 1000):
        for share in (0.025, 0.975):
            expected = scipy.stats.chi2.ppf(share, degrees)
            assert conformal._chi_squared(degrees, share) == pytest.approx(expected, rel=0.01)


def nearest(points: NDArray[np.float64], gallery: NDArray[np.float64], *, itself: bool) -> NDArray[np.float64]:
    """Squared distance of (..., m, d) points to the nearest of (..., n, d), but for itself if it is among them."""
    differences = points[..., :, None, :] - gallery[..., None, :, :]
    squares = np.einsum("...d,...d->...", differences, differences)
    if itself:
        squares[..., range(points.shape[-2]), range(points.shape[-2])] = np.inf
    return squares.min(axis=-1)


LINES = {
    "a ball": lambda rng, shape: rng.normal(size=(*shape, 3)),
    "heavy tails": lambda rng, shape: rng.standard_t(2, size=(*shape, 2)),
    "two kinds of part": lambda rng, shape: rng.normal(size=(*shape, 2)) + 9.0 * rng.integers(0, 2, (*shape, 1)),
    "few different parts": lambda rng, shape: rng.integers(0, 12, (*shape, 1)).astype(float),  # ties
}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(("count", "rate"), [(4, None), (19, None), (19, 0.2), (40, 0.1), (49, 0.02)])
def test_good_frames_are_rejected_no_more_often_than_stated(line: str, count: int, rate: float | None) -> None:
    """The promise itself: gallery and frames are drawn alike, scores are distances to the nearest."""
    rng = np.random.default_rng(7)
    repetitions, fresh = 600, 40
    points = LINES[line](rng, (repetitions, count + fresh))
    gallery, frames = points[:, :count], points[:, count:]
    scores = nearest(gallery, gallery, itself=True)
    found = [limit(own.tolist(), rate=rate) for own in scores]
    assert {one.basis for one in found} == {"certified"}
    thresholds = np.array([one.value for one in found])
    rejected = (nearest(frames, gallery, itself=False) > thresholds[:, None]).mean(axis=1)
    error = rejected.std(ddof=1) / np.sqrt(repetitions)
    assert rejected.mean() <= found[0].rate + 3 * error
    if line == "a ball":  # and the threshold is not bought by accepting everything
        assert rejected.mean() >= 0.5 * found[0].rate


@pytest.mark.parametrize("count", [10, 14, 30, 200])
@pytest.mark.parametrize("seed", range(4))
def test_beyond_the_largest_score_lower_rates_give_higher_thresholds(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.gamma(2, 3, count) if seed % 2 else rng.pareto(2, count)).tolist()
    rates = lowest_rate(count) * np.array([0.999, 0.7, 0.3, 0.1, 0.01, 1e-3])
    found = [limit(scores, rate=rate) for rate in rates.tolist()]
    assert {one.basis for one in found} == {"extrapolated"}
    values = [one.value for one in found]
    assert values == sorted(values) and values[0] >= max(scores) and values[-1] > max(scores)
    for one, rate in zip(found, rates, strict=True):
        assert one.rate == pytest.approx(rate)
        assert 0 <= one.interval[0] < one.interval[1] < 1
        if one.value > max(scores):  # else the largest score stands where the tail would be lower
            assert one.interval[0] < one.rate < one.interval[1]


def test_an_exponential_tail_is_followed_to_the_truth() -> None:
    rng = np.random.default_rng(3)
    found = [limit(rng.exponential(2.0, 100).tolist(), rate=0.001) for _ in range(600)]
    true = np.exp(-np.array([one.value for one in found]) / 2.0)  # the rate that each threshold really has
    assert np.log(true).mean() == pytest.approx(np.log(0.001), abs=0.35)
    within = np.mean([low <= rate <= high for (low, high), rate in zip((o.interval for o in found), true, strict=True)])
    assert within >= 0.9


@pytest.mark.parametrize(("count", "tail"), [(10, 5), (24, 5), (29, 5), (30, 6), (50, 10)])
def test_the_tail_is_a_fifth_of_the_scores_and_at_least_five(count: int, tail: int) -> None:
    scores = np.random.default_rng(count).gamma(2, 3, count)
    *_, start = sorted(scores, reverse=True)[: tail + 1]
    excess = [score - start for score in scores if score > start]
    assert len(excess) == tail
    value = start + np.mean(excess) * np.log(tail / (count * 1e-3))
    assert limit(scores.tolist(), rate=1e-3).value == pytest.approx(value)


def test_an_extrapolation_moves_with_the_scores() -> None:
    """Another unit of the scores is another unit of the threshold, nothing else."""
    scores = np.random.default_rng(5).gamma(2, 3, 50)
    plain, scaled = limit(scores.tolist(), rate=0.002), limit((1000 * scores + 7).tolist(), rate=0.002)
    assert scaled.value == pytest.approx(1000 * plain.value + 7)
    assert scaled.interval == pytest.approx(plain.interval)


def test_its_words_are_expected_found_remedy() -> None:
    with pytest.raises(
        UsageError,
        match="expected a false-reject rate of at least 0.111, which 8 parts certify, found 0.01; "
        "take images of 99 parts for that, or of 10 for an extrapolation",
    ):
        limit(range(8), rate=0.01)
    for rate in (0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=f"found {rate:g}"):
            limit(range(20), rate=rate)
    assert limit(range(9), rate=0.1).basis == "certified"
    with pytest.raises(UsageError, match="9 parts certify"):
        limit(range(9), rate=0.0999)
    assert limit(range(10), rate=0.05).basis == "extrapolated"


@pytest.mark.parametrize(
    ("count", "rate", "refused"),
    [(2, None, 0), (2, 0.3, 1), (2, 0.34, 0), (9, 0.05, 1), (10, 1e-6, 0), (98, 0.01, 0), (99, 0.01, 0)],
)
def test_a_rate_is_refused_beforehand_if_it_is_afterwards(count: int, rate: float | None, refused: int) -> None:
    scores = np.random.default_rng(0).normal(size=count).tolist()
    for attempt in (lambda: check_rate(rate, count), lambda: limit(scores, rate=rate)):
        if refused:
            with pytest.raises(UsageError, match=f"{count} parts certify"):
                attempt()
        else:
            attempt()


def test_images_needed_undoes_the_lowest_rate() -> None:
    for count in (*range(1, 1000), 10**4, 10**5, 10**6):
        assert images_needed(lowest_rate(count)) == count
    for rate in (0.5, 0.1, 0.05, 0.01, 0.005, 0.002, 0.001, 0.3, 0.07, 1e-4):
        exact = Fraction(str(rate))
        count = images_needed(rate)
        assert Fraction(1, count + 1) <= exact and (count == 1 or Fraction(1, count) > exact)
        assert limit(range(count), rate=rate).basis == "certified"
        check_rate(rate, count)
    assert images_needed(0.9) == 1


def test_the_rate_of_a_threshold_set_by_hand_is_counted() -> None:
    scores = [1.0, 2.0, 2.0, 3.0, 5.0, 8.0, 8.0, 9.0]
    for value in (0.5, 1.0, 2.0, 2.5, 5.0, 8.0, 8.5, 9.0, 100.0):
        over = sum(score > value for score in scores)
        rate, interval = rate_of(scores, value)
        assert rate == pytest.approx((over + 1) / 9)
        assert 0 <= interval[0] <= interval[1] <= 1
        assert interval[1] == pytest.approx(scipy.stats.beta.ppf(0.975, over + 1, 8 - over) if over < 8 else 1)
    for rank in range(1, 9):  # where no scores are equal, a score set manually is the score by its rate
        own = limit(range(8), rate=rank / 9)
        rate, interval = rate_of(range(8), own.value)
        assert rate == pytest.approx(own.rate) and interval[1] == pytest.approx(own.interval[1])


@pytest.mark.parametrize("value", [-1.0, 0.5, 3.5, 7.5, 1e9])
def test_the_interval_by_hand_holds_the_truth(value: float) -> None:
    """Clopper and Pearson's, for a threshold that was not chosen by looking at these scores, lies inside."""
    scores = np.arange(8.0)
    over = int((scores > value).sum())
    _, (low, high) = rate_of(scores.tolist(), value)
    assert low <= (scipy.stats.beta.ppf(0.025, over, 9 - over) if over else 0) + 1e-9
    assert high >= (scipy.stats.beta.ppf(0.975, over + 1, 8 - over) if over < 8 else 1) - 1e-9


def test_a_limit_cannot_be_changed() -> None:
    found = limit(range(10))
    with pytest.raises(AttributeError):
        found.value = 3.0  # type: ignore[misc]
    assert isinstance(found, Limit)
