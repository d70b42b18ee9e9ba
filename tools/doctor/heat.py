"""Heat and power supply: what slows a processor down while it works."""

from __future__ import annotations

import re

from spade_edge.tools.doctor.board import Board
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.doctor.host import Host

KIND = "heat"
HOT = 85.0  # C
LIKELY = (1.0, 150.0)  # C; sensors that are off give 0, or anything else
SLOWING = ("passive", "hot", "critical")  # trip points; an "active" one only starts a fan
CONSTANT = ("PMIC-Die",)  # Jetson Nano and TX: a placeholder, always 100 C

# Bits of Raspberry Pi's get_throttled; 16 more: the same since the start.
SUPPLY, HEAT = "a 5 V supply that is strong enough (Pi 5: 27 W) and a short cable", "a fan and free air around it"
THROTTLED = {
    0: ("under-voltage", SUPPLY),
    1: ("clock capped", SUPPLY),
    2: ("throttled", HEAT),
    3: ("close to the limit of temperature", HEAT),
}
THROTTLED_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"

# What Jetson Orin and later count: L4T's hwmon "soctherm_oc".
EVENTS = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "momentary over-current"}


def look(host: Host, board: Board) -> list[Finding]:
    """Temperature, throttling."""
    return [_temperature(host, board), _throttling(host, board)]


def _temperature(host: Host, board: Board) -> Finding:
    name = "temperature"
    zones: list[tuple[float, str]] = []
    tripped: list[tuple[float, str]] = []
    for folder in host.find("sys/class/thermal/thermal_zone[0-9]*"):
        label = host.label(folder / "type") or folder.name
        temperature = _celsius(host.number(folder / "temp"))
        if temperature is None or label in CONSTANT:
            continue
        zones.append((temperature, label))
        trips = [
            trip
            for file in host.find(f"{folder.relative_to(host.root)}/trip_point_[0-9]*_temp")
            if host.label(file.with_name(file.name.replace("_temp", "_type"))) in SLOWING
            and (trip := _celsius(host.number(file))) is not None
            and trip > 40  # those that are not set are far below
        ]
        if temperature >= min([HOT, *trips]):
            limit = f"its trip point is {min(trips):.0f} C" if min(trips, default=HOT) < HOT else f"over {HOT:.0f} C"
            tripped.append((temperature, f"{label} {temperature:.0f} C, {limit}: it slows down, or soon will"))
    if not zones:
        return unknown(KIND, name, host.hidden)
    if tripped:
        return Finding(
            KIND,
            name,
            PROBLEM,
            max(tripped)[1],
            "cool it: dust, fan, heat sink, air in the cabinet" + ("; or a lower power mode" if board.jetson else ""),
        )
    hottest, label = max(zones)
    return Finding(
        KIND, name, OK, f"{hottest:.0f} C at most, {label}, of {len(zones)} sensor{'' if len(zones) == 1 else 's'}"
    )


def _celsius(millidegrees: int | None) -> float | None:
    if millidegrees is None or not LIKELY[0] <= millidegrees / 1000 <= LIKELY[1]:
        return None
    return millidegrees / 1000


def _throttling(host: Host, board: Board) -> Finding:
    if board.raspberry:
        return _raspberry(host)
    if board.jetson:
        return _jetson(host)
    name = "throttling"
    counts = [
        number
        for file in host.find("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
        if (number := host.number(file)) is not None
    ]
    if not counts:
        return unknown(KIND, name, host.hidden)
    if max(counts) > 0:
        return Finding(
            KIND,
            name,
            NOTE,
            f"slowed down for heat {max(counts)} times since the start",
            "run 'spade-edge bench' and look whether the number grows; then cool it: dust, fan, heat sink, cabinet",
        )
    return Finding(KIND, name, OK, "never since the start")


def _raspberry(host: Host) -> Finding:
    name = "throttling"
    answer = host.run(["vcgencmd", "get_throttled"], timeout=5)
    text = answer.out.strip() if answer.code == 0 else host.label(THROTTLED_FILE) or ""
    value = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text)
    if value is None:
        return unknown(KIND, name, "vcgencmd get_throttled tells it, in a terminal of the Raspberry Pi itself")
    bits = int(value.group(1), 16)
    now = [bit for bit in THROTTLED if bits >> bit & 1]
    since = [bit for bit in THROTTLED if bits >> bit + 16 & 1]
    if now:
        return Finding(KIND, name, PROBLEM, f"now: {_named(now)}", _remedy(now))
    if since:
        return Finding(KIND, name, NOTE, f"since the start: {_named(since)}; not now", _remedy(since))
    return Finding(KIND, name, OK, "never since the start, no under-voltage")


def _named(bits: list[int]) -> str:
    return ", ".join(THROTTLED[bit][0] for bit in bits)


def _remedy(bits: list[int]) -> str:
    return "; ".join(dict.fromkeys(THROTTLED[bit][1] for bit in bits))


def _jetson(host: Host) -> Finding:
    name = "throttling"
    counts = {}
    for folder in host.find("sys/class/hwmon/hwmon[0-9]*"):
        if host.label(folder / "name") != "soctherm_oc":
            continue
        for event in EVENTS:
            count = host.number(folder / f"{event}_event_cnt")
            if count is not None:
                counts[event] = count
    if not counts:
        return unknown(KIND, name, "sudo tegrastats shows clocks and temperatures while it works")
    happened = [f"{EVENTS[event]} {count} times" for event, count in counts.items() if count > 0]
    if happened:
        return Finding(
            KIND,
            name,
            NOTE,
            f"slowed down since the start: {', '.join(happened)}",
            "a supply, cable and carrier board made for this power mode, or a lower mode (sudo nvpmodel -m)",
        )
    return Finding(KIND, name, OK, "no over-current or under-voltage since the start")
