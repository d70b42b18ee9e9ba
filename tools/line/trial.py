"""One harmless message through an output, before anyone relies on it."""

from __future__ import annotations

import time

from spade_edge import __version__
from spade_edge.runtime import UsageError
from spade_edge.tools.line.configuration.options import PASS, LineConfiguration
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.opening import make_output
from spade_edge.tools.line.state import LineState
from spade_edge.tools.line.trigger import Trigger

TEST = "test"  # the id of the trigger


def try_output(name: str, *, configuration: LineConfiguration) -> str:
    """Send one test message through an output, and wait for what comes back.

    Args:
        name: of the output.
        configuration: the whole of it.

    Returns:
        what came back, one sentence.

    Raises:
        OutputError: what did not work.
        DeviceError: a package that the output needs is not installed.
        UsageError: there is no such output.
    """
    output = make_output(name, configuration=configuration, requests=_Nothing())
    now = time.time()
    line = configuration.line.name
    cameras = configuration.outputs[name].cameras or tuple(configuration.cameras)
    camera = cameras[0]
    at = time.monotonic()
    trigger = Trigger(camera=camera, number=0, id=TEST, at=at, time=now, deadline=at + 1)
    decision = Decision(
        line=line,
        trigger=trigger,
        verdict="good",
        gate=PASS,
        reason="",
        recipe=configuration.cameras[camera].recipe,
        decided=now,
        milliseconds=0.0,
        test=True,
    )
    state = LineState(
        line=line, version=__version__, started=now, at=now, beat=1, cameras=(), outputs=(), news="a test message"
    )
    return output.test(decision, state)


class _Nothing:
    """A line that takes no commands: a test moves nothing."""

    def trigger(self, camera: str, *, id: str | None = None, recipe: str | None = None) -> int:
        raise UsageError("expected a line that runs, found a test of an output")

    def choose(self, camera: str, recipe: str) -> None:
        raise UsageError("expected a line that runs, found a test of an output")
