"""The clock of the processor's cores."""

from __future__ import annotations

import re
from pathlib import Path

from spade_edge.tools.hardware.host import Host
from spade_edge.tools.hardware.processor import Processor

POLICIES = "sys/devices/system/cpu/cpufreq/policy[0-9]*"
CORES = "sys/devices/system/cpu/cpu[0-9]*/cpufreq"


def clock_folders(host: Host) -> list[Path]:
    """The folders with the clocks of cores, or of groups of cores that have one clock."""
    return host.find(POLICIES) or host.find(CORES)


def kilohertz(host: Host, file: Path) -> int | None:
    """The frequency that a file of such a folder contains."""
    value = host.number(file)
    return value if value is not None and 0 < value < 10**8 else None


def current_clocks(host: Host) -> list[int]:
    """The clocks of all cores, or groups of cores, now, in kHz; empty if unknown.

    The clock in /proc/cpuinfo of a virtual machine is not read: it is a constant there.
    """
    files = [folder / "scaling_cur_freq" for folder in clock_folders(host)]
    found = [khz for file in files if (khz := kilohertz(host, file)) is not None]
    if found or Processor.of(host).virtual:
        return found
    measured = re.findall(r"^cpu MHz[ \t]*:[ \t]*([0-9]{1,6})", host.text("proc/cpuinfo") or "", re.MULTILINE)
    return [1000 * int(mhz) for mhz in measured]
