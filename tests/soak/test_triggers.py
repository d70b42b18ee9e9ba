"""The trial of many triggers in short; `python tests/soak/triggers.py` is the long one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from soak.triggers import trial

from spade_edge.galleries import Built

pytest.importorskip("paho")


@pytest.mark.parametrize(("triggers", "seed"), [(400, 0), pytest.param(4000, 1, marks=pytest.mark.slow)])
def test_each_trigger_gets_one_decision_whatever_fails(edge: Built, tmp_path: Path, triggers: int, seed: int) -> None:
    bundle = Path(shutil.copytree(edge.path, tmp_path / "part.spade"))
    summary = trial(bundle, tmp_path, triggers=triggers, seed=seed)
    assert summary["failures"] == []
    assert isinstance(summary["triggers"], int) and summary["triggers"] >= triggers
