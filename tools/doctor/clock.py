"""The processor clock: governor and frequency."""

from __future__ import annotations

import re
from pathlib import Path

from spade_edge.tools.doctor.board import Board
from spade_edge.tools.doctor.finding import NOTE, OK, Finding, unknown
from spade_edge.tools.doctor.host import Host

KIND = "clock"
POLICIES = "sys/devices/system/cpu/cpufreq/policy[0-9]*"
CORES = "sys/devices/system/cpu/cpu[0-9]*/cpufreq"
DYNAMIC = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")  # their "powersave" raises the clock under load
NEARLY = 0.98  # of the highest clock: cpuinfo and limits are rounded differently


def findings(host: Host, board: Board) -> list[Finding]:
    """Governor and frequency."""
    return [_governor(host), _frequency(host, board)]


def _governor(host: Host) -> Finding:
    name = "governor"
    folders = host.find(POLICIES) or host.find(CORES)
    governors = sorted({text for folder in folders if (text := _word(host, folder / "scaling_governor"))})
    drivers = {_word(host, folder / "scaling_driver") for folder in folders}
    if not governors:
        return unknown(KIND, name, host.hidden)
    if "powersave" in governors:
        slow = (
            "raises the clock under load, but late"
            if drivers <= set(DYNAMIC)
            else "keeps the clock at its lowest under any load"
        )
        return Finding(
            KIND,
            name,
            NOTE,
            f"{', '.join(governors)}: {slow}",
            "sudo cpupower frequency-set -g performance, in a service that runs at each start",
        )
    return Finding(KIND, name, OK, ", ".join(governors))


def _frequency(host: Host, board: Board) -> Finding:
    name = "frequency"
    folders = host.find(POLICIES) or host.find(CORES)
    now, limit, highest = (
        [khz for folder in folders if (khz := _khz(host, folder / file)) is not None]
        for file in ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
    )
    if not now or not len(now) == len(limit) == len(highest):
        measured = re.findall(r"^cpu MHz[ \t]*:[ \t]*([0-9]{1,6})", host.text("proc/cpuinfo") or "", re.MULTILINE)
        if not measured:
            return unknown(KIND, name, host.hidden)
        return Finding(KIND, name, OK, f"{_span([1000 * int(mhz) for mhz in measured])} now; the highest is not known")
    found = f"{_span(now)} now, up to {_span(highest)}"
    if any(value < NEARLY * most for value, most in zip(limit, highest, strict=True)):
        return Finding(
            KIND,
            name,
            NOTE,
            f"{found}, but limited to {_span(limit)}",
            "the power mode limits it, see jetson"
            if board.jetson
            else f"sudo cpupower frequency-set -u {max(highest)}kHz, unless heat or noise is the reason",
        )
    return Finding(KIND, name, OK, found)


def _word(host: Host, path: Path) -> str:
    text = host.label(path) or ""
    return text if re.fullmatch(r"[a-z][a-z0-9_-]{1,40}", text) else ""


def _khz(host: Host, path: Path) -> int | None:
    value = host.number(path)
    return value if value is not None and 0 < value < 10**8 else None


def _span(khz: list[int]) -> str:
    low, high = min(khz) / 1e6, max(khz) / 1e6
    return f"{high:.2f} GHz" if high - low < 0.01 else f"{low:.2f} to {high:.2f} GHz"
