"""Keys: computed anew here, the same for the same work, and another one for each thing that matters."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spade_edge.galleries import BuildOptions, Views
from spade_edge.runtime.matching.config import Matching
from spade_edge.tools.datasets import Entry
from spade_edge.tools.fleet.keys import key_of_bundle, software
from spade_edge.tools.fleet.settings import files_of, from_json, to_json, with_files

ENTRIES = (Entry("a.png", "/x/a.png", "1" * 64, 10), Entry("b.png", "s3://y/b.png", "2" * 64, 20, group="g"))
VERSIONS = {"onnxruntime": "1.32"}


def key(
    entries: tuple[Entry, ...] = ENTRIES,
    *,
    model: str = "3" * 64,
    files: dict[str, str] | None = None,
    versions: dict[str, str] = VERSIONS,
    **options: Any,
) -> str:
    return key_of_bundle(entries, model=model, options=BuildOptions(**options), files=files or {}, versions=versions)


def test_a_key_is_the_hash_of_all_that_matters() -> None:
    text = (
        '{"images":[["a.png","' + "1" * 64 + '",""],["b.png","' + "2" * 64 + '","g"]],"model":"' + "3" * 64 + '",'
        '"options":{"align":"auto","area":0.0,"bits":null,"even_so":false,"exclude":[],"groups":null,'
        '"matching":null,"place":"auto","profile":"edge","rate":null,"skip_bad":false,'
        '"views":{"auto":false,"mask":null,"overlap":null,"regions":[],"tile":null}},'
        '"software":{"onnxruntime":"1.32"}}'
    )
    assert key() == hashlib.sha256(text.encode()).hexdigest()


def test_what_does_not_matter() -> None:
    moved = tuple(replace(entry, address="gs://z/" + entry.name, time="2026-01-01T00:00:00+00:00") for entry in ENTRIES)
    assert key(moved[::-1]) == key()
    assert key(threads=2) == key(created="2026-01-01T00:00:00+00:00") == key(follow_links=True) == key()
    there = Views(mask=Path("/here/mask.png"))
    elsewhere = Views(mask=Path("/there/other.png"))
    assert key(views=there, files={"mask": "4" * 64}) == key(views=elsewhere, files={"mask": "4" * 64})


def test_everything_else_matters() -> None:
    keys = [
        key(),
        key(ENTRIES[:1]),
        key((replace(ENTRIES[0], sha256="5" * 64), ENTRIES[1])),
        key((replace(ENTRIES[0], name="c.png"), ENTRIES[1])),
        key((replace(ENTRIES[0], group="g"), ENTRIES[1])),
        key(model="6" * 64),
        key(versions={"onnxruntime": "1.33"}),
        key(views=Views(mask=Path("m.png")), files={"mask": "7" * 64}),
        key(views=Views(mask=Path("m.png")), files={"mask": "8" * 64}),
        key(groups="t.csv", files={"groups": "7" * 64}),
        *(
            key(**{name: value})
            for name, value in {
                "profile": "paper", "matching": Matching(kappa=2), "place": 1, "views": Views(auto=True), "rate": 0.1,
                "area": 4.0, "groups": "folder", "exclude": ("a.png",), "skip_bad": True, "bits": 12, "even_so": True,
                "align": "off",
            }.items()
        ),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys) == 22


def test_every_option_comes_back_from_json(tmp_path: Path) -> None:
    options = BuildOptions(
        profile="paper",
        matching=Matching(neighbours=5, kappa=2, sigma=3.5, place=2, search="place", candidates=7),
        place=2,
        views=Views(tile=(64, 96), overlap=8, regions=((0, 1, 200, 300), (5, 6, 100, 100)), mask=tmp_path / "m.png"),
        rate=0.02,
        area=3.0,
        groups=str(tmp_path / "g.CSV"),
        exclude=("a", "b"),
        skip_bad=True,
        bits=10,
        even_so=True,
        align="off",
        follow_links=True,
        threads=3,
        created="2026-01-01T00:00:00+00:00",
    )
    assert from_json(json.loads(json.dumps(to_json(options)))) == options
    assert from_json(json.loads(json.dumps(to_json(BuildOptions())))) == BuildOptions()
    assert files_of(options) == {"mask": tmp_path / "m.png", "groups": tmp_path / "g.CSV"}
    moved = with_files(options, {"mask": Path("/w/mask.png"), "groups": Path("/w/groups.csv")})
    assert moved == replace(options, views=replace(options.views, mask=Path("/w/mask.png")), groups="/w/groups.csv")
    assert files_of(BuildOptions(groups="folder")) == {}


def test_versions_are_those_of_the_packages() -> None:
    import cv2
    import numpy as np
    import onnxruntime

    pytest.importorskip("hnswlib")
    found = software()
    assert (found["numpy"], found["onnxruntime"], found["opencv"]) == (
        np.__version__, onnxruntime.__version__, cv2.__version__,
    )  # fmt: skip
    assert set(found) == {"spade-edge", "schema", "numpy", "onnxruntime", "opencv", "hnswlib"}
    assert "none" not in found.values()
