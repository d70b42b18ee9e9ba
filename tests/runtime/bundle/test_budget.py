"""A bundle that would take far more memory than its files is refused before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from altered import altered
from cards import card_of
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build
from spade_edge.runtime import BundleError, Scorer, UsageError
from spade_edge.runtime.bundle import budget
from spade_edge.runtime.bundle.budget import check_budget, frame_bytes
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE
from spade_edge.runtime.geometry.layout import Layout
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.distances import CELLS
from spade_edge.runtime.network.card import ModelCard

USUAL = card_of((224, 224), (4, 256), (8, 512), (16, 1024))
WHOLE = Layout()
MB = 10**6


def tiles(count: int) -> Layout:
    return Layout(frame=(224, 224 * count), boxes=tuple((224 * i, 0, 224, 224) for i in range(count)))


@pytest.mark.parametrize(
    ("card", "matching", "layout"),
    [
        (USUAL, Matching(), WHOLE),
        (USUAL, Matching(candidates=100, kappa=30), WHOLE),
        (USUAL, Matching(search="place", place=64, candidates=40), WHOLE),
        (USUAL, Matching(projection="none", search="exact", neighbours=50, kappa=100), WHOLE),
        (USUAL, Matching(gallery="per-view"), tiles(24)),
        (card_of((1024, 1024), (4, 256), (8, 512), (16, 1024)), Matching(), WHOLE),
        (card_of((448, 448), (4, 32), (32, 320)), Matching(), WHOLE),
        (card_of((224, 224), (14, 1536)), Matching(), WHOLE),
    ],
)
def test_what_people_use_is_allowed(card: ModelCard, matching: Matching, layout: Layout) -> None:
    check_budget(card, matching, layout, images=200, size=300 * MB)


@pytest.mark.parametrize(
    ("card", "matching", "reason"),
    [
        (card_of((224, 224), (1, 1), (32, 1)), Matching(), "windows|candidates"),
        (card_of((256, 256), (1, 1), (256, 1)), Matching(), "windows|candidates"),
        (card_of((8192, 8192), (4, 256), (8, 512), (16, 1024)), Matching(), "views|candidates"),
        (card_of((8192, 8192), (4, 64)), Matching(projection="none", search="exact"), "smaller view"),
        (USUAL, Matching(candidates=4096), "4,096 candidates"),
        (USUAL, Matching(search="place", place=64, candidates=4096), "candidates"),
        (card_of((2048, 2048), (16, 8)), Matching(search="place", place=64), "search"),
        (card_of((4096, 4096), (4, 8)), Matching(search="exact", kappa=100), "--kappa"),
        (card_of((2048, 2048), (16, 8)), Matching(ef=65536), "search"),
    ],
)
def test_what_no_machine_can_hold_is_refused_with_the_reason(card: ModelCard, matching: Matching, reason: str) -> None:
    with pytest.raises(UsageError, match=f"at most 1,600 MB .*found .*({reason})") as caught:
        check_budget(card, matching, WHOLE, images=200, size=400 * MB)
    assert "\n" not in str(caught.value)


def test_files_of_any_size_allow_a_gigabyte_and_large_ones_four_times_their_size() -> None:
    matching = Matching(candidates=400)
    taken = sum(frame_bytes(USUAL, matching, WHOLE, images=200).values())
    assert 1 << 30 < taken < 4 << 30
    check_budget(USUAL, matching, WHOLE, images=200, size=taken // 4 + 1)
    with pytest.raises(UsageError):
        check_budget(USUAL, matching, WHOLE, images=200, size=taken // 4 - 1)
    check_budget(USUAL, Matching(candidates=200), WHOLE, images=200, size=1)


def test_the_table_of_distances_is_counted_for_each_view() -> None:
    # Distances of every embedding from those of 12 cells, kept until the frame is done.
    table = 4 * (56 * 56) * 12 * 16
    one, two = (sum(frame_bytes(USUAL, Matching(), tiles(count), images=9).values()) for count in (5, 6))
    assert table <= two - one < 1.6 * table  # and its part of the map
    assert CELLS == 28  # the estimate of what threads take beside it was measured with that


def test_no_more_candidates_than_there_are_cells_take_memory() -> None:
    few = frame_bytes(USUAL, Matching(candidates=4096), WHOLE, images=1)
    assert few == frame_bytes(USUAL, Matching(candidates=196), WHOLE, images=1)


HUGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a view of 8,192": lambda v: v["model"]["view"].update(size=[8192, 8192], resize=[8192, 8192]),
    "a resized frame of 16,384": lambda v: v["model"]["view"].update(resize=[16384, 16384]),
    "a stride of 1": lambda v: (
        v["model"]["levels"][0].update(stride=1, channels=1),
        v["model"]["levels"][2].update(stride=64),
    ),
}


@pytest.mark.parametrize("lie", HUGE)
def test_a_bundle_is_refused_by_its_manifest_alone(edge: Built, tmp_path: Path, lie: str) -> None:
    value = json.loads((edge.path / FILE).read_text())
    HUGE[lie](value)
    (tmp_path / FILE).write_text(json.dumps(value))  # no other file is there
    with pytest.raises(BundleError, match="to take at most 1,074 MB"):
        Bundle.open(tmp_path)


def test_a_kappa_that_takes_hours_is_refused(edge: Built, paper: Built, tmp_path: Path) -> None:
    for number, built in enumerate((edge, paper)):
        copy = altered(built.path, tmp_path / f"{number}.spade", "matching", kappa=10_000)
        with pytest.raises(BundleError, match="kappa from 1 to 100,"):
            Bundle.open(copy)


def test_more_candidates_than_cells_change_nothing(
    edge: Built, part: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    every = Scorer.open(altered(edge.path, tmp_path / "128.spade", "matching", candidates=128))(part(30))
    more = Scorer.open(altered(edge.path, tmp_path / "4096.spade", "matching", candidates=4096))
    found = more(part(30))
    assert found.score == every.score and np.array_equal(found.heatmap, every.heatmap)
    descriptors = [np.zeros(more.session.card.image_channels, np.float32)]
    keys = np.zeros((16, 64), np.uint8)
    assert more.matcher.candidates(descriptors, keys, views=[0]).shape == (1, 16, 128)


def test_a_build_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, model: Path, good_images: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(budget, "LEAST", 1000)
    monkeypatch.setattr(budget, "TIMES", 0)
    with pytest.raises(UsageError, match="expected a frame to take at most 0 MB"):
        build(good_images, model=model, output=tmp_path / "a.spade", options=BuildOptions(), announce=_never)
    assert not (tmp_path / "a.spade").exists()


def _never(plan: object) -> None:
    raise AssertionError("the work has begun")


def test_the_budget_holds_for_bundles_of_every_profile(edge: Built, paper: Built) -> None:
    for built in (edge, paper):
        manifest = built.manifest
        for layout in (manifest.layout, tiles(3)):
            parts = frame_bytes(manifest.model, manifest.matching, layout, images=len(manifest.names))
            assert min(parts.values()) > 0
        check_budget(manifest.model, replace(manifest.matching), manifest.layout, images=8, size=manifest.size)
