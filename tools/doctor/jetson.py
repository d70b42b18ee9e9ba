"""Jetson only: release of Jetson Linux, power mode, clocks."""

from __future__ import annotations

import re

from spade_edge.tools.doctor.finding import NOTE, OK, Finding, unknown
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.host import Host

KIND = "jetson"
JETPACKS = {32: 4, 34: 5, 35: 5, 36: 6, 38: 7, 39: 7}  # by the release of L4T
PYTHONS = {4: "3.6", 5: "3.8"}  # of NVIDIA's packages; spade-edge needs 3.10
NOT_A_CONTAINER = "mount it into the container, or run the doctor on the Jetson itself"


def findings(host: Host, board: Board) -> list[Finding]:
    """Release, power mode and clocks; empty on other machines."""
    return [_release(board), _power_mode(host), _clocks(host)] if board.jetson else []


def _release(board: Board) -> Finding:
    name = "release"
    if board.l4t is None:
        return unknown(KIND, name, NOT_A_CONTAINER, why="no /etc/nv_tegra_release")
    release, revision = board.l4t
    jetpack = JETPACKS.get(release)
    found = f"L4T {release}.{revision}" + (f", JetPack {jetpack}" if jetpack is not None else "")
    if jetpack in PYTHONS:
        return Finding(
            KIND,
            name,
            NOTE,
            f"{found}: NVIDIA's onnxruntime-gpu is for Python {PYTHONS[jetpack]} there, spade-edge needs 3.10",
            "JetPack 6 where the module supports it (Orin); else Python 3.10 with onnxruntime on the CPU",
        )
    return Finding(KIND, name, OK, found)


def _power_mode(host: Host) -> Finding:
    name = "power mode"
    modes = {
        int(number): label
        for number, label in re.findall(
            r"^< *POWER_MODEL +ID=([0-9]{1,3}) +NAME=([\w.-]{1,40}) *>",
            host.text("etc/nvpmodel.conf") or "",
            re.MULTILINE,
        )
    }
    answer = host.run(["nvpmodel", "-q"], timeout=10)
    asked = re.search(r"NV Power Mode: *([\w.-]{1,40})", answer.out) if answer.code == 0 else None
    kept = re.search(r"pmode:([0-9]{1,4})", host.label("var/lib/nvpmodel/status") or "")
    now = asked.group(1) if asked is not None else modes.get(int(kept.group(1)), "") if kept is not None else ""
    if not now:
        return unknown(KIND, name, "run sudo nvpmodel -q on the Jetson itself")
    if now.startswith(("MAXN", "MODE_MAXN")):
        return Finding(KIND, name, OK, now)
    best = max(modes, key=lambda number: _strength(modes[number]), default=None)
    if best is None:
        return Finding(KIND, name, NOTE, now, "/etc/nvpmodel.conf lists the modes; sudo nvpmodel -m NUMBER sets one")
    if _strength(modes[best]) <= _strength(now):
        return Finding(KIND, name, OK, f"{now}, the highest of this module")
    return Finding(
        KIND,
        name,
        NOTE,
        f"{now}; {modes[best]} is faster",
        f"sudo nvpmodel -m {best}, if power supply and cooling are rated for it",
    )


def _strength(mode: str) -> float:
    """Sort key of a mode, because mode numbers are not in order: watts, and MAXN above them."""
    if "MAXN" in mode:
        return 10_000.0 + ("SUPER" in mode)
    watts = re.search(r"([0-9]{1,3})W", mode)
    return float(watts.group(1)) if watts is not None else 0.0


def _clocks(host: Host) -> Finding:
    """`jetson_clocks --show` needs root, but its effect, lowest clock equal to highest, is readable."""
    name = "clocks"
    folders = [
        *((folder, "scaling_min_freq", "scaling_max_freq") for folder in host.find(_CPU)),
        *((folder, "min_freq", "max_freq") for pattern in _GPU for folder in host.find(pattern)),
    ]
    held = [
        low == high
        for folder, least, most in folders
        if (low := host.number(folder / least)) is not None and (high := host.number(folder / most)) is not None
    ]
    if not held:
        return unknown(KIND, name, "run sudo jetson_clocks --show on the Jetson itself")
    if all(held):
        return Finding(KIND, name, OK, "fixed at the highest of the power mode (jetson_clocks)")
    return Finding(
        KIND,
        name,
        NOTE,
        "rise only under load: the first frames after a pause take longer",
        "sudo jetson_clocks, in a service that runs at each start",
    )


_CPU = "sys/devices/system/cpu/cpufreq/policy[0-9]*"
_GPU = ("sys/class/devfreq/*.gpu", "sys/class/devfreq/*.ga10b", "sys/class/devfreq/*.gv11b", "sys/class/devfreq/gpu-*")
