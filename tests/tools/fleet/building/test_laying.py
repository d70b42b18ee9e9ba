"""Laying a bundle where another state of it lies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fleet_tasks import Here

from spade_edge.galleries import BuildOptions
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.fleet.building import build_fleet, survey
from spade_edge.tools.fleet.plan import FleetPlan


@pytest.mark.parametrize("what", ["gone", "cut"])
def test_a_bundle_with_a_file_that_is_gone_or_cut_is_laid_anew(planned: Callable[..., FleetPlan], what: str) -> None:
    plan, here = planned(bolt=BuildOptions(place="free")), Here()
    (row,) = build_fleet(plan, lambda: here)
    for payload in Manifest.read(row.path).files.values():
        file = row.path / payload.name
        raw = file.read_bytes()
        file.unlink()
        if what == "cut":
            file.write_bytes(raw[:-1])
        assert [each.state for each in survey(plan)] == ["from the cache"]
        (again,) = build_fleet(plan, lambda: here)
        assert (again.state, again.manifest, file.read_bytes()) == ("from the cache", row.manifest, raw)
    assert [each.state for each in build_fleet(plan, lambda: here)] == ["unchanged"]
    assert here.ran == ["bolt"]
    Scorer.open(row.path, threads=1)
