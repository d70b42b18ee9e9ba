"""Temperature and power supply, which can throttle a processor under load."""

from __future__ import annotations

from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.heat import (
    EVENTS,
    THROTTLED_FILE,
    celsius,
    current_events,
    throttle_counts,
    throttled_bits,
    zones,
)
from spade_edge.tools.hardware.host import Host

KIND = "heat"
HOT = 85.0  # C
SLOWING = ("passive", "hot", "critical")  # trip points; "active" only starts a fan

# Bits of get_throttled on the Raspberry Pi; 16 bits higher: the same since boot.
SUPPLY, HEAT = "use a stronger 5 V supply (Pi 5: 27 W) and a short cable", "add a fan, and keep the air around it free"
THROTTLED = {
    0: ("under-voltage", SUPPLY),
    1: ("clock capped", SUPPLY),
    2: ("throttled", HEAT),
    3: ("close to the temperature limit", HEAT),
}


def findings(host: Host, board: Board) -> list[Finding]:
    """Temperature and throttling."""
    return [_temperature(host, board), _throttling(host, board)]


def _temperature(host: Host, board: Board) -> Finding:
    name = "temperature"
    sensors = zones(host)
    tripped: list[tuple[float, str]] = []
    for zone in sensors:
        trips = [
            trip
            for file in host.find(f"{zone.folder.relative_to(host.root)}/trip_point_[0-9]*_temp")
            if host.label(file.with_name(file.name.replace("_temp", "_type"))) in SLOWING
            and (trip := celsius(host.number(file))) is not None
            and trip > 40  # unset ones are far below
        ]
        if zone.celsius >= min([HOT, *trips]):
            limit = f"its trip point is {min(trips):.0f} C" if min(trips, default=HOT) < HOT else f"over {HOT:.0f} C"
            tripped.append((zone.celsius, f"{zone.label} {zone.celsius:.0f} C, {limit}: it throttles, or soon will"))
    if not sensors:
        return unknown(KIND, name, host.hidden)
    if tripped:
        return Finding(
            KIND,
            name,
            PROBLEM,
            max(tripped)[1],
            "check dust, fan, heat sink and cabinet air" + ("; or use a lower power mode" if board.jetson else ""),
        )
    hottest = max(sensors, key=lambda zone: (zone.celsius, zone.label))
    count = f"{len(sensors)} sensor{'' if len(sensors) == 1 else 's'}"
    return Finding(KIND, name, OK, f"{hottest.celsius:.0f} C at most, {hottest.label}, of {count}")


def _throttling(host: Host, board: Board) -> Finding:
    if board.raspberry:
        return _raspberry(host)
    if board.jetson:
        return _jetson(host)
    name = "throttling"
    counts = throttle_counts(host)
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
    bits = throttled_bits(text)
    if bits is None:
        return unknown(KIND, name, "run vcgencmd get_throttled on the Raspberry Pi itself")
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
    counts = current_events(host)
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
