"""How much memory a trial takes, early and late."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from statistics import median

GROWTH = 10e6  # bytes between early and late that are allowed


def resident() -> int:
    """Bytes of this process in memory, without those that were freed and are kept by glibc for later use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def early_and_late(readings: Sequence[int]) -> tuple[float, float]:
    """Medians of the second sixth, as the first one warms up, and of the last third; of three readings or more."""
    third = len(readings) // 3
    return median(readings[third // 2 : third]), median(readings[-third:])
