"""Pulses to a gate, on a chip that is not there, and on the kernel's simulated one where it has that."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from controllers import configuration, decision, opened, state
from fake_line import until

from spade_edge.runtime import UsageError
from spade_edge.tools.line.configuration.options import GpioOptions
from spade_edge.tools.line.courier import Courier
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.output import MissedError, OutputError
from spade_edge.tools.line.outputs.pulses import Schedule
from spade_edge.tools.line.state import TROUBLED, WELL

pytest.importorskip("gpiod")
import gpiod
from fake_gpio import FakeGpio, FakeLine, Info, LineRequest
from gpiod.line_info import LineInfo

from spade_edge.tools.line.outputs import gpio as module
from spade_edge.tools.line.outputs.gpio import GpioOutput

LATER = 0.6  # seconds of delay that leave a busy machine time to send before


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> FakeGpio:
    fake = FakeGpio()
    monkeypatch.setattr(module, "gpiod", fake)
    return fake


def make(**options: Any) -> GpioOutput:
    chosen = GpioOptions(**{"line": 3, "pulse_on": "reject", "pulse_ms": 150, "delay_ms": int(1000 * LATER), **options})
    return GpioOutput(chosen, name="gate", line="hall3", configuration=configuration(chosen), requests=None)


def bad(number: int, **others: Any) -> Decision:
    return decision(number, verdict="defect", gate="reject", **others)


def pulses(line: FakeLine) -> list[tuple[float, float]]:
    """Begin and end of each time that the line was high."""
    found: list[tuple[float, float]] = []
    before, began = False, 0.0
    for at, high in line.changes:
        if high and not before:
            began = at
        if before and not high:
            found.append((began, at))
        before = high
    assert not before, "it is still high"
    return found


def test_the_fake_has_the_signatures_of_the_package() -> None:
    fake = FakeGpio()

    def parameters(function: Any) -> list[tuple[str, Any, bool]]:
        return [
            (each.name, each.kind, each.default is inspect.Parameter.empty)
            for each in inspect.signature(function).parameters.values()
            if each.name != "self"
        ]

    # Its first versions hand on all arguments to the method of the chip.
    assert parameters(fake.request_lines)[1:] == parameters(gpiod.Chip.request_lines)
    assert parameters(gpiod.request_lines)[0] == parameters(fake.request_lines)[0]
    for ours, theirs in (
        (fake.Chip, gpiod.Chip),
        (fake.Chip.get_line_info, gpiod.Chip.get_line_info),
        (LineRequest.set_value, gpiod.LineRequest.set_value),
        (LineRequest.get_value, gpiod.LineRequest.get_value),
        (LineRequest.release, gpiod.LineRequest.release),
    ):
        assert parameters(ours) == parameters(theirs)
    assert isinstance(gpiod.LineRequest.offsets, property)
    assert set(vars(Info(FakeLine(), 0))) <= set(inspect.signature(LineInfo).parameters)


def test_a_reject_gives_a_pulse_at_its_time(chip: FakeGpio) -> None:
    output, at = make(), time.monotonic()
    with opened(output):
        output.send(decision(1, at=at))
        output.send(bad(2, at=at))
        until(lambda: len(chip.lines[3].changes) >= 3)
    ((began, ended),) = pulses(chip.lines[3])
    assert began >= at + LATER
    assert ended >= at + LATER + 0.150


def test_good_parts_give_the_pulse_where_the_gate_opens_for_them(chip: FakeGpio) -> None:
    output = make(pulse_on="pass", delay_ms=0)
    with opened(output):
        output.send(bad(1))
        output.send(decision(2))
        until(lambda: len(chip.lines[3].changes) >= 3)
    assert len(pulses(chip.lines[3])) == 1


def test_several_parts_on_their_way(chip: FakeGpio) -> None:
    output, at = make(), time.monotonic() + 0.1
    with opened(output):
        for number in range(3):
            output.send(bad(number, at=at + number * 0.3))
        assert not any(high for _, high in chip.lines[3].changes)
    begins = [began for began, _ in pulses(chip.lines[3])]  # close gives what is on its way
    assert len(begins) == 3
    for number, began in enumerate(begins):
        assert began >= at + number * 0.3 + LATER


def test_overlapping_pulses_are_one(chip: FakeGpio) -> None:
    output, at = make(), time.monotonic() + 0.1
    with opened(output):
        for number in (2, 0, 1):
            output.send(bad(number, at=at + number * 0.1))
    ((began, ended),) = pulses(chip.lines[3])
    assert began >= at + LATER
    assert ended >= at + LATER + 0.2 + 0.15


def test_active_low(chip: FakeGpio) -> None:
    output = make(active_low=True, delay_ms=0)
    with opened(output):
        assert chip.lines[3].high
        output.send(bad(1))
        until(lambda: len(chip.lines[3].changes) >= 3)
    assert [high for _, high in chip.lines[3].changes[:3]] == [True, False, True]
    assert chip.lines[3].high


def test_inactive_and_released_at_the_end(chip: FakeGpio) -> None:
    output = make(pulse_ms=60_000, delay_ms=0, ready_line=5)
    with opened(output):
        output.beat(state())
        output.send(bad(1))
        until(lambda: chip.lines[3].high and chip.lines[5].high)
    assert not chip.lines[3].high
    assert not chip.lines[5].high
    assert not chip.lines[3].consumer
    assert not chip.lines[5].consumer
    output.close()


def test_parts_far_away_get_no_pulse_at_the_end(chip: FakeGpio, caplog: pytest.LogCaptureFixture) -> None:
    output = make(delay_ms=600_000)
    with opened(output):
        output.send(bad(1))
        output.send(bad(2))
    assert not pulses(chip.lines[3])
    assert "2 parts" in caplog.text


def test_too_late_for_half_of_the_pulse(chip: FakeGpio) -> None:
    output = make(pulse_ms=60_000)
    long_ago = time.monotonic() - LATER
    with opened(output):
        output.send(bad(1, at=long_ago - 10))  # what remains is more than half
        until(lambda: chip.lines[3].high)
        with pytest.raises(MissedError, match="part 1002"):
            output.send(bad(2, at=long_ago - 31))
        output.send(decision(3, at=long_ago - 31))  # nothing was to be done
        assert not output.stale(bad(2, at=long_ago - 31))
    assert [high for _, high in chip.lines[3].changes[:2]] == [False, True]


def test_a_good_part_that_has_passed_is_stale(chip: FakeGpio) -> None:
    output = make(pulse_on="pass")
    long_ago = time.monotonic() - LATER - 1
    assert output.stale(decision(1, at=long_ago))
    assert not output.stale(bad(1, at=long_ago))
    assert not output.stale(decision(1, at=long_ago, test=True))
    assert not output.stale(decision(1, at=time.monotonic() + 60))


def test_without_delay_the_pulse_begins_with_the_decision(chip: FakeGpio) -> None:
    output, now = make(delay_ms=0), time.monotonic()
    with opened(output):
        output.send(bad(1, at=now - 5, milliseconds=5000 + 60_000))  # decided in a minute: never too late in this test
        until(lambda: len(chip.lines[3].changes) >= 3)
        with pytest.raises(MissedError):
            output.send(bad(2, at=now - 5, milliseconds=1000))
    assert len(pulses(chip.lines[3])) == 1


def test_without_delay_a_pulse_may_begin_a_moment_after_the_decision(
    chip: FakeGpio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 60)
    with opened(make(delay_ms=0)) as output:
        output.send(bad(1, at=time.monotonic() - 5, milliseconds=1000))


def test_a_long_name_fits_into_what_linux_shows(chip: FakeGpio) -> None:
    options = GpioOptions(line=3)
    output = GpioOutput(options, name="g" * 64, line="h", configuration=configuration(options), requests=None)
    with opened(output):
        assert chip.lines[3].consumer.startswith("spade-edge ggg")


def test_the_test_notices_a_line_that_does_not_become_inactive(chip: FakeGpio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLine, "set", lambda line, _: setattr(line, "active", True))
    with pytest.raises(OutputError, match="inactive"):
        make().test(decision(0, test=True), state())


def test_a_test_message_gives_no_pulse(chip: FakeGpio) -> None:
    output = make(pulse_on="pass", delay_ms=0)
    with opened(output):
        output.send(decision(0, test=True))
        output.send(decision(0, test=True, at=time.monotonic() - 100))
    assert not pulses(chip.lines[3])


def test_a_missed_reject_is_told_and_the_others_get_their_pulse(chip: FakeGpio) -> None:
    """The courier must not open the output again: parts on their way would lose their pulses."""
    output, at = make(), time.monotonic()
    courier = Courier(output, name="gate", kind="gpio", queue=10, patience=30)
    courier.start()
    try:
        until(lambda: courier.state.health.state == WELL)
        courier.hand_over(bad(1, at=at + 0.4))
        courier.hand_over(bad(2, at=at - 100))
        courier.hand_over(bad(3, at=at + 0.8))
        until(lambda: courier.state.waiting == 0)
        state = courier.state
        assert state.health.state == TROUBLED
        assert "1002" in state.health.words
        assert (state.sent, state.lost) == (2, 1)
        until(lambda: len(chip.lines[3].changes) >= 5)
    finally:
        courier.end()
        courier.join()
    assert len(pulses(chip.lines[3])) == 2


def test_the_output_counts_as_well_again_after_a_while(chip: FakeGpio) -> None:
    seconds = [0.0]
    courier = Courier(make(), name="gate", kind="gpio", queue=10, patience=30, clock=lambda: seconds[0])
    courier.start()
    try:
        courier.hand_over(bad(1, at=time.monotonic() - 100))
        until(lambda: courier.state.lost == 1)
        courier.beat(state())
        courier.hand_over(decision(2))
        until(lambda: courier.state.sent == 1)
        assert courier.state.health.state == TROUBLED
        seconds[0] += 61
        courier.beat(state())
        until(lambda: courier.state.health.state == WELL)
    finally:
        courier.end()
        courier.join()


def test_more_parts_on_their_way_than_there_is_room_for(chip: FakeGpio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 3)
    output = make(delay_ms=60_000)
    with opened(output):
        for number in range(3):
            output.send(bad(number))
        with pytest.raises(MissedError):
            output.send(bad(4))


def test_the_ready_line_changes_at_each_heartbeat(chip: FakeGpio) -> None:
    output = make(ready_line=5)
    with opened(output):
        for beat in range(4):
            output.beat(state(beat))
    assert [high for _, high in chip.lines[5].changes] == [False, True, False, True, False, False]
    assert not any(high for _, high in chip.lines[3].changes)


def test_a_chip_that_is_pulled_out(chip: FakeGpio) -> None:
    output = make(delay_ms=0, ready_line=5)
    with opened(output):
        chip.broken = True
        with pytest.raises(OutputError):
            output.beat(state())
        output.send(bad(1))
        until(lambda: output._pulses is not None and output._pulses.problem)
        with pytest.raises(OutputError, match="gpiodetect"):
            output.send(bad(2))
    with pytest.raises(OutputError):
        output.open()
    output.close()
    chip.broken = False
    with opened(output):
        output.send(bad(3))
        until(lambda: chip.lines[3].high)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"line": 99}, "gpioinfo"),
        ({"chip": "/dev/gpiochip7"}, "gpiodetect"),
        ({"line": 2}, "another program"),
        ({"ready_line": 2}, "another program"),
    ],
)
def test_a_line_that_cannot_be_had(chip: FakeGpio, options: dict[str, Any], words: str) -> None:
    chip.lines[2].consumer = "somebody"
    output = make(**options)
    with pytest.raises(OutputError, match=words):
        output.open()
    output.close()
    assert [line.consumer for line in chip.lines if line.consumer] == ["somebody"]


def test_no_permission(chip: FakeGpio, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(chip, "request_lines", refuse)
    with pytest.raises(OutputError, match="group"):
        make().open()


@pytest.mark.parametrize("options", [{"delay_ms": 79}, {"ready_line": 3}])
def test_options_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make(**options)


def test_it_is_not_open(chip: FakeGpio) -> None:
    output = make()
    with pytest.raises(OutputError):
        output.send(bad(1))
    with pytest.raises(OutputError):
        output.beat(state())


def test_the_test_gives_no_pulse(chip: FakeGpio) -> None:
    output = make(pulse_on="pass", delay_ms=0, ready_line=5)
    sentence = output.test(decision(0, test=True), state())
    assert "spade-edge gate" in sentence
    assert "PIN3" in sentence
    assert not any(high for _, high in chip.lines[3].changes + chip.lines[5].changes)
    assert not chip.lines[3].consumer
    chip.lines[3].consumer = "somebody"
    with pytest.raises(OutputError):
        output.test(decision(0, test=True), state())


def test_a_schedule() -> None:
    schedule = Schedule()
    assert schedule.begin(0.0) == (False, 0)
    assert schedule.next(0.0) is None
    for pulse in ((10.0, 12.0), (11.0, 13.0), (20.0, 21.0), (13.0, 14.0), (11.0, 11.5)):
        schedule.add(*pulse)
    assert schedule.next(0.0) == 10.0
    assert schedule.begin(9.99) == (False, 0)
    assert schedule.begin(10.0) == (True, 0)
    assert schedule.next(10.0) == 11.0
    assert schedule.begin(11.9) == (True, 0)  # the one that ended at 11.5 was covered
    assert schedule.next(11.9) == 13.0
    assert schedule.begin(13.0) == (True, 0)
    assert schedule.begin(14.0) == (False, 0)
    assert len(schedule) == 1
    assert schedule.begin(30.0) == (False, 1)  # the last one has passed
    assert schedule.begin(31.0) == (False, 0)
    schedule.add(40.0, 45.0)
    schedule.add(41.0, 42.0)
    assert [schedule.begin(now)[0] for now in (40.0, 41.0, 43.0, 45.0)] == [True, True, True, False]


def test_pulses_that_could_not_be_given_are_told(chip: FakeGpio) -> None:
    output = make()
    with opened(output):
        assert output._pulses is not None
        output._pulses.add(1.0, 2.0)  # as if the thread had been held up
        until(lambda: len(output._pulses or ()) == 0)
        with pytest.raises(MissedError, match="found 1"):
            output.beat(state())
        output.beat(state())
    assert not pulses(chip.lines[3])


SIM = Path("/sys/kernel/config/gpio-sim")


@pytest.fixture
def simulated() -> Iterator[tuple[str, Path]]:
    """A chip of the kernel's gpio-sim: its device, and the folder in which the levels of its lines can be read."""
    if not SIM.is_dir():
        pytest.skip("the kernel has no gpio-sim, or configfs is not mounted")
    device = SIM / "spade-edge-test"
    try:
        (device / "bank0").mkdir(parents=True)
    except PermissionError:
        pytest.skip("gpio-sim needs root")
    try:
        (device / "bank0" / "num_lines").write_text("8")
        (device / "live").write_text("1")
        name = (device / "bank0" / "chip_name").read_text().strip()
        place = (device / "dev_name").read_text().strip()
        yield f"/dev/{name}", Path("/sys/devices/platform") / place / name
    finally:
        with contextlib.suppress(OSError):
            (device / "live").write_text("0")
        (device / "bank0").rmdir()
        device.rmdir()


def test_on_the_simulated_chip_of_the_kernel(simulated: tuple[str, Path]) -> None:
    path, levels = simulated
    level = levels / "sim_gpio3" / "value"
    output = make(chip=path, pulse_ms=300, delay_ms=0)
    with opened(output):
        assert level.read_text().strip() == "0"
        output.send(bad(1))
        until(lambda: level.read_text().strip() == "1")
        until(lambda: level.read_text().strip() == "0")
    assert "inactive" in output.test(decision(0, test=True), state())
