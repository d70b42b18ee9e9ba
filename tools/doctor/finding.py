"""A finding: one thing about this machine, how it is, and what to do where it is not well."""

from __future__ import annotations

from dataclasses import asdict, dataclass

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True)
class Finding:
    """One row of what the doctor says.

    Attributes:
        kind: the group it belongs to, e.g. "memory".
        name: what it is about; one of its kind has it.
        state: "ok", "note" (costs time, or could not be found out) or "problem" (something does not work).
        found: what was found, in one line.
        remedy: what to do, in one line; empty if and only if the state is "ok".
    """

    kind: str
    name: str
    state: str
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        # One line that a terminal can show, whatever a file or a program has put into it.
        shown = "".join(c if c.isprintable() else " " for c in self.found)
        object.__setattr__(self, "found", " ".join(shown.split()))

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def unknown(kind: str, name: str, remedy: str, *, why: str = "") -> Finding:
    """A finding about what this machine does not tell."""
    return Finding(kind, name, NOTE, f"not known here{f': {why}' if why else ''}", remedy)
