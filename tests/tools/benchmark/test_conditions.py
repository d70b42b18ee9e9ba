"""Heat and clock beside a measurement, on machines that change meanwhile."""

from __future__ import annotations

from pathlib import Path

from machines import ORIN, PC, Commands, folder_of, host

from spade_edge.tools.benchmark.conditions import Conditions, Observer

COUNTER = "sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count"
ZONE = "sys/class/thermal/thermal_zone"
CLOCK = "sys/devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"


def test_a_pc_that_becomes_hot(tmp_path: Path) -> None:
    observer = Observer(host(tmp_path, PC, Commands({}, {})))  # at 0.8 GHz, before the first frame
    for celsius, fastest, throttled in ((70, 3_900_000, 12), (97, 2_600_000, 13), (93, 2_900_000, 13), (96, 0, 19)):
        files = {f"{ZONE}0/temp": f"{celsius}000\n", CLOCK.format(2): f"{fastest}\n", COUNTER: f"{throttled}\n"}
        folder_of(tmp_path, files | {CLOCK.format(i): "800000\n" for i in (0, 1, 3, 4, 5)})
        observer()
    assert observer.conditions() == Conditions(
        celsius_at_start=61.0,
        celsius_at_end=96.0,
        megahertz=2750.0,  # median of 3900, 2600, 2900 and, where that core's clock cannot be read, 800
        lowest_megahertz=800.0,
        throttled=2,
        blocks=4,
    )


def test_the_hottest_sensor_counts(tmp_path: Path) -> None:
    observer = Observer(host(tmp_path, ORIN, Commands({}, {})))
    folder_of(tmp_path, {f"{ZONE}0/temp": "71250\n"})
    observer()
    seen = observer.conditions()
    assert (seen.celsius_at_start, seen.celsius_at_end, seen.throttled) == (53.0, 71.25, 0)


def test_a_virtual_machine_says_nothing(tmp_path: Path) -> None:
    described = "processor : 0\ncpu MHz : 2445.432\nflags : avx2 hypervisor\n"
    observer = Observer(host(tmp_path, {"proc/cpuinfo": described}, Commands({}, {})))
    observer()
    observer()
    assert observer.conditions() == Conditions(None, None, None, None, None, blocks=2)
