"""What `spade-edge fleet pull --report` has written for a product, read again whenever it has changed."""

from __future__ import annotations

import logging
from pathlib import Path
from stat import S_ISREG

from spade_edge.runtime.fields import parse
from spade_edge.tools.line.state import Pulled

log = logging.getLogger(__name__)

FORMAT = "spade-edge rollout"  # as `spade_edge.tools.fleet.rollout.report` writes it
LARGEST = 64 << 10  # bytes of a report
LONGEST = 1000  # characters of a text in it


class PullReport:
    """Follows the report of a pull.

    Args:
        path: the file, which need not be there yet.

    Attributes:
        last: what it says; None as long as there is none.
    """

    def __init__(self, path: Path) -> None:
        self.last: Pulled | None = None
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def look(self) -> None:
        """Read the file if it is another one. A damaged one is told once, and what was known stays."""
        try:
            found = self._path.stat()
            state = found.st_ino, found.st_size, found.st_mtime_ns
            if state == self._seen:
                return
            self._seen = state
            if not S_ISREG(found.st_mode):  # a pipe would keep the service waiting
                raise ValueError("expected a file, found something else")
            with self._path.open("rb") as file:
                self.last = read(file.read(LARGEST + 1))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as problem:
            log.warning("%s: what came of the last pull is not known: %s", self._path, problem)


def read(content: bytes) -> Pulled:
    """What a report says.

    Raises:
        ValueError: it is none.
    """
    if len(content) > LARGEST:
        raise ValueError(f"expected at most {LARGEST} bytes, found more")
    fields = parse(content, where="report of a pull", error=ValueError)
    fields.text("format", among=(FORMAT,))
    return Pulled(
        name=fields.text("name")[:LONGEST],
        wanted=fields.text("wanted")[:LONGEST],
        accepted=fields.flag("accepted"),
        reason=fields.text("reason")[:LONGEST],
        at=fields.text("at")[:LONGEST],
    )
