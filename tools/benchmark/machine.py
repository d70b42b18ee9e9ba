"""The machine that figures are measured on."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from spade_edge import __version__


def machine(threads: int | None) -> dict[str, Any]:
    """Processor, threads and versions of this machine, as JSON values.

    Args:
        threads: threads that were asked for; None for one per core.
    """
    import onnxruntime

    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": threads or "one a core",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "spade-edge": __version__,
    }


def resident_bytes() -> int | None:
    """Resident memory of this process; None if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _cpu() -> str:
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        for line in lines:
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
