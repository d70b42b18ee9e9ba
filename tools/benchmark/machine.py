"""The machine that figures are measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from spade_edge import __version__
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.host import Host
from spade_edge.tools.hardware.processor import Processor


def machine(threads: int | None, *, host: Host | None = None) -> dict[str, Any]:
    """Processor, threads and versions of this machine, as JSON values.

    `processor_class` is the class of the processor by the instructions that decide how fast matching is, see
    `Processor.kind`; None if they are unknown, as on other systems than Linux.

    Args:
        threads: threads that were asked for; None for one per core.
        host: the machine; None for this one.
    """
    import onnxruntime

    host = host or Host.here()
    processor = Processor.of(host)
    return {
        "cpu": _cpu(host, processor),
        "processor_class": processor.kind,
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


def _cpu(host: Host, processor: Processor) -> str:
    """Names of board and processor."""
    names = (Board.of(host).model, processor.model or platform.processor())
    return ", ".join(name for name in names if name) or "unknown"
