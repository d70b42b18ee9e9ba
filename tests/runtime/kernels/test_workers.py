"""Threads that share the parts of a computation."""

from __future__ import annotations

import gc
import threading
from itertools import pairwise

import pytest

from spade_edge.runtime import UsageError
from spade_edge.runtime.kernels.workers import Workers, cores


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 50])
def test_results_come_in_the_order_of_the_parts(threads: int, count: int) -> None:
    assert Workers.of(threads).map(lambda part: part * part, range(count)) == [i * i for i in range(count)]


def test_parts_run_at_once_and_the_calling_thread_works_too() -> None:
    together = threading.Barrier(3, timeout=20)  # three threads must stand at it at the same time

    def work(part: int) -> int:
        together.wait()
        return threading.get_ident()

    seen = Workers.of(3).map(work, range(3))
    assert len(set(seen)) == 3 and threading.get_ident() in seen


def test_one_thread_is_the_calling_one() -> None:
    assert set(Workers.of(1).map(lambda part: threading.get_ident(), range(5))) == {threading.get_ident()}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bad", [0, 3, 7])
def test_what_a_part_raises_arrives_when_all_have_stopped(threads: int, bad: int) -> None:
    running = 0
    lock = threading.Lock()

    def work(part: int) -> None:
        nonlocal running
        with lock:
            running += 1
        try:
            if part == bad:
                raise ZeroDivisionError
        finally:
            with lock:
                running -= 1

    workers = Workers.of(threads)
    with pytest.raises(ZeroDivisionError):
        workers.map(work, range(8))
    assert running == 0
    assert workers.map(lambda part: part, range(8)) == list(range(8))  # they go on afterwards


def test_all_who_ask_for_a_number_of_threads_share_them() -> None:
    one = Workers.of(2)
    assert Workers.of(2) is one and Workers.of(3) is not one
    assert Workers.of(None).threads == cores() >= 1


def test_threads_end_with_the_last_who_needs_them() -> None:
    before = set(threading.enumerate())
    workers = Workers.of(5)
    workers.map(lambda part: part, range(20))
    started = set(threading.enumerate()) - before
    assert 1 <= len(started) <= 4
    del workers
    gc.collect()
    for thread in started:
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_other_numbers_of_threads_are_refused(threads: int) -> None:
    with pytest.raises(UsageError):
        Workers.of(threads)


@pytest.mark.parametrize("threads", [1, 2, 4, 16])
@pytest.mark.parametrize(("count", "usual"), [(1, 28), (14, 7), (196, 28), (784, 98), (5, 1)])
def test_bands_cover_everything_once_in_equal_parts(threads: int, count: int, usual: int) -> None:
    bands = Workers.of(threads).bands(count, usual=usual)
    assert bands[0].start == 0 and bands[-1].stop == count
    assert all(one.stop == two.start for one, two in pairwise(bands))
    sizes = [band.stop - band.start for band in bands]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    assert len(bands) == count or len(bands) % threads == 0  # as many for each thread
