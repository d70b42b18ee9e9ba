"""Several calls at once, with the results in order."""

from __future__ import annotations

from concurrent.futures import Future, wait
from threading import Barrier, Event

import pytest
from fake_line import LONG

from spade_edge.tools.datasets import read_ahead as reading
from spade_edge.tools.datasets.read_ahead import AHEAD, read_ahead


def test_results_come_in_the_order_of_the_items() -> None:
    first = Event()

    def call(item: int) -> int:
        if item == 0:
            assert first.wait(LONG)  # all the others of the first threads are done before
        if item == 3:
            first.set()
        return item * item

    assert list(read_ahead(call, range(200), threads=4)) == [item * item for item in range(200)]
    assert list(read_ahead(call, [], threads=4)) == []


def test_so_many_calls_run_at_once() -> None:
    together = Barrier(8)  # breaks unless eight threads come
    assert list(read_ahead(lambda item: together.wait(LONG) >= 0, range(16), threads=8)) == [True] * 16


def test_it_does_not_run_far_ahead() -> None:
    taken = []

    def items() -> object:
        for item in range(10 * AHEAD):
            taken.append(item)
            yield item

    results = read_ahead(lambda item: item, items())  # type: ignore[arg-type, var-annotated]
    assert next(results) == 0
    assert len(taken) == AHEAD
    results.close()


def test_the_first_fault_is_raised_when_what_runs_has_ended_and_nothing_more_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []
    ended: list[int] = []
    running, gate = Event(), Event()

    def call(item: int) -> int:
        begun.append(item)
        if item == 0:
            assert running.wait(LONG)
            raise ValueError("zero")
        running.set()
        assert gate.wait(LONG)
        ended.append(item)
        return item

    def waiting(futures: list[Future[int]]) -> None:
        assert ended == []
        gate.set()
        wait(futures)

    monkeypatch.setattr(reading, "wait", waiting)
    results = read_ahead(call, range(1000), threads=2)
    with pytest.raises(ValueError, match="zero"):
        next(results)
    # The thread that failed may have begun one more.
    assert sorted(begun) in ([0, 1], [0, 1, 2]) and sorted(ended) == sorted(begun)[1:]


def test_who_interrupts_does_not_wait() -> None:
    gate = Event()

    def call(item: int) -> int:
        if item:
            assert gate.wait(LONG)
        return item

    results = read_ahead(call, range(10), threads=2)
    assert next(results) == 0
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert not gate.is_set()
    gate.set()
