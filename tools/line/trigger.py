"""A trigger: one part that has to be decided on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trigger:
    """One part that has to be decided on.

    Attributes:
        camera: name of the camera that sees it.
        number: running number of the camera's triggers in this run, from 1; one for each trigger.
        id: as the camera numbers its frames, as the message says, or else the running number. Not necessarily unique.
        at: when it came, in seconds of `time.monotonic`.
        time: when it came, in seconds since 1970, UTC.
        deadline: when its decision is due, in seconds of `time.monotonic`.
        recipe: the product that the part is: what its message asks for, or else what was chosen when it came. None if
            nobody has said.
    """

    camera: str
    number: int
    id: str
    at: float
    time: float
    deadline: float
    recipe: str | None = None
