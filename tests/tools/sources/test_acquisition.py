"""Reading beside the work: nothing is lost that must be kept, and whatever is left out is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import numpy as np
import pytest

from spade_edge.runtime import DeviceError
from spade_edge.tools.sources import Shot
from spade_edge.tools.sources.acquisition import AHEAD, ALL, FAULTS, NEWEST, Acquisition

LONG = 20.0  # seconds; no test waits so long unless something is wrong


class Fed:
    """A source whose shots a test hands over one by one; `put` returns when the thread has asked for the next."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Shot | Exception | None] = SimpleQueue()
        self.asked = threading.Semaphore(0)
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Shot]:
        try:
            while True:
                self.asked.release()
                shot = self.queue.get()
                if shot is None:
                    return
                if isinstance(shot, Exception):
                    raise shot
                yield shot
        finally:
            self.closed.set()

    def put(self, *shots: Shot | Exception | None) -> None:
        for shot in shots:
            assert self.asked.acquire(timeout=LONG)
            self.queue.put(shot)
        if shots[-1] is not None and not isinstance(shots[-1], Exception):
            assert self.asked.acquire(timeout=LONG)  # the last one has been taken in
            self.asked.release()


class Clock:
    """Stands still until a test moves it on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def frame(number: int) -> Shot:
    return Shot(number, np.full((2, 2), number % 256, np.uint8))


def fault(number: int) -> Shot:
    return Shot(number, None, "damaged")


def news() -> Shot:
    return Shot(None, None, "stopped")


def test_of_a_live_source_the_newest_frame_waits_and_faults_are_kept() -> None:
    fed = Fed()
    with Acquisition(fed, keep=NEWEST) as shots:
        fed.put(frame(0), frame(1), fault(2), news(), frame(3), frame(4))
        found = [next(shots) for _ in range(3)]
        assert [(shot.name, shot.dropped) for shot in found] == [(2, 2), (None, 0), (4, 1)]
        assert shots.dropped == 3
        fed.put(frame(5), None)
        assert [(shot.name, shot.dropped) for shot in shots] == [(5, 0)]


def test_a_flood_of_faults_is_bounded_and_counted() -> None:
    fed = Fed()
    with Acquisition(fed, keep=NEWEST) as shots:
        fed.put(*(fault(number) for number in range(FAULTS + 5)), None)
        found = list(shots)
    assert [shot.name for shot in found] == list(range(5, FAULTS + 5))
    assert found[0].dropped == 5 == shots.dropped


def test_a_slow_reader_of_a_fast_camera_misses_nothing_uncounted() -> None:
    def fast() -> Iterator[Shot]:
        for number in range(3000):
            yield fault(number) if number % 7 == 0 else frame(number)
            if number % 100 == 0:
                time.sleep(0.001)

    found = []
    with Acquisition(fast(), keep=NEWEST) as shots:
        for shot in shots:
            found.append(shot)
            time.sleep(0.0005)
    names = [shot.name for shot in found]
    assert names == sorted(set(names)) and names[-1] == 2999
    assert len(found) + shots.dropped == 3000
    assert sum(shot.dropped for shot in found) == shots.dropped
    # What each shot says of the frames before it is true for each, not only in sum.
    before = -1
    for shot in found:
        assert shot.name == before + 1 + shot.dropped
        before = shot.name


def test_where_all_is_kept_reading_waits_for_the_work() -> None:
    read = []

    def many() -> Iterator[Shot]:
        for number in range(50):
            read.append(number)
            yield frame(number)

    with Acquisition(many(), keep=ALL) as shots:
        for number, shot in enumerate(shots):
            assert shot.name == number and shot.dropped == 0
            assert len(read) <= number + AHEAD + 2
            time.sleep(0.001)
    assert number == 49 and shots.dropped == 0


def test_silence_is_reported_once_until_the_next_frame() -> None:
    fed = Fed()
    with Acquisition(fed, keep=NEWEST, stall=0.05) as shots:
        assert next(shots).fault == "no frame for 0.1 s"  # 0.05, rounded
        fed.put(frame(0))
        assert next(shots).name == 0
        silence = next(shots)
        assert silence.name is None and silence.frame is None
        time.sleep(0.2)
        fed.put(frame(1))
        assert next(shots).name == 1
        fed.put(None)
        assert all(shot.news for shot in shots)


def test_silence_that_nobody_was_waiting_for_is_reported_too() -> None:
    fed, clock = Fed(), Clock()
    with Acquisition(fed, keep=NEWEST, stall=5, clock=clock) as shots:
        fed.put(frame(0))
        clock.now += 5
        fed.put(frame(1), None)
        found = [(shot.name, shot.dropped) for shot in shots]
    assert found == [(None, 1), (1, 0)] and shots.dropped == 1  # frame 0 is the one left out


def test_a_stop_that_was_reported_is_no_stall_as_well() -> None:
    fed, clock = Fed(), Clock()
    with Acquisition(fed, keep=NEWEST, stall=5, clock=clock) as shots:
        fed.put(news())
        assert next(shots).fault == "stopped"
        clock.now += 60
        fed.put(frame(0), None)
        assert next(shots).name == 0


def test_an_error_of_the_source_comes_out_after_what_it_had_read() -> None:
    fed = Fed()
    with Acquisition(fed, keep=ALL) as shots:
        fed.put(frame(0), DeviceError("unplugged"))
        assert next(shots).name == 0
        with pytest.raises(DeviceError, match="unplugged"):
            next(shots)


def test_leaving_early_closes_the_source_and_ends_the_thread() -> None:
    fed = Fed()
    with Acquisition(fed, keep=NEWEST) as shots:
        fed.put(frame(0))
        assert next(shots).name == 0
        thread = shots._thread
        shots.end()
        fed.queue.put(frame(1))
        with pytest.raises(StopIteration):
            next(shots)
    thread.join(LONG)
    assert not thread.is_alive() and fed.closed.is_set()


@pytest.mark.parametrize("keep", [ALL, NEWEST])
def test_a_thread_that_waits_for_room_ends_too(keep: str) -> None:
    closed = threading.Event()

    def endless() -> Iterator[Shot]:
        try:
            for number in range(10**9):
                yield frame(number)
        finally:
            closed.set()

    with Acquisition(endless(), keep=keep) as shots:
        next(shots)
    assert closed.wait(LONG)


def test_a_read_that_hangs_does_not_keep_whoever_leaves() -> None:
    fed = Fed()
    with Acquisition(fed, keep=NEWEST, patience=0.1) as shots:
        thread = shots._thread
    assert thread.is_alive() and thread.daemon
    fed.put(None)
    thread.join(LONG)
    assert not thread.is_alive()


def test_an_end_is_heard_by_somebody_who_waits() -> None:
    fed = Fed()
    with Acquisition(fed, keep=NEWEST) as shots:
        threading.Timer(0.1, shots.end).start()
        assert list(shots) == []
        fed.put(None)
