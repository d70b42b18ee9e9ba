"""Follows a channel: looks at it from time to time, and pulls when it points at another bundle.

A bundle that was refused is tried again when the channel or the bundle in force has changed. Where people at the device
have gone back from what was pulled, or taught it something, their decision stands until the channel is moved. Faults
such as a registry that is down are told once, and looked at again after a growing pause.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from spade_edge.runtime.errors import SpadeError, UsageError
from spade_edge.tools.fleet.rollout.pulling import digest_in_force, pulled_and_left
from spade_edge.tools.fleet.rollout.report import Rollout
from spade_edge.tools.registry import Reference, Registry, artifact_of

SPREAD = 0.2  # of a pause, so that devices that were switched on together do not ask together
LONGEST = 3600.0  # seconds of a pause, however often it has failed


def watch(
    registry: Registry,
    reference: Reference,
    bundle: Path,
    *,
    pulls: Callable[[], Rollout],
    every: float,
    wait: Callable[[float], bool],
    tell: Callable[[str], None],
    seed: int | None = None,
) -> None:
    """Follow a channel.

    Args:
        registry: where it is.
        reference: NAME:CHANNEL.
        bundle: the bundle folder.
        pulls: pulls once, and keeps the report.
        every: seconds between two looks.
        wait: waits so many seconds; returns whether to end.
        tell: is told what came of it, one line for each change.
        seed: of the spread of pauses; None for another one at each start.

    Raises:
        UsageError: at the first look something other than a bundle is at `bundle`, or the reference has no tag, or the
            line's configuration is wrong. Later it is told as any fault is, because people may be changing something.
    """
    spread = random.Random(seed)  # noqa: S311
    settled: tuple[str, str] | None = None  # digest of the artifact, and of the manifest in force, after a pull
    said, failures, begun = "", 0, False

    def told(line: str) -> str:
        if line and line != said:
            tell(line)
        return line

    while True:
        try:
            artifact, now = artifact_of(registry, reference), digest_in_force(bundle)
            if settled == (artifact.digest, now):
                said = ""  # what was a fault is over
            elif pulled_and_left(bundle, artifact.bundle):
                said = told(
                    f"{reference}: people at this device have changed what was pulled; it stays so until it is moved"
                )
            else:
                said = told(pulls().sentence())
                settled = (artifact.digest, digest_in_force(bundle))
            failures, begun = 0, True
        except SpadeError as problem:
            if isinstance(problem, UsageError) and not begun:
                raise
            failures += 1
            said = told(str(problem))
        pause = min(every * 2 ** min(failures, 20), max(every, LONGEST))
        if wait(pause * spread.uniform(1 - SPREAD, 1 + SPREAD)):
            return
