"""What has changed, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from spade_edge.runtime.drift.quantity import Quantity


@dataclass(frozen=True)
class DriftChange:
    """One quantity that is another than before.

    Attributes:
        quantity: its name: "brightness", "contrast", "focus", "chroma", "red" and "blue" as in `FrameResult.condition`;
            "right" and "down", in pixels of the frame, and "angle", in degrees, as in `Pose`; "p".
        before: median of the frames from which it was learned.
        now: median of the latest frames since it changed, of at most 50.
        since: time of the first of the frames that differ, in seconds since 1970, UTC.
        words: the change in words.
    """

    quantity: str
    before: float
    now: float
    since: float
    words: str

    def to_json(self) -> dict[str, Any]:
        """The fields of a line that `spade-edge score` prints."""
        before, now = round(self.before, 4), round(self.now, 4)
        return {"quantity": self.quantity, "before": before, "now": now, "since": as_text(self.since)}


@dataclass(frozen=True)
class Drift:
    """Parts look different.

    Attributes:
        since: time of the first of the frames that differ, in seconds since 1970, UTC.
        changes: what has changed, one at least.
    """

    since: float
    changes: tuple[DriftChange, ...]

    @property
    def words(self) -> str:
        """What has changed, in words."""
        return ", ".join(change.words for change in self.changes)

    def to_json(self) -> dict[str, Any]:
        """The field of a line that `spade-edge score` prints."""
        return {
            "since": as_text(self.since),
            "words": self.words,
            "changes": [change.to_json() for change in self.changes],
        }


def as_text(time: float) -> str:
    """A time in seconds since 1970 as UTC, ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="milliseconds")


def in_words(quantity: Quantity, before: float, now: float) -> str:
    """A change in words.

    Args:
        quantity: what has changed.
        before: its value; a shift in pixels of the frame.
        now: its value now.
    """
    difference = now - before
    size = f"{abs(difference):.0f}" if abs(difference) >= 10 else f"{abs(difference):.1f}"
    if quantity.name == "p":
        return f"p {before:.2f} → {now:.2f}"
    if quantity.name == "right":
        return f"place {size} px to the {'right' if difference > 0 else 'left'}"
    if quantity.name == "down":
        return f"place {size} px {'down' if difference > 0 else 'up'}"
    if quantity.name == "angle":
        return f"turned by {size} degrees {'clockwise' if difference > 0 else 'counterclockwise'}"
    if before > quantity.offset / 10 and before > 0:
        return f"{quantity.noun} {100 * difference / before:+.0f} %"
    return f"{quantity.noun} {before:.2g} → {now:.2g}"
