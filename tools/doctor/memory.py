"""Memory and disk: size, free space, and whether a bundle fits."""

from __future__ import annotations

import re
from pathlib import Path

from spade_edge.tools.doctor import cgroup
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.host import Host

KIND = "memory"
BESIDE = 250_000_000  # bytes that scoring needs beside the model and the gallery
LITTLE = 1_000_000_000  # bytes: a whole process with a small bundle
LITTLE_DISK = 2_000_000_000  # bytes: TensorRT engines and timing caches of some models


def findings(host: Host, board: Board, *, payload: int | None) -> list[Finding]:
    """Memory, swap and disk. `payload`: bytes of the model and gallery of a bundle, None without one."""
    return [_memory(host, board, payload), _swap(host), _disk(host)]


def _memory(host: Host, board: Board, payload: int | None) -> Finding:
    name = "memory"
    total, available = (_meminfo(host, field) for field in ("MemTotal", "MemAvailable"))
    if total is None or available is None:
        return unknown(KIND, name, host.hidden)
    found = f"{_gigabytes(available)} of {_gigabytes(total)} available"
    limit = cgroup.memory(host)
    remedies = ["close other programs"]
    if limit is not None and limit[0] < total:
        remedies.append("raise the limit (docker --memory, MemoryMax of the service)")
        found += f", and {_gigabytes(limit[1])} of the control group's {_gigabytes(limit[0])}"
        available = min(available, limit[1])
    if board.jetson:
        remedies.append("disable the desktop (sudo systemctl set-default multi-user.target)")
        found += ", shared with the GPU"
    needed = LITTLE if payload is None else payload + BESIDE
    if payload is not None:
        remedies.append("build from fewer good images")
        found += f"; the bundle needs {_gigabytes(needed)}"
    if available >= needed:
        return Finding(KIND, name, OK, found)
    return Finding(KIND, name, NOTE if payload is None else PROBLEM, found, ", or ".join(remedies))


def _swap(host: Host) -> Finding:
    name = "swap"
    total, free = (_meminfo(host, field) for field in ("SwapTotal", "SwapFree"))
    if total is None or free is None:
        return unknown(KIND, name, host.hidden)
    return Finding(KIND, name, OK, f"{_gigabytes(total - free)} of {_gigabytes(total)} in use" if total else "none")


def _disk(host: Host) -> Finding:
    """The folder for TensorRT engines."""
    name = "cache folder"
    cache = host.environment.get("XDG_CACHE_HOME", "")
    folder = (Path(cache) if cache.startswith("/") else host.home / ".cache") / "spade-edge"
    there = next((parent for parent in (folder, *folder.parents) if parent.is_dir()), None)
    try:
        if there is None:
            raise FileNotFoundError
        free = host.free(there)
    except OSError:
        return unknown(KIND, name, "set XDG_CACHE_HOME to a folder that this user may write to", why=str(folder))
    found = f"{folder}, {_gigabytes(free)} free for TensorRT engines"
    if not host.opens(there):
        return Finding(
            KIND,
            name,
            NOTE,
            f"{found}, but this user may not write there",
            "set XDG_CACHE_HOME to a folder that this user may write to",
        )
    if free < LITTLE_DISK:
        return Finding(KIND, name, NOTE, found, "free some space, or set XDG_CACHE_HOME to a larger disk")
    return Finding(KIND, name, OK, found)


def _meminfo(host: Host, field: str) -> int | None:
    """A field of /proc/meminfo, in bytes."""
    found = re.search(rf"^{field}:[ \t]*([0-9]{{1,15}}) kB$", host.text("proc/meminfo") or "", re.MULTILINE)
    return None if found is None else 1024 * int(found.group(1))


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"
