"""Power modes, clocks and releases of a Jetson."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from machines import (
    CPU,
    NO_FILE,
    Commands,
    computes,
    folder_of,
    found,
    orin,
)

from spade_edge.tools.hardware.commands import Answer


def test_power_modes_of_a_jetson(tmp_path: Path) -> None:
    machine = orin(tmp_path)

    def mode(answer: Answer) -> tuple[str, str]:
        one = found(replace(machine, run=Commands({"nvpmodel": answer}, computes(CPU))))["jetson power mode"]
        return one.state, one.found

    assert mode(Answer(0, "NV Power Mode: MAXN_SUPER\n2\n")) == ("ok", "MAXN_SUPER")
    assert mode(Answer(0, "NVPM VERB: Current mode: NV Power Mode: 7W\n3\n")) == ("note", "7W; MAXN_SUPER is faster")
    assert mode(NO_FILE) == ("note", "25W; MAXN_SUPER is faster")  # of its status file
    (tmp_path / "var/lib/nvpmodel/status").unlink()
    assert mode(NO_FILE)[1] == "not known here"
    folder_of(tmp_path, {"etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n"})
    assert mode(Answer(0, "NV Power Mode: 15W\n0\n")) == ("ok", "15W, the highest of this module")
    held = {"min_freq": "918000000", "max_freq": "918000000"}
    folder_of(tmp_path, {f"sys/class/devfreq/17000000.gpu/{name}": text for name, text in held.items()})
    assert found(machine)["jetson clocks"].state == "note"
    for policy in (0, 1):
        folder_of(tmp_path, {f"sys/devices/system/cpu/cpufreq/policy{policy}/scaling_min_freq": "1344000"})
    assert found(machine)["jetson clocks"].state == "ok"


def test_releases_of_a_jetson(tmp_path: Path) -> None:
    machine = orin(tmp_path)
    for line, state, says in (
        ("# R35 (release), REVISION: 5.0, GCID: 1", "note", "JetPack 5"),
        ("# R32 (release), REVISION: 7.1, GCID: 1", "note", "JetPack 4"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "ok", "L4T 38.2.0, JetPack 7"),
        ("# R39 (release), REVISION: 2.0, GCID: 1", "ok", "L4T 39.2.0, JetPack 7"),
        ("# R99 (release), REVISION: 1.0, GCID: 1", "ok", "L4T 99.1.0"),
    ):
        folder_of(tmp_path, {"etc/nv_tegra_release": line})
        one = found(machine)["jetson release"]
        assert (one.state, says in one.found) == (state, True), one
