"""Several calls at once, with the results in order."""

from __future__ import annotations

from threading import Barrier, Event

import pytest
from fake_line import LONG

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


def test_the_first_fault_is_raised_and_nothing_more_is_begun() -> None:
    begun, gate = [], Event()

    def call(item: int) -> int:
        begun.append(item)
        if item == 1:
            raise ValueError("one")
        if item > 1:
            assert gate.wait(LONG)
        return item

    results = read_ahead(call, range(1000), threads=2)
    assert next(results) == 0
    with pytest.raises(ValueError, match="one"):
        next(results)
    gate.set()
    assert len(begun) <= 4  # the two threads had one more at most each
