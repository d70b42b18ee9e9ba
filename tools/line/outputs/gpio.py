"""A line of a GPIO chip that works the gate, and one that shows that the service is alive."""

from __future__ import annotations

import errno
import logging
import time
from functools import partial

import gpiod
from gpiod.line import Direction, Value

from spade_edge.runtime import UsageError
from spade_edge.tools.line.configuration.options import PASS, GpioOptions, LineConfiguration
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.output import MissedError, OutputError
from spade_edge.tools.line.outputs.pulses import Pulses
from spade_edge.tools.line.requests import Requests
from spade_edge.tools.line.state import LineState

log = logging.getLogger(__name__)

AT_ONCE = 0.25  # seconds after the decision within which a pulse without delay is still given
MOST_PENDING = 10_000  # parts on their way to the gate
LAST_PULSES = 3.0  # seconds for which parts on their way still get their pulse at the end
LONGEST_CONSUMER = 31  # characters, of Linux


class GpioOutput:
    """Gives a pulse for parts that pass or for parts that are rejected.

    With `delay_ms`, a pulse begins so long after the trigger, wherever the decision came in between. Where the decision
    came later, what remains of the pulse is given, if that is at least half of it. Otherwise the part has passed.
    Without, the pulse begins with the decision.

    Args:
        options: of this output.
        name: of this output.
        line: name of the line.
        configuration: of the line.
        requests: nothing can be asked here.

    Raises:
        UsageError: decisions on late parts would come after their pulse, or both lines are the same.
    """

    def __init__(
        self,
        options: GpioOptions,
        *,
        name: str,
        line: str,
        configuration: LineConfiguration,
        requests: Requests | None,
    ) -> None:
        self._options, self._name = options, name
        for camera in options.cameras or configuration.cameras:
            due = configuration.cameras[camera].deadline_ms
            if 0 < options.delay_ms < due:
                raise UsageError(
                    f"output {name}: expected a delay_ms of at least {due}, the deadline_ms of camera {camera}, found "
                    f"{options.delay_ms}: a part that is late would have passed the gate already"
                )
        if options.ready_line == options.line:
            raise UsageError(f"output {name}: expected a ready_line other than line, found {options.line} for both")
        self._delay, self._length = options.delay_ms / 1000, options.pulse_ms / 1000
        self._gate: gpiod.LineRequest | None = None
        self._ready: gpiod.LineRequest | None = None
        self._pulses: Pulses | None = None
        self._level = False  # of the ready line

    def open(self) -> None:
        """See `Output.open`. The line becomes inactive."""
        options = self._options
        self._gate = self._request(options.line, active_low=options.active_low)
        if options.ready_line is not None:
            self._ready, self._level = self._request(options.ready_line), False
        self._pulses = Pulses(partial(self._drive, self._gate), name=f"output {self._name}")

    def send(self, decision: Decision) -> None:
        """See `Output.send`. Returns at once; a pulse is given at its time."""
        pulses = self._working()
        if decision.test or decision.gate != self._options.pulse_on:
            return
        if self._too_late(decision):
            raise MissedError(
                f"part {decision.trigger.id[:32]} was to be rejected and has passed the gate: its decision came after "
                "its pulse; see the output's delay_ms and the camera's deadline_ms"
            )
        if len(pulses) >= MOST_PENDING:
            raise MissedError(f"expected at most {MOST_PENDING} parts on their way to the gate, found more")
        begin = decision.trigger.at + self._delay if self._delay else time.monotonic()
        pulses.add(begin, begin + self._length)

    def stale(self, decision: Decision) -> bool:
        """See `Output.stale`. A good part that got no pulse was rejected, which is the safe way. That a part has passed
        which should have been rejected is another matter; `send` says so.
        """
        return decision.gate == self._options.pulse_on == PASS and not decision.test and self._too_late(decision)

    def beat(self, state: LineState) -> None:
        """See `Output.beat`. The ready line changes its level."""
        passed = self._working().passed()
        if self._ready is not None:
            self._level = not self._level
            self._drive(self._ready, self._level)
        if passed:
            raise MissedError(
                f"expected pulses at their time, found {passed} that could not be given because this computer was busy"
            )

    def close(self) -> None:
        """See `Output.close`. Parts on their way get their pulse, and then both lines are inactive."""
        pulses, gate, ready = self._pulses, self._gate, self._ready
        self._pulses = self._gate = self._ready = None
        if pulses is not None and (left := pulses.end(patience=LAST_PULSES)):
            log.warning("output %s: %d parts on their way to the gate get no pulse", self._name, left)
        try:
            if ready is not None:
                self._drive(ready, False)
        except OutputError as problem:
            log.warning("output %s: %s", self._name, problem)
        for request in (gate, ready):
            try:
                if request is not None:
                    request.release()
            except OSError as problem:
                log.warning("output %s: %s", self._name, problem)

    def test(self, decision: Decision, state: LineState) -> str:
        """See `Output.test`. No pulse is given, because a pulse would move the gate."""
        options = self._options
        self.open()
        try:
            gate = self._gate
            with gpiod.Chip(options.chip) as chip:
                info = chip.get_line_info(options.line)
            active = gate is None or gate.get_value(options.line) != Value.INACTIVE
        except OSError as problem:
            raise self._fault(problem, options.line) from None
        finally:
            self.close()
        if info.direction != Direction.OUTPUT or active:
            raise OutputError(f"expected line {options.line} of {options.chip} to be an inactive output, found another")
        named = f" ({info.name})" if info.name else ""
        return (
            f"line {options.line}{named} of {options.chip} is an output, in use by '{info.consumer}', and inactive; "
            "no pulse was given"
        )

    def _working(self) -> Pulses:
        """What gives pulses.

        Raises:
            OutputError: it does not work any more.
        """
        if self._pulses is None:
            raise OutputError("expected an output that is open, found a closed one")
        if self._pulses.problem is not None:
            problem = self._pulses.problem
            raise problem if isinstance(problem, OutputError) else OutputError(f"expected pulses, found: {problem}")
        return self._pulses

    def _too_late(self, decision: Decision) -> bool:
        """Whether the part has passed the gate."""
        now, at = time.monotonic(), decision.trigger.at
        if self._delay:
            return now > at + self._delay + self._length / 2
        return now > at + decision.milliseconds / 1000 + AT_ONCE

    def _request(self, line: int, *, active_low: bool = False) -> gpiod.LineRequest:
        """Take a line, inactive.

        Raises:
            OutputError: it cannot be had.
        """
        settings = gpiod.LineSettings(direction=Direction.OUTPUT, active_low=active_low, output_value=Value.INACTIVE)
        consumer = f"spade-edge {self._name}"[:LONGEST_CONSUMER]
        try:
            return gpiod.request_lines(self._options.chip, config={line: settings}, consumer=consumer)
        except (OSError, ValueError) as problem:
            raise self._fault(problem, line) from None

    def _drive(self, request: gpiod.LineRequest, active: bool) -> None:
        """Set the level of a line.

        Raises:
            OutputError: the chip does not take it.
        """
        (line,) = request.offsets
        try:
            request.set_value(line, Value.ACTIVE if active else Value.INACTIVE)
        except OSError as problem:
            raise self._fault(problem, line) from None

    def _fault(self, problem: Exception, line: int) -> OutputError:
        """What is wrong with a line, and what to do."""
        chip = self._options.chip
        number = problem.errno if isinstance(problem, OSError) else None
        if number == errno.EBUSY:
            found = "another program has it, see 'gpioinfo'"
        elif number in (errno.EACCES, errno.EPERM):
            found = f"no permission, see 'ls -l {chip}' and add the user of the service to its group"
        elif number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            found = "no such chip, see 'gpiodetect'"
        elif number in (errno.EINVAL, None):
            found = f"no such line ({problem}), see 'gpioinfo'"
        else:
            found = str(problem)
        return OutputError(f"expected line {line} of {chip} for output, found: {found}")
