"""Allocations that failed: each library reports them in its own way."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50, "EiB": 1 << 60}
# How numpy, OpenCV, onnxruntime, torch and the C++ library say it; a figure stands in the first group if there is one.
_SAYINGS = (
    re.compile(r"Unable to allocate (?P<size>[0-9.]+) (?P<unit>[KMGTPE]iB|bytes)"),
    re.compile(r"Failed to allocate (?P<size>[0-9]+) (?P<unit>bytes)"),
    re.compile(r"Failed to allocate memory for requested buffer of size (?P<size>[0-9]+)"),
    re.compile(r"allocate memory: you tried to allocate (?P<size>[0-9]+) (?P<unit>bytes)"),
    re.compile(r"bad_alloc|bad allocation|Insufficient memory|OutOfMemoryError|can't start new thread"),
    re.compile(r"[Cc]annot allocate memory|failed to map segment|smaller than requested bytes"),
)


def shortage(problem: BaseException) -> str | None:
    """What a failed allocation says, in words: how much was asked for, and how much is available.

    Args:
        problem: any exception.

    Returns:
        e.g. "too little memory: 1.21 GB more are needed, 0.30 GB are available"; None if the problem is another one.
    """
    said = str(problem)
    found = next((match for saying in _SAYINGS if (match := saying.search(said))), None)
    of_system = isinstance(problem, OSError) and problem.errno == errno.ENOMEM
    if not (found or of_system or isinstance(problem, MemoryError)):
        return None
    parts = []
    figures = {} if found is None else found.groupdict()
    if size := figures.get("size"):
        parts.append(f"{_gigabytes(float(size) * _UNITS[figures.get('unit') or 'bytes'])} more are needed")
    if (free := available()) is not None:
        parts.append(f"{_gigabytes(free)} are available")
    return f"too little memory: {', '.join(parts)}" if parts else "too little memory"


def available() -> int | None:
    """Bytes that this process can still allocate, as far as the system says; None if it does not."""
    found = []
    try:
        match = re.search(r"^MemAvailable: *([0-9]+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        if match is not None:
            found.append(int(match[1]) * 1024)
        if resource is not None:
            limit = resource.getrlimit(resource.RLIMIT_AS)[0]
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            if limit != resource.RLIM_INFINITY:
                found.append(max(0, limit - used))
    except (OSError, ValueError):  # another system than Linux
        pass
    return min(found, default=None)


def peak() -> int | None:
    """The most memory that this process has had resident at a time, in bytes; None if the system does not say.

    Where a system counts what was resident before a process was started from another program, that is included.
    """
    try:
        match = re.search(r"^VmHWM:\s*([0-9]+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:  # another system than Linux
        match = None
    if match is not None:
        return int(match[1]) * 1024
    if resource is None:
        return None
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"
