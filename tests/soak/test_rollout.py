"""The roll-out to many devices in short; `python tests/soak/rollout.py` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from oci_registries import SERVER

pytest.importorskip("oras")
if SERVER is None:
    pytest.skip("docker-registry is not installed", allow_module_level=True)

from soak.rollout import simulate


@pytest.mark.parametrize(("devices", "seed"), [(8, 0), pytest.param(60, 1, marks=pytest.mark.slow)])
def test_every_device_has_one_whole_bundle_whatever_fails(tmp_path: Path, devices: int, seed: int) -> None:
    summary = simulate(tmp_path, devices=devices, seed=seed, workers=2)
    assert summary["failures"] == []
    assert (
        summary["taken_at_the_first_try"] + summary["taken_after_more_tries"] + sum(summary["stayed"].values())
        == devices
    )
    assert summary["requests"] > devices and summary["bytes_of_a_device"] < summary["bytes_of_the_bundle"]
