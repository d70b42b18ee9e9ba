"""The last parts that were not good: from the evidence, or from memory where no evidence is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from spade_edge.runtime.errors import DataError
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT
from spade_edge.tools.line.decision import LATE
from spade_edge.tools.line.evidence.entry import Entry, entries, find
from spade_edge.tools.line.page.memory import REJECTS, Memory
from spade_edge.tools.line.page.pictures import reduced_file

SMALL, LARGE = 320, 1600  # pixels, the longer side of a picture in the list, and in the larger view
SMALL_KEPT = 48  # small pictures that are kept, so that they are not read again
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Reject:
    """A part that was not good.

    Attributes:
        id: by which it is asked for.
        decision: as `Decision.to_json` gives it.
        pictured: whether there is a picture.
        frame: whether there is a frame that could be taught in.
    """

    id: str
    decision: Mapping[str, Any]
    pictured: bool
    frame: bool


class Rejects(Protocol):
    """Where rejects are looked up. Both may read a disk."""

    def newest(self) -> list[Reject]:
        """The last ones, newest first.

        Raises:
            DataError: the disk with them cannot be read.
        """

    def picture(self, id: str, *, large: bool) -> bytes:
        """The picture of one, JPEG.

        Raises:
            UsageError: this is no id.
            DataError: it is gone, or has no picture.
        """


class Remembered:
    """Rejects of this run of the service."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def newest(self) -> list[Reject]:
        """See `Rejects`."""
        return [
            Reject(str(number), one.decision.to_json(), one.picture is not None, frame=False)
            for number, one in self._memory.rejects()
        ]

    def picture(self, id: str, *, large: bool) -> bytes:
        """See `Rejects`. There is one size."""
        for number, one in self._memory.rejects():
            if str(number) == id and one.picture is not None:
                return one.picture
        raise DataError("expected one of the last rejects, found that it is gone; the newest are kept")


class Kept:
    """Rejects of the last day in the evidence."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._small: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def newest(self) -> list[Reject]:
        """See `Rejects`."""
        found = entries(
            self._folder,
            since=datetime.now(timezone.utc) - DAY,
            verdicts=(DEFECT, CANNOT_JUDGE, LATE),
            limit=REJECTS,
        )
        return [
            Reject(one.id, one.decision, (one.overlay or one.frame) is not None, one.frame is not None) for one in found
        ]

    def picture(self, id: str, *, large: bool) -> bytes:
        """See `Rejects`."""
        with self._lock:
            known = None if large else self._small.get(id)
        if known is not None:
            return known
        entry = self.entry(id)
        path = entry.overlay or entry.frame
        if path is None:
            raise DataError("expected a part with a picture, found one without; no frame came in time")
        picture = reduced_file(path, side=LARGE if large else SMALL)
        if not large:
            with self._lock:
                self._small[id] = picture
                while len(self._small) > SMALL_KEPT:
                    self._small.popitem(last=False)
        return picture

    def entry(self, id: str) -> Entry:
        """The entry of an id.

        Raises:
            UsageError: this is no id.
            DataError: it is gone.
        """
        return find(self._folder, id)

    def recent(self, recipe: str, *, most: int) -> list[Entry]:
        """The latest entries of a recipe that have a frame, good ones too; of the last day."""
        found: list[Entry] = []
        for entry in entries(self._folder, since=datetime.now(timezone.utc) - DAY, limit=20 * most):
            if entry.frame is not None and entry.decision["recipe"] == recipe and entry.decision["score"] is not None:
                found.append(entry)
                if len(found) >= most:
                    break
        return found
