"""Temperatures, throttling and clocks as benchmarks record them."""

from __future__ import annotations

from pathlib import Path

import pytest
from machines import ORIN, PC, PI, Commands, clocks, folder_of, host

from spade_edge.tools.hardware.clock import current_clocks
from spade_edge.tools.hardware.heat import Throttling, zones
from spade_edge.tools.hardware.host import Host

PI_BITS = "sys/devices/platform/soc/soc:firmware/get_throttled"
THERMAL = "sys/class/thermal/thermal_zone"


def machine(root: Path, files: dict[str, str]) -> Host:
    return host(root, files, Commands({}, {}))


def test_sensors_that_work_are_zones(tmp_path: Path) -> None:
    values = {"0": ("cpu", "61500"), "1": ("off", "0"), "2": ("PMIC-Die", "100000"), "3": ("odd", "-274000")}
    files = {f"{THERMAL}{i}/type": label for i, (label, _) in values.items()}
    files |= {f"{THERMAL}{i}/temp": temp for i, (_, temp) in values.items()} | {f"{THERMAL}10/temp": "42000"}
    found = [(zone.label, zone.celsius) for zone in zones(machine(tmp_path, files))]
    assert found == [("cpu", 61.5), ("thermal_zone10", 42.0)]


@pytest.mark.parametrize(
    ("files", "later", "slowed"),
    [
        (PC, {}, False),
        (PC, {"sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "13"}, True),
        (ORIN, {}, False),
        (ORIN, {"sys/class/hwmon/hwmon3/oc1_event_cnt": "1"}, True),
        (PI | {PI_BITS: "0"}, {}, False),
        (PI | {PI_BITS: "50000"}, {}, False),  # before, and not again
        (PI | {PI_BITS: "0"}, {PI_BITS: "40000"}, True),  # between two readings
        (PI | {PI_BITS: "50000"}, {PI_BITS: "50004"}, True),  # now
        (PI | {PI_BITS: "50000"}, {PI_BITS: "d0000"}, True),  # of another kind than before
    ],
)
def test_a_machine_that_was_slowed_down_says_so(
    files: dict[str, str], later: dict[str, str], slowed: bool, tmp_path: Path
) -> None:
    one = machine(tmp_path, files)
    before = Throttling.of(one)
    folder_of(tmp_path, later)
    after = Throttling.of(one)
    assert before is not None and after is not None and after.since(before) is slowed


@pytest.mark.parametrize("files", [PI, {}, PI | {PI_BITS: "no number"}])
def test_what_a_machine_does_not_say_is_unknown(files: dict[str, str], tmp_path: Path) -> None:
    assert Throttling.of(machine(tmp_path, files)) is None


def test_clocks_of_cores_and_none_in_a_virtual_machine(tmp_path: Path) -> None:
    policies = clocks(2, governor="schedutil", driver="x", now=729600, limit=1344000, most=1728000)
    changed = {"sys/devices/system/cpu/cpufreq/policy1/scaling_cur_freq": "0\n"}  # unreadable
    listed = "processor : 0\ncpu MHz\t\t: 2995.123\n\nprocessor : 1\ncpu MHz\t\t: 800.000\n"
    assert current_clocks(machine(tmp_path / "a", policies)) == [729600, 729600]
    assert current_clocks(machine(tmp_path / "b", policies | changed)) == [729600]
    assert current_clocks(machine(tmp_path / "c", {"proc/cpuinfo": listed})) == [2995000, 800000]
    virtual = listed + "flags : avx2 hypervisor\n"
    assert current_clocks(machine(tmp_path / "d", {"proc/cpuinfo": virtual})) == []
    assert current_clocks(machine(tmp_path / "e", policies | {"proc/cpuinfo": virtual})) == [729600, 729600]
    assert current_clocks(machine(tmp_path / "f", {})) == []
