"""What came of a pull: a sentence for people, and a JSON object for `fleet status`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.tools.fleet.rollout.trial import Shadow
from spade_edge.tools.output import check_replaceable, replacing

FORMAT, VERSION = "spade-edge rollout", 1
MARK = f'{{"format": "{FORMAT}"'.encode()


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What came of a pull.

    Attributes:
        name: of the bundle, with its tag or digest.
        registry: its address.
        wanted: SHA-256 of the manifest of the bundle in the registry; empty if it is not known.
        artifact: digest of its artifact; empty if it is not known.
        in_force: SHA-256 of the manifest that is in force now; empty for none.
        accepted: whether that is the wanted one.
        reason: why it is not, in one sentence; empty if it is.
        changed: whether this pull put it in force.
        shadow: verdicts of recent frames with both; None if it did not come to that.
        golden: the largest difference of a golden frame; None if it did not come to that.
        ms: half of the frames take less, in milliseconds; None if it did not come to that.
        notes: what could not be tried, in whole sentences.
        fetched: bytes that came from the registry.
        at: when, UTC, ISO 8601.
    """

    name: str
    registry: str
    wanted: str = ""
    artifact: str = ""
    in_force: str = ""
    accepted: bool = False
    reason: str = ""
    changed: bool = False
    shadow: Shadow | None = None
    golden: float | None = None
    ms: float | None = None
    notes: tuple[str, ...] = ()
    fetched: int = 0
    at: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "registry": self.registry,
            "wanted": self.wanted,
            "artifact": self.artifact,
            "in_force": self.in_force,
            "accepted": self.accepted,
            "reason": self.reason,
            "changed": self.changed,
            "changes": None if self.shadow is None else self.shadow.to_json(),
            "golden": self.golden,
            "ms": self.ms,
            "notes": list(self.notes),
            "bytes": self.fetched,
            "at": self.at,
        }

    def sentence(self) -> str:
        """What came of it, in a line."""
        wanted, now = self.wanted[:SHORT], self.in_force[:SHORT]
        if not self.accepted:
            stays = f"the bundle in force stays {now}" if now else "no bundle is in force"
            return f"{self.name}{f' ({wanted})' if wanted else ''} is not taken, {stays}: {self.reason}"
        if not self.changed:
            return f"{self.name} ({wanted}) is in force already"
        parts = [f"{self.name} ({wanted}) is in force", *self.notes]
        if self.shadow is not None and self.shadow.frames:
            parts.insert(1, shadow_sentence(self.shadow))
        return "; ".join([*parts, f"{_size(self.fetched)} were fetched"])


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def shadow_sentence(shadow: Shadow) -> str:
    """The verdicts of recent frames, in words."""
    text = (
        f"of {shadow.frames} recent frames, it rejects {shadow.newly_rejected} of the {shadow.good} good ones and "
        f"passes {shadow.newly_passed} of the {shadow.frames - shadow.good} others"
    )
    if shadow.ms_before is not None and shadow.ms_after is not None:
        text += f", a frame takes {shadow.ms_after:.0f} ms instead of {shadow.ms_before:.0f} ms"
    return f"{text}, {shadow.unread} cannot be read" if shadow.unread else text


def now() -> str:
    """The time, as reports have it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def check_report(path: Path) -> None:
    """Refuse to replace what is no report.

    Raises:
        UsageError: something else has that name.
    """
    check_replaceable(path, is_ours)


def write_report(path: Path, rollout: Rollout) -> None:
    """Write a report, whole or not at all; a former one is replaced.

    Raises:
        DataError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(json.dumps(rollout.to_json()).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


is_ours: Callable[[bytes], bool] = lambda begin: begin.startswith(MARK)  # noqa: E731
