"""How untypical good images are, on maps made by naive comparison of small images, and on real bundles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.galleries.leave_one_out import LeaveOneOut, leave_one_out
from spade_edge.galleries.untypical import Untypical, untypical
from spade_edge.runtime import Scorer
from spade_edge.runtime.geometry.layout import WHOLE, Canvas, Layout
from spade_edge.runtime.geometry.view import View

CANVAS = Canvas(WHOLE, View((32, 32), (32, 32)))


class World:
    """Images compared pixel by pixel: a map is the smallest difference from any other part, its maximum the score."""

    def __init__(self, images: NDArray[np.float64], groups: list[int] | None = None) -> None:
        self.images = images.astype(np.float32)
        self.groups = list(range(len(images))) if groups is None else groups
        self.passes: list[NDArray[np.bool_]] = []

    def __call__(self, included: NDArray[np.bool_]) -> LeaveOneOut:
        self.passes.append(included.copy())
        maps = []
        for own, group in zip(self.images, self.groups, strict=True):
            others = [o for o, g, kept in zip(self.images, self.groups, included, strict=True) if kept and g != group]
            maps.append(np.min([np.abs(own - other) for other in others], axis=0))
        scores = tuple(float(own.max()) for own in maps)
        return LeaveOneOut(scores, scores, np.array(maps), np.zeros_like(maps[0]))

    def judged(self, included: NDArray[np.bool_] | None = None, canvas: Canvas = CANVAS) -> tuple[Untypical, ...]:
        kept = np.ones(len(self.images), bool) if included is None else included
        first = self(kept)
        self.passes.clear()
        return untypical(first, groups=self.groups, included=kept, canvas=canvas, rescored=self)


def good(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Noise, stronger in some images: by up to a third, evenly, so that none of them is odd."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (count, 32, 32)) * rng.permutation(np.linspace(1, 1.3, count))[:, None, None]


def values(found: tuple[Untypical, ...]) -> NDArray[np.float64]:
    return np.array([image.value for image in found])


def test_a_single_odd_image_is_found_and_its_place_named() -> None:
    images = good(20)
    images[7, 24:30, 2:8] += 9
    world = World(images)
    found = world.judged()
    assert np.argmax(values(found)) == 7
    assert np.flatnonzero(values(found) > 1).tolist() == [7]
    assert [np.flatnonzero(~kept).tolist() for kept in world.passes] == [[7]]
    assert found[7].region == (2 / 32, 24 / 32, 6 / 32, 6 / 32)
    assert found[7].reason.startswith("differs most at the lower left, in 4% of the frame; scores ")
    assert found[7].reason.endswith(" times as high as good images usually do")
    assert all(image.reason == "" for number, image in enumerate(found) if number != 7)


def test_alike_defects_do_not_hide_each_other() -> None:
    """Two scratches match each other but for the end of one. Once that image is set aside, both stand out."""
    images = good(20)
    images[3:5, 4:8, 10:22] += 9
    images[4] = images[3]  # to be hidden completely
    images[3, 20:22, 10:12] += 9
    world = World(images)
    scores = np.array(world(np.ones(20, bool)).scores)
    assert np.argmax(scores) == 3
    assert np.argmin(scores) == 4
    found = world.judged()
    assert sorted(np.argsort(values(found))[-2:].tolist()) == [3, 4]
    assert np.flatnonzero(values(found) > 1).tolist() == [3, 4]
    assert found[4].reason.endswith("once images that are untypical in the same way are left out")
    assert "left out" not in found[3].reason
    assert [np.flatnonzero(~kept).tolist() for kept in world.passes] == [[3], [3, 4]]


def test_images_without_an_odd_one_are_scored_once() -> None:
    world = World(good(20))
    assert values(world.judged()).max() < 1
    assert world.passes == []


def test_a_third_of_the_parts_may_be_set_aside() -> None:
    images = good(21)
    for number in range(9):  # each in a place of its own
        images[number, 3 * number : 3 * number + 2] += 5 + number
    world = World(images)
    world.judged()
    assert np.flatnonzero(~world.passes[0]).tolist() == [2, 3, 4, 5, 6, 7, 8]


def test_a_part_counts_once() -> None:
    """Twelve images of one odd part would make it the usual one."""
    images = np.concatenate([good(10), np.repeat(good(1, seed=1) + 6, 12, axis=0)])
    found = World(images, groups=[*range(10), *[10] * 12]).judged()
    assert (values(found)[10:] > 1).all()
    assert (values(found)[:10] < 1).all()


def test_excluded_images_are_judged_but_count_for_nothing() -> None:
    images = good(24, seed=3)
    images[16:, :4] += 9  # eight of a kind, excluded
    included = np.arange(24) < 16
    world = World(images)
    found = world.judged(included)
    assert (values(found)[16:] > 1).all()
    assert world.passes == []
    without = World(images[:16]).judged()
    np.testing.assert_allclose(values(found)[:16], values(without))


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_equal_images_are_all_typical(count: int) -> None:
    world = World(np.ones((count, 32, 32)))
    assert world.judged() == tuple([Untypical(value=0.0, region=None, reason="")] * count)


def test_one_that_differs_from_equal_images() -> None:
    images = np.ones((40, 32, 32))
    images[0, 3, 30] += 1
    found = World(images).judged()
    assert np.flatnonzero(values(found) > 1).tolist() == [0]
    assert found[0].reason == "differs most at the upper right, in less than 1% of the frame; " + (
        "scores higher than good images usually do"
    )


@pytest.mark.parametrize("count", [2, 3])
def test_of_two_or_three_usual_images_none_is_untypical(count: int) -> None:
    for seed in range(20):
        assert values(World(good(count, seed)).judged()).max() < 1


def test_the_value_is_1_at_the_robust_limit() -> None:
    scores = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0)  # median 4.5, median deviation 2
    maps = np.zeros((8, 32, 32), np.float32)
    again = LeaveOneOut(scores, scores, maps, maps[0])
    found = untypical(again, groups=range(8), included=np.ones(8, bool), canvas=CANVAS, rescored=lambda kept: again)
    # Set aside once: median 4 and median deviation 2 of the other seven.
    limit = 4 + 2.5 * (1 + 4 / 7) * 1.4826 * 2
    np.testing.assert_allclose(values(found), (np.array(scores) - 4) / (limit - 4))


def test_the_place_is_where_the_map_is_furthest_over_its_baseline() -> None:
    """Every good image differs most at the lower right, the odd one a little less there, and at the top too."""
    baseline = np.zeros((32, 32), np.float32)
    baseline[28:, 28:] = 10
    maps = np.tile(baseline, (20, 1, 1))
    maps[7, :4, 14:18] = 8
    scores = tuple(8.0 if number == 7 else 1 + number / 100 for number in range(20))
    left_out = LeaveOneOut(scores, scores, maps, baseline)
    found = untypical(
        left_out, groups=range(20), included=np.ones(20, bool), canvas=CANVAS, rescored=lambda kept: left_out
    )
    assert found[7].region == (14 / 32, 0, 4 / 32, 4 / 32)
    assert found[7].reason.startswith("differs most at the top, in 2% of the frame; scores 7.3 times as high as")


def test_regions_are_fractions_of_the_frame_where_views_cover_a_part_of_it() -> None:
    """One region of interest, the lower right quarter of a frame of 64x64."""
    canvas = Canvas(Layout(frame=(64, 64), boxes=((32, 32, 32, 32),)), View((32, 32), (32, 32)))
    images = good(20)
    images[7, :4, :4] += 9
    found = World(images).judged(canvas=canvas)
    assert found[7].region == (0.5, 0.5, 4 / 64, 4 / 64)
    assert "in the middle, in less than 1% of the frame" in found[7].reason


def test_scores_from_descriptors_are_judged_without_maps() -> None:
    scores = tuple([2.0, 2.1, 1.9, 2.05] * 5 + [8.0])

    def never(kept: NDArray[np.bool_]) -> LeaveOneOut:
        raise AssertionError("maps may be slow")

    found = untypical(
        LeaveOneOut(scores, scores), groups=range(21), included=np.ones(21, bool), canvas=CANVAS, rescored=never
    )
    assert np.flatnonzero(values(found) > 1).tolist() == [20]
    assert found[20] == Untypical(
        value=found[20].value, region=None, reason="scores 3.9 times as high as good images usually do"
    )


@pytest.mark.parametrize("name", ["shared", "per-view", "masked", "regions, vectors", "per-view, no codes"])
def test_real_maps_of_several_views(with_views: Callable[[str], Built], tmp_path: Path, name: str) -> None:
    """The grey one of the six frames is found by every kind of gallery, or all are typical; nothing is not a number."""
    scorer = Scorer.open(with_views(name).path)
    groups = tuple(range(6))

    def rescored(kept: NDArray[np.bool_]) -> LeaveOneOut:
        return leave_one_out(
            scorer.matcher,
            scorer.stitching,
            groups=groups,
            included=kept,
            scratch=tmp_path / f"{kept.sum()}.npy",
            progress=lambda items, label: items,
        )

    every = np.ones(6, bool)
    found = untypical(rescored(every), groups=groups, included=every, canvas=scorer.stitching.canvas, rescored=rescored)
    assert np.argmax(values(found)) == 4
    assert np.isfinite(values(found)).all()
    for image in found:
        assert (image.value > 1) == (image.reason != "")
        if image.region is not None:
            x, y, width, height = image.region
            assert 0 <= x < x + width <= 1.000001
            assert 0 <= y < y + height <= 1.000001
