"""A finding: one fact about this machine, its state, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True)
class Finding:
    """One row of the report of `spade-edge doctor`.

    Attributes:
        kind: the group it belongs to, e.g. "memory".
        name: what it is about; unique within its kind.
        state: "ok", "note" (costs time, or could not be determined) or "problem" (something does not work).
        found: what was found, in one line.
        remedy: what to do, in one line; empty if and only if the state is "ok".
    """

    kind: str
    name: str
    state: str
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        # One printable line, whatever a file or a program has returned.
        shown = "".join(c if c.isprintable() else " " for c in self.found)
        object.__setattr__(self, "found", " ".join(shown.split()))

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def unknown(kind: str, name: str, remedy: str, *, why: str = "") -> Finding:
    """A finding about something that cannot be determined on this machine."""
    return Finding(kind, name, NOTE, f"not known here{f': {why}' if why else ''}", remedy)
