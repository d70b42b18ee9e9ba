"""Device files: whether this user may open them, and the group that may."""

from __future__ import annotations

import os
from pathlib import Path

from spade_edge.tools.doctor.finding import PROBLEM, Finding
from spade_edge.tools.doctor.storage import user


def may_open(kind: str, name: str, path: Path, *, group: str, lists: str) -> Finding | None:
    """What keeps this user from opening a device; None if nothing does.

    Args:
        kind: of the finding.
        name: of the finding.
        path: of the device file.
        group: that usually may open it.
        lists: the program that lists such devices.
    """
    try:
        found = path.stat()
    except OSError as problem:
        why = f"{path}: {(problem.strerror or str(problem)).lower()}"
        remedy = f"write one that {lists} shows; for a container, --device {path}"
        return Finding(kind, name, PROBLEM, why, remedy)
    if os.access(path, os.R_OK | os.W_OK):
        return None
    owner = group_name(found.st_gid) or group
    return Finding(
        kind,
        name,
        PROBLEM,
        f"{path}: this user may not open it; its group is {owner}",
        f"sudo usermod -aG {owner} {user()}, then log in again; for a service, SupplementaryGroups={owner}; for a "
        f"container, --group-add",
    )


def group_name(number: int) -> str:
    """The name of a group; "" if it has none, as of root or on other systems."""
    try:
        import grp

        name = grp.getgrgid(number).gr_name
    except (ImportError, KeyError):
        return ""
    return "" if name == "root" else name
