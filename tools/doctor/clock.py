"""The processor clock: governor and frequency. And the clock of the machine: whether it is set by the network."""

from __future__ import annotations

import re
from pathlib import Path

from spade_edge.tools.doctor.finding import NOTE, OK, Finding, unknown
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.clock import clock_folders, current_clocks, kilohertz
from spade_edge.tools.hardware.host import Host

KIND = "clock"
DYNAMIC = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")  # their "powersave" raises the clock under load
PATIENCE = 5.0  # seconds
NEARLY = 0.98  # of the highest clock: cpuinfo and limits are rounded differently


def findings(host: Host, board: Board) -> list[Finding]:
    """Governor and frequency."""
    return [_governor(host), _frequency(host, board)]


def time_of_day(host: Host) -> Finding:
    """Whether a time server sets the clock, so that times of decisions can be compared with those of other machines."""
    name = "time"
    known = host.clock_is_set()
    if host.path("run/systemd/timesync/synchronized").exists():
        known = True
    if not known:  # chrony does not always tell the kernel
        tracking = host.run(["chronyc", "-n", "tracking"], timeout=PATIENCE)
        leap = re.search(r"Leap status\s*:\s*(Normal|Insert second|Delete second|Not synchronised)", tracking.out)
        if tracking.code == 0 and leap is not None:
            known = leap[1] != "Not synchronised"
    if known:
        return Finding(KIND, name, OK, "set by a time server")
    remedy = "sudo timedatectl set-ntp true, or install chrony; a plant without internet needs a time server of its own"
    if known is False:
        return Finding(KIND, name, NOTE, "not set by a time server: times of decisions drift away", remedy)
    return unknown(KIND, name, remedy, why="neither the kernel nor chronyc tells")


def _governor(host: Host) -> Finding:
    name = "governor"
    folders = clock_folders(host)
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
    folders = clock_folders(host)
    now, limit, highest = (
        [khz for folder in folders if (khz := kilohertz(host, folder / file)) is not None]
        for file in ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
    )
    if not now or not len(now) == len(limit) == len(highest):
        measured = current_clocks(host)
        if not measured:
            return unknown(KIND, name, host.hidden)
        return Finding(KIND, name, OK, f"{_span(measured)} now; the highest is not known")
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


def _span(khz: list[int]) -> str:
    low, high = min(khz) / 1e6, max(khz) / 1e6
    return f"{high:.2f} GHz" if high - low < 0.01 else f"{low:.2f} to {high:.2f} GHz"
