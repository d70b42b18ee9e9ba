"""One thread and one bounded queue for each output: nothing is delayed, and what is lost is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from fake_line import LONG, Clock, Memory, numbers, until

from spade_edge.tools.line import courier as module
from spade_edge.tools.line.courier import Courier
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.state import HUNG, TROUBLED, WELL, LineState
from spade_edge.tools.line.trigger import Trigger


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOONEST", 0.01)


def decision(number: int) -> Decision:
    trigger = Trigger(camera="top", number=number, id=str(number), at=0, time=0, deadline=1)
    return Decision("line", trigger, "good", "pass", "", "bolt", decided=0, milliseconds=1)


def state(beat: int = 1) -> LineState:
    return LineState("line", "0", 0, 0, beat, (), ())


def fail(problem: Exception) -> None:
    raise problem


def hang(reached: threading.Event, go: threading.Event) -> None:
    reached.set()
    go.wait(LONG)


@pytest.fixture
def carried() -> object:
    started: list[Courier[Decision]] = []

    def make(output: Memory, **options: object) -> Courier[Decision]:
        chosen = {"name": "plc", "kind": "modbus", "queue": 100, "patience": LONG, **options}
        started.append(Courier(output, **chosen))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for courier in started:
        courier.end(patience=0)
        courier.join(patience=0.1)


Make = Callable[..., Courier[Decision]]


def test_decisions_arrive_in_order_and_beats_between_them(carried: Make) -> None:
    output = Memory()
    courier = carried(output)
    assert courier.state.health.state == TROUBLED
    for number in range(1, 6):
        courier.hand_over(decision(number))
    courier.beat(state(1))
    courier.beat(state(2))
    courier.start()
    until(lambda: courier.state.sent == 5 and output.beats)  # what is taken is counted a moment later
    assert numbers(output.taken) == [1, 2, 3, 4, 5] and [beat.beat for beat in output.beats] == [2]
    assert (courier.state.lost, courier.state.waiting) == (0, 0)
    assert courier.state.health.state == WELL
    courier.end()
    courier.join()
    assert output.closed == 1
    courier.hand_over(decision(6))
    assert courier.state.waiting == 0


@pytest.mark.parametrize("problem", [OutputError("the broker is gone"), ValueError("what"), KeyboardInterrupt])
def test_what_was_not_taken_is_sent_again_after_opening_again(carried: Make, problem: type[Exception]) -> None:
    if problem is KeyboardInterrupt:
        problem = MemoryError  # type: ignore[assignment]
    output, failures = Memory(), iter([1, 0, 1, 1, 0, 0])

    def fail(_: Decision) -> None:
        if next(failures, 0):
            raise problem

    output.on_send = fail
    courier = carried(output)
    courier.start()
    for number in range(1, 5):
        courier.hand_over(decision(number))
    until(lambda: len(output.taken) == 4)
    assert numbers(output.taken) == [1, 2, 3, 4] and output.opened == 4 and output.closed == 3
    until(lambda: courier.state.health.state == WELL)
    assert courier.state.lost == 0


def test_an_output_that_is_not_there_yet_is_opened_when_it_is(carried: Make) -> None:
    output, there = Memory(), threading.Event()

    def refuse() -> None:
        if not there.is_set():
            raise OutputError("no broker")

    output.on_open = refuse
    courier = carried(output, queue=3)
    courier.start()
    for number in range(1, 8):
        courier.hand_over(decision(number))
    until(lambda: output.opened > 2)
    assert courier.state.health.words == "no broker" and courier.state.lost == 4
    there.set()
    until(lambda: courier.state.sent == 3)
    assert numbers(output.taken) == [5, 6, 7]


def test_the_oldest_gives_way_also_while_it_is_being_sent(carried: Make) -> None:
    output, go, sending = Memory(), threading.Event(), threading.Event()
    output.on_send = lambda _: hang(sending, go)
    courier = carried(output, queue=2)
    courier.start()
    courier.hand_over(decision(1))
    assert sending.wait(LONG)
    for number in (2, 3, 4):
        courier.hand_over(decision(number))
    assert courier.state.waiting == 2
    go.set()
    until(lambda: len(output.taken) == 3)
    assert numbers(output.taken) == [1, 3, 4]
    until(lambda: courier.state.sent == 3)
    assert courier.state.lost == 1  # the first was sent after all


def test_nothing_is_taken_after_the_end(carried: Make) -> None:
    output = Memory()
    courier = carried(output)
    courier.start()
    assert courier.hand_over(decision(1))
    courier.end()
    assert not courier.hand_over(decision(2))
    courier.join()
    assert numbers(output.taken) == [1]


def test_a_successor_carries_what_was_left_first(carried: Make) -> None:
    dead, output = Memory(), Memory()
    dead.on_open = lambda: fail(OutputError("down"))
    former, successor = carried(dead), carried(output, queue=4)
    former.start()
    for number in range(1, 5):
        former.hand_over(decision(number))
    former.end(patience=0.05)
    assert successor.hand_over(decision(5))  # it may come before what was left
    former.join()
    successor.take_over(former)
    successor.start()
    until(lambda: len(output.taken) == 4)
    assert numbers(output.taken) == [2, 3, 4, 5] and successor.state.lost == 1 and former.state.waiting == 0


def test_what_is_too_late_is_not_sent(carried: Make) -> None:
    output = Memory()
    output.old = lambda found: found.trigger.number % 2 == 0
    courier = carried(output)
    courier.start()
    for number in range(1, 6):
        courier.hand_over(decision(number))
    until(lambda: courier.state.waiting == 0 and courier.state.sent == 3)
    assert numbers(output.taken) == [1, 3, 5] and courier.state.lost == 2


def test_an_output_that_hangs_is_told_and_abandoned(carried: Make, clock: Clock) -> None:
    output, go, sending = Memory(), threading.Event(), threading.Event()
    output.on_send = lambda _: hang(sending, go)
    courier = carried(output, patience=5, clock=clock)
    courier.start()
    courier.hand_over(decision(1))
    assert sending.wait(LONG) and courier.state.health.state == WELL
    clock.now += 6
    assert courier.state.health.state == HUNG
    courier.end(patience=0)
    courier.join(patience=0.05)  # returns although the output does not
    go.set()


def test_what_waits_at_the_end_is_carried_and_a_dead_output_is_given_up(carried: Make) -> None:
    output = Memory()
    courier = carried(output)
    for number in range(1, 50):
        courier.hand_over(decision(number))
    courier.start()
    courier.end()
    courier.join()
    assert len(output.taken) == 49
    dead = Memory()
    dead.on_send = lambda _: 1 // 0  # type: ignore[assignment, return-value]
    courier = carried(dead)
    courier.hand_over(decision(1))
    courier.start()
    courier.end(patience=0.3)
    courier.join()
    assert dead.taken == [] and dead.closed >= 1 and courier.state.waiting == 1


def test_an_output_that_opens_and_takes_nothing_is_not_well_in_between(
    carried: Make, caplog: pytest.LogCaptureFixture
) -> None:
    output, full = Memory(), threading.Event()

    def refuse(_: Decision) -> None:
        if full.is_set():
            raise OutputError("no space left")

    output.on_send = refuse
    courier = carried(output)
    courier.start()
    until(lambda: courier.state.health.state == WELL)
    full.set()
    courier.hand_over(decision(1))
    until(lambda: output.opened > 3)
    assert courier.state.health.words == "no space left" and "works again" not in caplog.text
    full.clear()
    until(lambda: "works again" in caplog.text)  # said just after the state is known
    assert numbers(output.taken) == [1] and courier.state.health.state == WELL
