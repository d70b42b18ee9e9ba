"""Temperature and power supply, which can throttle a processor under load."""

from __future__ import annotations

import re

from spade_edge.tools.doctor.board import Board
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.doctor.host import Host

KIND = "heat"
HOT = 85.0  # C
LIKELY = (1.0, 150.0)  # C; disabled sensors return 0, or arbitrary values
SLOWING = ("passive", "hot", "critical")  # trip points; "active" only starts a fan
CONSTANT = ("PMIC-Die",)  # Jetson Nano and TX: a placeholder, always 100 C

# Bits of get_throttled on the Raspberry Pi; 16 bits higher: the same since boot.
SUPPLY, HEAT = "use a stronger 5 V supply (Pi 5: 27 W) and a short cable", "add a fan, and keep the air around it free"
THROTTLED = {
    0: ("under-voltage", SUPPLY),
    1: ("clock capped", SUPPLY),
    2: ("throttled", HEAT),
    3: ("close to the temperature limit", HEAT),
}
THROTTLED_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"

# Event counters of Jetson Orin and later: the hwmon "soctherm_oc".
EVENTS = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "momentary over-current"}


def findings(host: Host, board: Board) -> list[Finding]:
    """Temperature and throttling."""
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
            and trip > 40  # unset ones are far below
        ]
        if temperature >= min([HOT, *trips]):
            limit = f"its trip point is {min(trips):.0f} C" if min(trips, default=HOT) < HOT else f"over {HOT:.0f} C"
            tripped.append((temperature, f"{label} {temperature:.0f} C, {limit}: it throttles, or soon will"))
    if not zones:
        return unknown(KIND, name, host.hidden)
    if tripped:
        return Finding(
            KIND,
            name,
            PROBLEM,
            max(tripped)[1],
            "check dust, fan, heat sink and cabinet air" + ("; or use a lower power mode" if board.jetson else ""),
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
            f"throttled by heat {max(counts)} times since boot",
            "run 'spade-edge bench'; if the number grows, check dust, fan, heat sink and cabinet air",
        )
    return Finding(KIND, name, OK, "never since boot")


def _raspberry(host: Host) -> Finding:
    name = "throttling"
    answer = host.run(["vcgencmd", "get_throttled"], timeout=5)
    text = answer.out.strip() if answer.code == 0 else host.label(THROTTLED_FILE) or ""
    value = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text)
    if value is None:
        return unknown(KIND, name, "run vcgencmd get_throttled on the Raspberry Pi itself")
    bits = int(value.group(1), 16)
    now = [bit for bit in THROTTLED if bits >> bit & 1]
    since = [bit for bit in THROTTLED if bits >> bit + 16 & 1]
    if now:
        return Finding(KIND, name, PROBLEM, f"now: {_named(now)}", _remedy(now))
    if since:
        return Finding(KIND, name, NOTE, f"since boot: {_named(since)}; not now", _remedy(since))
    return Finding(KIND, name, OK, "never since boot, no under-voltage")


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
        return unknown(KIND, name, "sudo tegrastats shows clocks and temperatures under load")
    happened = [f"{EVENTS[event]} {count} times" for event, count in counts.items() if count > 0]
    if happened:
        return Finding(
            KIND,
            name,
            NOTE,
            f"throttled since boot: {', '.join(happened)}",
            "use a supply, cable and carrier board rated for this power mode, or a lower mode (sudo nvpmodel -m)",
        )
    return Finding(KIND, name, OK, "no over-current or under-voltage since boot")
