"""Run a line: from the triggers of cameras to the reject gate, as a file says.

    spade-edge init --output line.toml                 write a commented configuration
    spade-edge run --config line.toml --check          name every mistake in it, with its line
    spade-edge run --config line.toml --test plc       send one harmless message through an output
    spade-edge run --config line.toml                  run the line

Each trigger gets exactly one decision, in order and by its deadline: good, defect, cannot_judge or late. The gate
rejects a defect, passes a good part, and does with every other part what fail_safe says. Outputs that are down, a full
disk or a camera that is gone are reported, and opened again as soon as they are back; they delay no decision.

SIGTERM and Ctrl-C end the service: open triggers are decided, and what waits for outputs is carried for five seconds; a
second one ends it at once. SIGHUP reads the file again: what has not changed goes on without a gap, and a file with a
mistake leaves the former configuration in force. A bundle that has a new generation is taken between two frames.

A camera whose source is a file or folder is a trial: each frame waits for the decision on the one before, and the run
ends after the last one. Exit code 0: the service ended as it was asked to, whatever its verdicts; 2: mistakes in the
file; 3: a bundle or a key cannot be opened; 4: a package or device is missing, or a test message did not arrive.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from spade_edge.runtime import SpadeError, UsageError
from spade_edge.tools.cli.arguments import path
from spade_edge.tools.cli.interruption import HANG_UP
from spade_edge.tools.cli.text.line import ended, started

if TYPE_CHECKING:
    from spade_edge.tools.line.service import Service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=path, metavar="FILE", help="the configuration, as 'spade-edge init' writes it")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="look for mistakes in the file, and run nothing")
    what.add_argument("--test", metavar="OUTPUT", help="send one harmless message through this output, and run nothing")
    what.add_argument("--schema", action="store_true", help="print the JSON schema of the file, for editors")


def run(chosen: argparse.Namespace) -> int:
    if chosen.schema:
        from spade_edge.tools.line.configuration.schema import schema

        print(json.dumps(schema(), indent=2))
        return 0
    if chosen.config is None:
        raise UsageError("expected --config FILE, found none; 'spade-edge init' writes one")
    if chosen.check:
        return _check(chosen.config)
    from spade_edge.tools.line.configuration.reader import read

    configuration = read(chosen.config)
    if chosen.test is not None:
        from spade_edge.tools.line.trial import try_output

        print(try_output(chosen.test, configuration=configuration))
        return 0
    from spade_edge.tools.line.configuration.source import goes_on, open_camera
    from spade_edge.tools.line.service import Service

    for camera in configuration.cameras.values():
        if not goes_on(camera.source):
            open_camera(camera, reopen=0)  # files that are not there do not come by themselves
    service = Service(configuration)
    signals = _Signals()
    with signals, service:
        print(started(service.state()), file=sys.stderr, flush=True)
        while not signals.ending and not service.wait(0.2):
            if signals.reload:
                signals.reload = False
                _reload(service, chosen.config)
    print(ended(service.state()), file=sys.stderr, flush=True)
    return 0


def _check(config: Path) -> int:
    """Print every mistake, and say what the file is about if there is none."""
    from spade_edge.tools.line.configuration.reader import mistakes, read

    found = mistakes(config)
    for mistake in found:
        print(mistake)
    if found:
        number = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
        raise UsageError(f"{config}: expected a configuration without a mistake, found {number}")
    configuration = read(config)
    parts = [
        f"{len(table)} {name if len(table) == 1 else f'{name}s'}"
        for name, table in (
            ("camera", configuration.cameras),
            ("recipe", configuration.recipes),
            ("output", configuration.outputs),
        )
    ]
    print(
        f"{config}: no mistake; {', '.join(parts)}. 'spade-edge doctor --config {config}' tries bundles, cameras, "
        "brokers and disks."
    )
    return 0


def _reload(service: Service, config: Path) -> None:
    """Take the file as it is now, or say why not."""
    from spade_edge.tools.line.configuration.reader import read

    try:
        service.reload(lambda: read(config))
        service.tell("")
        print("the configuration was read again", file=sys.stderr, flush=True)
    except Exception as problem:  # whatever it is, the line runs on
        name = "" if isinstance(problem, (SpadeError, OSError)) else f"{type(problem).__name__}: "
        service.tell(f"the new configuration is not in force: {name}{' '.join(str(problem).split())}")


class _Signals:
    """SIGTERM and Ctrl-C end the service, at once if they come twice; SIGHUP reads the configuration again."""

    def __init__(self) -> None:
        self.ending = self.reload = False  # no events: their lock may be held where a signal comes
        self._former: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.signal(number, self._end)
        for number in HANG_UP:
            self._former[number] = signal.signal(number, self._reload)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self.ending:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.ending = True

    def _reload(self, number: int, frame: FrameType | None) -> None:
        self.reload = True
