"""Drift in the frames of a run: it is said once, and its state is kept in a file if one is named."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from spade_edge.runtime import DataError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.drift.change import Drift
from spade_edge.runtime.drift.watch import LARGEST, MARK, DriftWatch
from spade_edge.tools.output import check_replaceable, replacing
from spade_edge.tools.scoring.scored import Scored

log = logging.getLogger(__name__)

EVERY = 60.0  # seconds after which the state is written again


class LineDrift:
    """Follows the frames of a run.

    Args:
        bundle: that judges the first frame.
        file: the state goes on from there, and is written there: every minute, when drift begins or ends, and by
            `keep`. One that is missing or cannot be used is begun anew.
        clock: returns seconds.

    Raises:
        UsageError: the file is something that spade-edge did not write.
    """

    def __init__(
        self, bundle: Bundle, *, file: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bundle = bundle
        self._file = file
        self._clock = clock
        self._written = clock()
        self._failed = False
        self._drift: Drift | None = None  # of the latest frame
        self._said = ""
        self._watch = DriftWatch(bundle.manifest) if file is None else _read(file, bundle)

    def add(self, scored: Scored) -> Drift | None:
        """Take a scored shot, and return what has changed; None if nothing has, or the shot has no result."""
        if scored.result is None:
            return None
        if scored.bundle is not self._bundle:
            self._bundle = scored.bundle
            self._watch.follow(scored.bundle.manifest)
        before, self._drift = self._drift, self._watch(scored.result, scored.shot.time)
        if self._drift is not None:
            self._said = f"parts look different since {_minute(self._drift.since)}: {self._drift.words}"
        if (before is None) != (self._drift is None):
            if self._drift is None:
                self._said = self._said.replace("look different since", "looked different from", 1)
                self._said += f", until {_minute(scored.shot.time)}"
            log.warning("%s", self._said)
            self.keep()
        elif self._clock() - self._written >= EVERY:
            self.keep()
        return self._drift

    @property
    def summary(self) -> str:
        """How parts look different, or did the last time; empty if they never did in this run."""
        return self._said

    def keep(self) -> None:
        """Write the state, if a file was named. A failure is logged once, and ends nothing."""
        self._written = self._clock()
        if self._file is None:
            return
        try:
            with replacing(self._file) as file:
                file.write(self._watch.to_text().encode())
        except DataError as problem:
            if not self._failed:
                log.warning("drift is followed, but its state is not kept: %s", problem)
            self._failed = True


def _read(file: Path, bundle: Bundle) -> DriftWatch:
    """The state in a file, or a new one."""
    check_replaceable(file, _is_ours)
    try:
        if file.exists():
            return read_state(file, bundle)
    except (OSError, DataError) as problem:
        log.warning("what parts look like is learned anew: %s", problem)
    return DriftWatch(bundle.manifest)


def _is_ours(head: bytes) -> bool:
    """Whether a file begins as a state does. One without content is what a lost power supply leaves."""
    return head.startswith(MARK) or not head.strip(b"\0")


def _minute(time: float) -> str:
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def read_state(file: Path, bundle: Bundle) -> DriftWatch:
    """The state in a file.

    Raises:
        OSError: it cannot be read.
        DataError: it is too long, or no state of this bundle.
    """
    if file.stat().st_size > LARGEST:
        raise DataError(f"{file}: expected at most {LARGEST >> 20} MB, found more")
    return DriftWatch.from_text(file.read_bytes(), bundle.manifest, source=str(file))
