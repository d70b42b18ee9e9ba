"""Two machines side by side: what agrees, what is told and what is refused. run.py itself takes minutes and qemu."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from arm64.comparison import Numbers, Row, compare
from arm64.score import largest_operands, score

from spade_edge.galleries import Built

INTEGERS = ("8-bit products", "codes of the same features", "keys of the same features")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, part) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    np.save(folder / "good.npy", part(101))
    np.save(folder / "flaw.npy", part(102, flaw=True))
    return folder


@pytest.fixture(scope="module")
def here(edge: Built, frames: Path) -> Numbers:
    return score(edge.path, frames)


def rows(here: Numbers, there: Numbers) -> dict[str, Row]:
    return {row.stage: row for row in compare(here, there)}


def changed(numbers: Numbers, name: str, array: object) -> Numbers:
    assert name in numbers
    return {**numbers, name: np.asarray(array)}


def test_a_machine_agrees_with_itself(edge: Built, frames: Path, here: Numbers) -> None:
    found = rows(here, score(edge.path, frames, given=here))
    assert [row.stage for row in found.values() if row.found or not row.passed] == []
    assert found["map, exact search"].limit == 1e-3
    assert found["verdict"].numbers == found["verdict, exact search"].numbers == 2
    assert all(found[stage].limit == 0 and found[stage].numbers > 1000 for stage in INTEGERS)


def test_products_are_held_against_numpy_of_the_other_machine(here: Numbers) -> None:
    wrong = here["good/products/level0"].copy()
    wrong[0, 0, 0] += 1
    both = {**here, "good/products/level0": wrong}  # the same mistake on both machines
    assert rows(both, both)["8-bit products"].found == 1


def test_the_largest_operands_come_close_to_what_16_bits_hold() -> None:
    left, right = (side.astype(int) for side in largest_operands(channels=64))
    assert (left.min(), left.max(), right.min(), right.max()) == (0, 127, -127, 127)
    pairs = left[:, :, 0::2, None] * right[:, None, 0::2] + left[:, :, 1::2, None] * right[:, None, 1::2]
    assert pairs.max() == -pairs.min() == 2 * 127 * 127 < 1 << 15
    assert 2 * 128 * 128 == 1 << 15  # what -128 would make of it


def test_work_on_bytes_is_compared_on_given_features(edge: Built, frames: Path, here: Numbers) -> None:
    """Another network does not make the bytes differ; that its own codes move is told, not refused."""
    noise = np.random.default_rng(0)
    given = {
        name: array * (1 + noise.normal(0, 0.01, array.shape)).astype(np.float32) if "/network/" in name else array
        for name, array in here.items()
    }
    found = rows(here, score(edge.path, frames, given=given))
    assert found["codes of the same features"].found > 0
    assert found["codes and keys of the own features"].found == 0
    there = {name: given[name] if "/network/" in name else array for name, array in here.items()}
    found = rows(here, there)
    assert 0.005 < found["features"].found < 0.1
    assert all(row.passed for row in found.values())


@pytest.mark.parametrize(
    ("name", "change", "stage"),
    [
        (
            "good/products/level0",
            lambda x: np.where(np.arange(x.size).reshape(x.shape) == 7, x + 1, x),
            "8-bit products",
        ),
        (
            "good/codes/level1",
            lambda x: x ^ (np.arange(x.size).reshape(x.shape) == 7).astype(np.uint8),
            "codes of the s",
        ),
        ("flaw/keys/keys", lambda x: x ^ np.uint8(1), "keys"),
        ("flaw/windows/level2", lambda x: x ^ np.int8(1), "windows"),
        ("good/cells/cells", lambda x: x[:, :, ::-1], "cells"),
        ("good/exactly/distances", lambda x: x * np.float32(1.0001), "exact distances"),
        ("flaw/exact/map", lambda x: x + np.float32(2e-3) * x.max(), "map, exact"),
        ("flaw/exact/map", lambda x: np.where(x == x.max(), np.float32(np.nan), x), "map, exact"),
        ("good/exact/verdict", lambda x: np.str_("cannot_judge"), "verdict, exact"),
        ("good/hnsw/verdict", lambda x: np.str_("cannot_judge"), "verdict"),
    ],
)
def test_what_differs_too_much_is_found(here: Numbers, name: str, change, stage: str) -> None:
    found = rows(here, changed(here, name, change(here[name])))
    failed = [label for label, row in found.items() if not row.passed]
    assert len(failed) == 1 and failed[0].startswith(stage)
    assert found[failed[0]].to_json()["passed"] is False


def test_what_the_network_moves_in_the_search_is_only_told(here: Numbers) -> None:
    found = rows(here, changed(here, "flaw/hnsw/map", here["flaw/hnsw/map"] * np.float32(1.004)))
    assert found["map"].found == pytest.approx(0.004, rel=1e-3)
    assert all(row.passed for row in found.values())


def test_machines_that_wrote_different_things_are_refused(here: Numbers) -> None:
    with pytest.raises(
        ValueError, match=r"expected the same arrays of both machines, found \['good/view/view'\] in one"
    ):
        compare(here, {name: array for name, array in here.items() if name != "good/view/view"})
    with pytest.raises(ValueError, match=r"good/exact/map: expected \(64, 64\) float32, found \(64, 64\) float64"):
        compare(here, changed(here, "good/exact/map", here["good/exact/map"].astype(np.float64)))
    with pytest.raises(ValueError, match=r"flaw/exact/map: expected \(64, 64\) float32, found \(32, 64\) float32"):
        compare(here, changed(here, "flaw/exact/map", here["flaw/exact/map"][:32]))


def test_a_bundle_without_codes_has_no_work_on_bytes(paper: Built, frames: Path) -> None:
    here = score(paper.path, frames)
    found = rows(here, here)
    assert "codes of the same features" not in found
    assert found["map, exact search"].numbers == 2 * 64 * 64
    assert found["exact distances of the same features"].numbers == 2 * 16 * 16
