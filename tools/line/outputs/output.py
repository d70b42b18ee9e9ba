"""What every output is: an object that a courier opens, feeds and closes, all from one thread of its own."""

from __future__ import annotations

from typing import Protocol

from spade_edge.runtime.errors import SpadeError
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.state import LineState


class OutputError(SpadeError):
    """An output could not be opened or did not take something; one short sentence. The courier tries again."""

    exit_code = 4


class MissedError(OutputError):
    """Something was to be done for one part, and it is too late for that. The output works, and goes on."""


class Output(Protocol):
    """One way out of the line.

    A courier calls all methods from one thread of its own. Each may take a while and may fail: with an `OutputError`,
    or with any other exception, after which the courier closes the output and opens it again.
    """

    def open(self) -> None:
        """Connect, or begin to listen. Called again after a failure, on the same object.

        Raises:
            OutputError: it cannot be opened now; the courier tries again later.
        """

    def send(self, decision: Decision) -> None:
        """Hand over one decision. If this raises, the same decision is sent again after the output was opened again,
        unless the output says `stale(decision)`.

        Raises:
            MissedError: it is too late for this one; it counts as lost, and the output stays open.
            OutputError: it was not taken.
        """

    def stale(self, decision: Decision) -> bool:
        """Whether it is too late to send a decision. For signals to a gate: a pulse that comes late hits another part.
        Records of what happened are never stale. Where somebody must know of it, `send` raises a `MissedError` instead.
        """

    def beat(self, state: LineState) -> None:
        """Give a sign of life. Called at every heartbeat, between two decisions.

        Raises:
            OutputError: it was not taken.
        """

    def close(self) -> None:
        """Let go of everything. Must not raise, and may be called twice, or without `open` before it."""

    def test(self, decision: Decision, state: LineState) -> str:
        """Open, send one harmless test message, wait for what comes back, and close.

        Args:
            decision: has `test` set; its verdict is good and its gate is "pass".
            state: of a line without decisions.

        Returns:
            what came back, one sentence.

        Raises:
            OutputError: what did not work, and what to do.
        """
