"""Temperature and throttling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from machines import (
    CPU,
    Commands,
    computes,
    folder_of,
    found,
    host,
    raspberry,
)

from spade_edge.tools.hardware.commands import Answer


def test_throttling_of_a_raspberry_pi(tmp_path: Path) -> None:
    machine = raspberry(tmp_path)
    for text, state, says in (
        ("throttled=0x0\n", "ok", "never"),
        ("throttled=0x50000\n", "note", ": under-voltage, throttled; not now"),
        ("throttled=0x80008\n", "problem", "now: close to the temperature limit"),
        ("throttled=0x2\n", "problem", "now: clock capped"),
        ("VCHI initialization failed", "note", "not known here"),
    ):
        told = replace(machine, run=Commands({"vcgencmd": Answer(0, text)}, computes(CPU)))
        one = found(told)["heat throttling"]
        assert (one.state, says in one.found) == (state, True), (text, one)
    # Without vcgencmd, as in a container, the kernel tells the same.
    without = replace(machine, run=Commands({}, computes(CPU)))
    folder_of(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n"})
    assert found(without)["heat throttling"].found == "now: under-voltage, throttled"


def test_temperatures_are_held_against_trip_points_that_slow_down(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0/"
    for temp, trip, kind, state in (
        (70000, 75000, "passive", "ok"),
        (75000, 75000, "passive", "problem"),
        (75000, 60000, "active", "ok"),
        (75000, 0, "passive", "ok"),
        (75000, 20000, "passive", "ok"),
        (85000, 105000, "critical", "problem"),
        (84000, 105000, "critical", "ok"),
    ):
        files = {"type": "pkg", "temp": str(temp), "trip_point_0_temp": str(trip), "trip_point_0_type": kind}
        machine = host(tmp_path, {zone + name: text for name, text in files.items()}, Commands({}, computes(CPU)))
        assert found(machine)["heat temperature"].state == state, (temp, trip, kind)
    folder_of(tmp_path, {zone + "temp": "100000", zone + "type": "PMIC-Die"})  # a Jetson Nano's, always 100 C
    assert found(machine)["heat temperature"].found == "not known here"
