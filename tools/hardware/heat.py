"""Temperatures, and what the machine says about having been slowed down by heat or by its power supply."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.host import Host

LIKELY = (1.0, 150.0)  # C; disabled sensors return 0, or arbitrary values
CONSTANT = ("PMIC-Die",)  # Jetson Nano and TX: a placeholder, always 100 C
COUNTERS = "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"
# Event counters of Jetson Orin and later: the hwmon "soctherm_oc".
EVENTS = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "momentary over-current"}
THROTTLED_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"  # of the Raspberry Pi
THROTTLED_BITS = 4  # lowest bits of its number: what slows it now; 16 bits higher: the same since boot


@dataclass(frozen=True)
class Zone:
    """A temperature sensor.

    Attributes:
        label: what it measures, e.g. "x86_pkg_temp".
        celsius: temperature.
        folder: of the sensor, below /sys/class/thermal.
    """

    label: str
    celsius: float
    folder: Path


def zones(host: Host) -> list[Zone]:
    """The sensors that work."""
    found = []
    for folder in host.find("sys/class/thermal/thermal_zone[0-9]*"):
        label = host.label(folder / "type") or folder.name
        temperature = celsius(host.number(folder / "temp"))
        if temperature is not None and label not in CONSTANT:
            found.append(Zone(label, temperature, folder))
    return found


def celsius(millidegrees: int | None) -> float | None:
    """A temperature as the kernel states it; None if no sensor would measure it."""
    if millidegrees is None or not LIKELY[0] <= millidegrees / 1000 <= LIKELY[1]:
        return None
    return millidegrees / 1000


def throttle_counts(host: Host) -> list[int]:
    """How often each core of a PC has been slowed down by heat since boot; empty if unknown."""
    return [number for file in host.find(COUNTERS) if (number := host.number(file)) is not None]


def current_events(host: Host) -> dict[str, int]:
    """How often a Jetson's supply failed it since boot: the number of each of `EVENTS`; empty if unknown."""
    found = {}
    for folder in host.find("sys/class/hwmon/hwmon[0-9]*"):
        if host.label(folder / "name") != "soctherm_oc":
            continue
        for event in EVENTS:
            count = host.number(folder / f"{event}_event_cnt")
            if count is not None:
                found[event] = count
    return found


def throttled_bits(text: str) -> int | None:
    """What a Raspberry Pi says about being slowed down, e.g. "throttled=0x50005"; None if it is something else."""
    value = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text.strip())
    return None if value is None else int(value.group(1), 16)


@dataclass(frozen=True)
class Throttling:
    """What a machine says about being slowed down.

    Attributes:
        counts: how often, since boot, by each of its counters.
        now: whether it says that it is being slowed down now, as only a Raspberry Pi does.
    """

    counts: tuple[int, ...]
    now: bool = False

    @classmethod
    def of(cls, host: Host) -> Throttling | None:
        """Read the counters of a PC or Jetson, or the bits of a Raspberry Pi; None if there are none.

        It reads files only, which takes less than a millisecond.
        """
        if Board.of(host).raspberry:
            bits = throttled_bits(host.label(THROTTLED_FILE) or "")
            if bits is None:
                return None
            since = tuple(bits >> bit + 16 & 1 for bit in range(THROTTLED_BITS))
            return cls(since, now=bits & (1 << THROTTLED_BITS) - 1 != 0)
        counts = (*throttle_counts(host), *current_events(host).values())
        return cls(counts) if counts else None

    def since(self, before: Throttling) -> bool:
        """Whether the machine has been slowed down since an earlier reading."""
        return self.now or any(new > old for new, old in zip(self.counts, before.counts, strict=False))
