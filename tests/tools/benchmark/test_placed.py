"""What matching by place costs and how it compares with exact search, against counts by hand and a naive sum."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spade_edge.galleries import BuildOptions, Built, build
from spade_edge.galleries.plan import bundle_bytes
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.network.card import Level, ModelCard
from spade_edge.tools.benchmark.matching_cost import matching_cost
from spade_edge.tools.cli.main import main


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory, model: Path, good_images: Path) -> Built:
    """A bundle whose cells are matched at most one cell from their place."""
    output = tmp_path_factory.mktemp("near") / "part.spade"
    return build(good_images, model=model, output=output, options=BuildOptions(place=1))


@pytest.mark.parametrize(("reach", "compared"), [(0, 1), (1, 3 * 3), (2, 3 * 5), (9, 3 * 11)])
def test_each_cell_is_compared_with_the_keys_around_it(reach: int, compared: int) -> None:
    card = ModelCard(
        backbone="none", weights={}, levels=(Level(1, 8, 3), Level(2, 16, 5)), image_level=2, image_channels=5,
        view=View(resize=(32, 96), size=(32, 96)), precision="fp32", parity={},
    )  # fmt: skip
    gallery = CodedGallery(  # 3 images of 2 x 6 cells
        card=card,
        levels=(np.zeros((3, 48, 3), np.uint8), np.zeros((3, 12, 5), np.uint8)),
        descriptors=np.zeros((3, 5), np.float32),
        names=("a", "b", "c"),
        coding=SimpleNamespace(key_weights=np.zeros((17, 6), np.int8)),  # type: ignore[arg-type]
        squares=np.zeros((36, 4), np.float32),
    )

    def cost(place: int) -> Any:
        matching = Matching(candidates=2, search="place", place=place)
        matcher = SimpleNamespace(gallery=gallery, matching=matching)
        return matching_cost(SimpleNamespace(matcher=matcher, bundle=SimpleNamespace(indexes=())))  # type: ignore[arg-type]

    found, none = cost(reach), cost(0)
    assert found.keys_gathered == pytest.approx(36 * 6 / 1e6)
    more = 36 * 6 * (compared - 1) / 1e6  # 36 keys of 6 numbers, at each place around a cell
    assert found.byte_products - none.byte_products == pytest.approx(more)
    assert (found.gathered, found.float_products) == (none.gathered, none.float_products)
    assert found.gathered == pytest.approx(12 * 2 * (4 * 3 + 9 * 5) / 1e6)


def test_a_bundle_matched_by_place_is_measured(near: Built, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", f"--bundle={near.path}", "--count", "2", "--recall", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["bundle"]["search"] == "place"
    assert value["work"]["keys_gathered"] == pytest.approx(8 * 16 * 64 / 1e6)  # every key once
    found = value["recall"]
    assert found["images"] is None and -1e-3 <= found["distance"] <= 0.05 and 0.9 <= found["same"] <= 1
    assert main(["bench", f"--bundle={near.path}", "--count", "1", "--recall", "--search", "exact", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["recall"] is None and value["work"] is None


def test_the_size_of_a_bundle_matched_by_place_is_known(near: Built) -> None:
    manifest = near.manifest
    rest = [role for role in manifest.files if role == "model" or role.startswith("golden") or role == "reference"]
    fixed = sum(manifest.files[role].size for role in rest)
    planned = bundle_bytes(manifest.model, manifest.matching, len(manifest.names), fixed)
    assert planned - fixed == pytest.approx(manifest.size - fixed, rel=0.01)
    assert planned < bundle_bytes(manifest.model, Matching(), len(manifest.names), fixed)
