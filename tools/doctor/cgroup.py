"""Limits of a container or service, from its control groups, version 1 or 2.

A group is bound by its own limits and by those of all its parent groups.
"""

from __future__ import annotations

from pathlib import Path

from spade_edge.tools.hardware.host import Host

MOUNT = "sys/fs/cgroup"
UNLIMITED = 1 << 60  # version 1 states "no limit" as a number near 2^63


def quota(host: Host) -> float | None:
    """Processor time that this process may use, in cores; None for no limit."""
    found = []
    for folder in _folders(host, "cpu"):
        bandwidth = (host.label(folder / "cpu.max") or "").split()
        if len(bandwidth) != 2:
            bandwidth = [str(host.number(folder / name)) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
        if all(number.isascii() and number.isdecimal() and len(number) < 18 for number in bandwidth):
            allowed, period = map(int, bandwidth)
            if allowed > 0 and period > 0:
                found.append(allowed / period)
    return min(found, default=None)


def memory(host: Host) -> tuple[int, int] | None:
    """The tightest limit and what is left of it, in bytes; None for no limit. Reclaimable cache counts as left."""
    found = []
    for folder in _folders(host, "memory"):
        for limit_file, used_file, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = host.number(folder / limit_file), host.number(folder / used_file)
            if limit is None or used is None or not 0 <= limit < UNLIMITED:
                continue
            kept = _value(host.text(folder / "memory.stat") or "", cache)
            found.append((limit, max(0, limit - max(0, used - kept))))
    return min(found, key=lambda pair: pair[1], default=None)


def _value(statistics: str, name: str) -> int:
    for line in statistics.splitlines():
        label, _, number = line.partition(" ")
        if label == name and number.isascii() and number.isdecimal() and len(number) < 20:
            return int(number)
    return 0


def _folders(host: Host, controller: str) -> list[Path]:
    """The group of this process for a controller, and all its parents."""
    mounts = [(MOUNT, "/"), (f"{MOUNT}/{controller}", "/")]
    for line in (host.text("proc/self/cgroup", most=65536) or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            mounts += [(MOUNT, group), (f"{MOUNT}/unified", group)]
        elif controller in controllers.split(","):
            mounts += [(f"{MOUNT}/{name}", group) for name in {controllers, controller}]
    folders: dict[Path, None] = {}
    for mount, group in mounts:
        # A group that the container cannot see begins with "/.."; the limits of the container lie at the mount itself.
        parts = [] if ".." in group.split("/") else [part for part in group.split("/") if part]
        for count in range(len(parts), -1, -1):
            folders[host.path(mount).joinpath(*parts[:count])] = None
    return list(folders)
