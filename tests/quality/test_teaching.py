"""What a rate is worth after teaching: on numbers on a line, where the answer is known, and on a small rendered set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from quality.teaching import Table, compared, level, rows, states, summary

from spade_edge.galleries import BuildOptions

GOOD, BAD, SPLITS = 100, 20, 60


@pytest.fixture(scope="module")
def line() -> Table:
    """Images of one number each; the distance is that of two numbers, and nothing smooths it."""
    rng = np.random.default_rng(3)
    numbers = np.concatenate([rng.standard_normal(GOOD), rng.choice([-1, 1], BAD) * rng.uniform(2, 5, BAD)])
    apart = np.abs(numbers[:, np.newaxis] - numbers).astype(np.float16)[:, :, np.newaxis]
    apart[np.arange(len(numbers)), np.arange(len(numbers))] = np.inf
    return Table(apart, lambda own: own, lambda heatmap: float(heatmap[0]))


@pytest.fixture(scope="module")
def found(line: Table) -> dict[str, NDArray[np.float64]]:
    """For each way to teach, (splits, 3): promised, found, missed."""
    kinds: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows(line, np.arange(GOOD), np.arange(GOOD, GOOD + BAD), splits=SPLITS, rate=0.1):
        rates = row["rejected"] / row["good"], row["missed"] / row["defects"]
        kinds.setdefault(row["taught"], []).append((row["promised"], *rates))
    return {kind: np.array(own) for kind, own in kinds.items()}


def over(own: NDArray[np.float64]) -> float:
    """By how many standard errors the rate found is over the rate promised."""
    excess = own[:, 1] - own[:, 0]
    return float(excess.mean() / (excess.std(ddof=1) / np.sqrt(len(excess))))


@pytest.mark.parametrize(
    "taught",
    ["as built", "rejects", "rejects, four times", "high frames", "near high images", "as they come", "three defects"],
)
def test_the_promise_is_kept_whatever_is_taught(found: dict[str, NDArray[np.float64]], taught: str) -> None:
    assert over(found[taught]) < 2


@pytest.mark.parametrize("taught", ["near high images, matched", "high images excluded"])
def test_rules_that_are_not_used_break_the_promise(found: dict[str, NDArray[np.float64]], taught: str) -> None:
    assert over(found[taught]) > 3


def test_counting_rejects_as_evidence_misses_more_defects(found: dict[str, NDArray[np.float64]]) -> None:
    more = found["rejects, counted"][:, 2] - found["rejects"][:, 2]
    assert more.mean() > 3 * more.std(ddof=1) / np.sqrt(len(more))


def test_teaching_makes_no_reject_of_what_was_good(line: Table) -> None:
    every = np.random.default_rng(0).permutation(GOOD)
    build, seen, frames = every[:40], every[40:80], np.concatenate([every[80:], np.arange(GOOD, GOOD + 15)])
    kept = dict(states(line, build, seen, np.arange(GOOD + 15, GOOD + 18), rate=0.1, rng=np.random.default_rng(1)))
    before = set(kept["as built"].rejected(line, frames))
    for taught in ("rejects", "rejects, four times", "high frames", "near high images", "three defects"):
        after = kept[taught]
        assert after.threshold == kept["as built"].threshold and len(after.gallery) > len(build)
        assert set(after.rejected(line, frames)) <= before
    assert set(kept["three defects"].rejected(line, frames)) < before


def test_with_one_distance_rejects_move_no_threshold_even_if_the_evidence_is_matched_with_them(line: Table) -> None:
    """Each is farther than the threshold from every image of the build, so no score at or under it can fall."""
    found = 0
    for seed in range(20):
        every = np.random.default_rng(seed).permutation(GOOD)
        build, seen = every[:40], every[40:]
        scores = line.maps(build, build)[:, 0]
        threshold = np.sort(scores)[36]
        rejects = seen[line.maps(seen, build)[:, 0] > threshold]
        matched = line.maps(build, np.concatenate([build, rejects]))[:, 0]
        assert np.sort(matched)[36] == threshold
        found += len(rejects)
    assert found > 20


def test_a_small_rendered_set_is_compared_split_and_counted(
    tiny_model: Path, part: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    data, scratch = tmp_path / "set", tmp_path / "scratch"
    for folder, seeds in (("train/good", range(20)), ("test/good", range(20, 30)), ("test/spot", range(40, 46))):
        (data / folder).mkdir(parents=True)
        for seed in seeds:
            cv2.imwrite(str(data / folder / f"{seed}.png"), part(seed, flaw=seed >= 40))
    scratch.mkdir()
    table, good, bad = compared(data, scratch, tiny_model, BuildOptions(threads=1))
    assert len(good) == 30 and bad.tolist() == list(range(30, 36))
    found = list(rows(table, good, bad, splits=2))
    assert found == list(rows(table, good, bad, splits=2))
    for row in found:
        assert 0 <= row["rejected"] <= row["good"] == 9 and 0 <= row["missed"] <= row["defects"] <= 6
        assert 0 < row["promised"] < 1
    lines = summary(found)
    assert len(lines) == len({row["taught"] for row in found}) and lines[0].startswith("| as built | 9.1% |")
    assert level(table, good, bad, splits=2).startswith("9.1% | ")


def test_the_level_lets_most_good_rejects_in_and_stops_what_is_far_outside(line: Table) -> None:
    found = re.fullmatch(
        r"8\.3% \| (\d+)% of (\d+) \| (\d+)% of (\d+) \|",
        level(line, np.arange(GOOD), np.arange(GOOD, GOOD + BAD), splits=20, rate=0.1),
    )
    assert found is not None
    let, rejects, stopped, defects = map(int, found.groups())
    assert let > 40 and 50 < rejects < 0.2 * 20 * GOOD and stopped > 50 and 20 * BAD / 2 < defects <= 20 * BAD
