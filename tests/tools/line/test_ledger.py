"""Exactly one decision for each trigger, in order, by its deadline."""

from __future__ import annotations

import random
import threading
import time
from itertools import count

import numpy as np
import pytest
from fake_line import LONG, Clock, until

from spade_edge.tools.line.configuration.options import PASS, REJECT, LineOptions
from spade_edge.tools.line.decision import LATE, Inspection
from spade_edge.tools.line.decisions import Decisions
from spade_edge.tools.line.ledger import SCORING, EndedError, Entry, Ledger


class Book:
    """A ledger, what makes its decisions, and what it has let out."""

    def __init__(self, clock: Clock | None = None, *, seconds: float = 10.0, fail_safe: str = REJECT) -> None:
        self.clock = clock or time.monotonic
        self.decisions = Decisions(LineOptions(fail_safe=fail_safe), clock=self.clock)
        self.out: list[Inspection] = []
        self.ledger = Ledger(
            "top",
            seconds=seconds,
            late=lambda entry: self.decisions.late(entry, recipe="bolt"),
            emit=self.out.append,
            clock=self.clock,
        )

    def decide(self, entry: Entry, reason: str = "decided") -> bool:
        return self.ledger.decide(entry, self.decisions.cannot_judge(entry.trigger, recipe="bolt", reason=reason))

    @property
    def said(self) -> list[tuple[int, str]]:
        return [(found.decision.trigger.number, found.decision.verdict) for found in self.out]


def test_decisions_leave_in_the_order_of_triggers(clock: Clock) -> None:
    book = Book(clock)
    first, second, third = (book.ledger.enter() for _ in range(3))
    assert [entry.trigger.id for entry in (first, second, third)] == ["1", "2", "3"]
    assert book.decide(third) and book.decide(second) and book.said == []
    assert book.decide(first) and [number for number, _ in book.said] == [1, 2, 3]
    assert len(book.ledger) == 0


def test_the_second_decision_on_a_trigger_changes_nothing(clock: Clock) -> None:
    book = Book(clock)
    entry = book.ledger.enter(id="A7", recipe="nut")
    assert (entry.trigger.id, entry.trigger.recipe) == ("A7", "nut")
    assert book.decide(entry, "one") and not book.decide(entry, "two")
    assert [found.decision.reason for found in book.out] == ["one"]


def test_a_decision_at_the_deadline_is_late(clock: Clock) -> None:
    book = Book(clock, seconds=2.0)
    entry = book.ledger.enter()
    clock.now += 2.0
    assert not book.decide(entry)
    ((_, verdict),) = book.said
    assert verdict == LATE and book.out[0].decision.gate == REJECT
    assert book.out[0].decision.milliseconds == pytest.approx(2000)


@pytest.mark.parametrize("fail_safe", [PASS, REJECT])
def test_time_makes_late_and_says_what_was_missing(fail_safe: str) -> None:
    book = Book(seconds=0.05, fail_safe=fail_safe)
    without, scoring = book.ledger.enter(), book.ledger.enter()
    frame = np.zeros((2, 2), np.uint8)
    assert book.ledger.note(scoring, waits_for=SCORING, frame=frame)
    book.ledger.start()  # only now: on a busy machine they might be late before the note
    until(lambda: len(book.out) == 2)
    assert [found.decision.verdict for found in book.out] == [LATE, LATE]
    assert {found.decision.gate for found in book.out} == {fail_safe}
    assert book.out[0].decision.reason != book.out[1].decision.reason
    assert book.out[0].frame is None and book.out[1].frame is frame
    assert all(found.decision.milliseconds >= 50 for found in book.out)
    assert not book.ledger.note(without, waits_for=SCORING) and scoring.frame is None
    book.ledger.end()


def test_what_is_open_at_the_end_is_decided() -> None:
    book = Book(seconds=LONG)
    book.ledger.start()
    first, second = book.ledger.enter(), book.ledger.enter()
    assert book.decide(second)
    book.ledger.end()
    assert [number for number, _ in book.said] == [1, 2] and book.out[0].decision.verdict == LATE
    assert not book.decide(first)


def test_nothing_is_entered_after_the_end() -> None:
    book = Book()
    book.ledger.start()
    book.ledger.enter()
    book.ledger.end()
    with pytest.raises(EndedError):  # nobody would decide on it, and its number would be there twice
        book.ledger.enter()
    assert book.ledger.next == 2 and [number for number, _ in book.said] == [1]


def test_a_decision_that_waits_for_those_before_it_is_as_old_as_when_it_is_let_out(clock: Clock) -> None:
    book = Book(clock, seconds=2.0)
    first, second, third = book.ledger.enter(), book.ledger.enter(), book.ledger.enter()
    assert book.decide(second)
    clock.now += 1.5
    assert book.decide(first)
    assert [found.decision.milliseconds for found in book.out] == [pytest.approx(1500)] * 2
    fourth = book.ledger.enter()
    assert book.decide(fourth)
    clock.now += 2.5  # and nobody was awake when the third was overdue
    assert not book.decide(third)
    assert [verdict for _, verdict in book.said] == ["cannot_judge", "cannot_judge", LATE, LATE]
    assert book.out[3].decision.milliseconds == pytest.approx(2500)
    assert book.out[2].decision.reason != book.out[3].decision.reason


def test_a_frame_that_will_not_be_scored_is_let_go(clock: Clock) -> None:
    book = Book(clock)
    entry = book.ledger.enter()
    assert book.ledger.note(entry, waits_for=SCORING, frame=np.zeros((2, 2), np.uint8))
    book.ledger.release(entry)
    clock.now += 10
    assert not book.decide(entry) and book.out[0].frame is None


def test_waiting_until_it_is_empty() -> None:
    book = Book(seconds=LONG)
    entry = book.ledger.enter()
    asked = count()
    book.ledger.wait_empty(until=lambda: next(asked) > 1)
    threading.Timer(0.05, book.decide, [entry]).start()
    book.ledger.wait_empty(until=lambda: False)
    assert len(book.out) == 1


def test_many_threads_decide_and_time_runs_out() -> None:
    book = Book(seconds=0.01)
    book.ledger.start()
    entries: list[Entry] = []
    done = threading.Event()

    def decide(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        while not done.is_set() or any(book.ledger.is_open(entry) for entry in entries[-50:]):
            latest = entries[-20:]  # once: more are entered meanwhile
            for entry in chance.sample(latest, k=len(latest)):
                book.decide(entry, str(seed))
            time.sleep(chance.choice([0, 0, 0, 0.015]))

    threads = [threading.Thread(target=decide, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        entries.append(book.ledger.enter())
        if len(entries) % 40 == 0:
            time.sleep(0.002)
    done.set()
    for thread in threads:
        thread.join(LONG)
    book.ledger.end()
    assert [number for number, _ in book.said] == list(range(1, 2001))
    for found in book.out:
        assert (found.decision.verdict == LATE) == (found.decision.milliseconds >= 10)
