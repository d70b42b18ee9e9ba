"""The state of the line as a JSON file, for `spade-edge fleet status`: the same as a heartbeat, without a broker."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable

from spade_edge.runtime.errors import SpadeError, UsageError
from spade_edge.tools.line.configuration.options import LineConfiguration, ReportOptions
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.requests import Requests
from spade_edge.tools.line.state import LineState
from spade_edge.tools.output import check_replaceable, replacing

SUFFIX = ".json"


class ReportFile:
    """Replaces a file by the state of the line, at the heartbeat after each so many seconds. Decisions do not go here.

    The file is whole at any time. It is not flushed to the disk: the next one comes soon, also after a power failure
    that has emptied the file.

    Args:
        options: which file, and how often.
        name: of the output.
        line: name of the line; a report of another line is never replaced.
        configuration: not needed.
        requests: not needed; a file asks for nothing.
        clock: returns seconds.

    Raises:
        UsageError: the file's name does not end with .json.
    """

    def __init__(
        self,
        options: ReportOptions,
        *,
        name: str,
        line: str,
        configuration: LineConfiguration,
        requests: Requests | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if options.path.suffix != SUFFIX:
            raise UsageError(
                f"[output.{name}] path: expected a name that ends with {SUFFIX}, found {options.path.name}"
            )
        self._path, self._every, self._clock = options.path, options.every_s, clock
        self._ours = mark(line)
        self._due = clock()

    def open(self) -> None:
        """Look at what is there.

        Raises:
            OutputError: the folder is missing, or something else has that name, such as the report of another line.
        """
        if not self._path.parent.is_dir():
            raise OutputError(
                f"{self._path}: expected a folder for the report, found none; is the share mounted? The folder is not "
                "made"
            )
        try:
            check_replaceable(self._path, self._may_go)
        except UsageError as problem:
            raise OutputError(f"{problem}; two lines must not write one report") from None

    def _may_go(self, head: bytes) -> bool:
        """Whether a file may be replaced: a report of this line, or what a power failure has left of one."""
        return head.startswith(self._ours) or not head.strip(b"\0")

    def send(self, decision: Decision) -> None:
        """Nothing: the state counts the decisions."""

    def stale(self, decision: Decision) -> bool:
        """Never."""
        return False

    def beat(self, state: LineState) -> None:
        """Write the state, if it is time for it; see `Output.beat`."""
        if self._clock() < self._due:
            return
        self.open()
        content = json.dumps(state.to_json(), allow_nan=False).encode() + b"\n"
        try:
            with replacing(self._path) as file:
                file.write(content)
        except SpadeError as problem:
            raise OutputError(str(problem)) from None
        self._due = self._clock() + self._every

    def close(self) -> None:
        """Nothing is open between two reports. The next heartbeat writes one, also the last."""
        self._due = self._clock()

    def test(self, decision: Decision, state: LineState) -> str:
        """Write a file beside the report and remove it. The report stays as it is: it tells of a line that runs."""
        self.open()
        beside = self._path.with_name(f".{secrets.token_hex(8)}.test")
        try:
            try:
                beside.write_text(json.dumps(state.to_json()))
            finally:
                beside.unlink(missing_ok=True)
        except OSError as problem:
            raise OutputError(
                f"{self._path}: expected to write a report there, found: {problem.strerror}; is the folder writable "
                "and the disk not full?"
            ) from None
        found = "stays as it is" if self._path.exists() else "the first heartbeat writes"
        return f"a file could be written beside the report {self._path}, which {found}"


def mark(line: str) -> bytes:
    """How each report of a line begins."""
    return b'{"version": 1, "line": ' + json.dumps(line).encode() + b","
