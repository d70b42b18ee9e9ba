"""Images, model and cache in an object store: a real S3 server on loopback, and workers that find it by themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleet_tasks import Here
from object_stores import s3_server

from spade_edge.galleries import BuildOptions, pack
from spade_edge.tools.fleet.building import build_fleet
from spade_edge.tools.fleet.executors import Processes
from spade_edge.tools.fleet.plan import FleetPlan


@pytest.mark.slow
def test_everything_lies_in_an_object_store(tmp_path: Path, images: Path, model: Path, planned: Any) -> None:
    with s3_server() as s3:
        bucket = s3.bucket()
        s3.upload(f"{bucket}/bolts", images)
        s3.upload(f"{bucket}/models", model.parent)
        local = planned(output="one", bolt=BuildOptions(place="free"), nut=BuildOptions(place="free", area=4.0))
        bolt, nut = (
            replace(bundle, images=f"{bucket}/bolts", model=f"{bucket}/models/{model.name}", shards=shards)
            for bundle, shards in zip(local.bundles, (1, 2), strict=True)
        )
        plan = FleetPlan((bolt, nut), tmp_path / "one", f"{bucket}/cache")
        assert [row.state for row in build_fleet(plan, lambda: Processes(2))] == ["built", "built"]
        here = Here()
        assert [row.state for row in build_fleet(plan, lambda: here)] == ["unchanged", "unchanged"]
        other = replace(plan, output=tmp_path / "other")
        assert [row.state for row in build_fleet(other, lambda: here)] == ["from the cache", "from the cache"]
        assert here.ran == []
        for name in ("bolt", "nut"):
            one, two = (
                pack(tmp_path / place / f"{name}.spade", tmp_path / f"{place}.tar").path.read_bytes()
                for place in ("one", "other")
            )
            assert one == two
        s3.delete(f"{bucket}/bolts/3.npy")
        rows = build_fleet(plan, lambda: here, only=("bolt",))
        assert [row.state for row in rows] == ["built"]  # of five images
        assert rows[0].facts["images"] == 5
