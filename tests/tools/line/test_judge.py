"""One thread that scores what is due first."""

from __future__ import annotations

import threading

from fake_line import LONG, Clock, until

from spade_edge.tools.line.judge import MOST, Judge
from spade_edge.tools.line.state import HUNG, WELL


def test_what_is_due_first_comes_first_and_what_nobody_wants_is_left_out() -> None:
    judge, done = Judge(patience=LONG), list[int]()
    for deadline in (5, 1, 3, 3, 2):
        number = len(done)
        judge.submit(deadline=deadline, wanted=lambda d=deadline: d != 2, run=lambda d=deadline: done.append(d))  # type: ignore[misc]
        assert number == 0
    judge.start()
    until(lambda: len(done) == 4)
    judge.end()
    assert done == [1, 3, 3, 5]


def test_a_frame_that_fails_does_not_end_it() -> None:
    judge, done = Judge(patience=LONG), threading.Event()
    judge.start()
    judge.submit(deadline=1, wanted=lambda: True, run=lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    judge.submit(deadline=2, wanted=lambda: True, run=done.set)
    assert done.wait(LONG)
    judge.end()


def test_the_number_of_frames_that_wait_is_bounded_and_those_decided_make_room() -> None:
    judge, open_jobs = Judge(patience=LONG), dict.fromkeys(range(MOST), True)
    for number in range(MOST):
        assert judge.submit(deadline=number, wanted=lambda n=number: open_jobs[n], run=lambda: None)  # type: ignore[misc]
    assert not judge.submit(deadline=MOST, wanted=lambda: True, run=lambda: None)
    open_jobs[3] = False
    assert judge.submit(deadline=0, wanted=lambda: True, run=lambda: None)
    judge.end()
    assert not judge.submit(deadline=0, wanted=lambda: True, run=lambda: None)


def test_what_is_due_first_takes_the_place_of_what_is_due_last() -> None:
    judge, dropped, done = Judge(patience=LONG), list[int](), list[int]()

    def submit(deadline: int) -> bool:
        return judge.submit(
            deadline=deadline,
            wanted=lambda: True,
            run=lambda: done.append(deadline),
            drop=lambda: dropped.append(deadline),
        )

    assert all(submit(deadline) for deadline in range(1, MOST + 1))
    assert submit(0) and dropped == [MOST]  # of another camera, whose parts have little time
    assert not submit(MOST + 1) and dropped == [MOST, MOST + 1]
    judge.start()
    until(lambda: len(done) == MOST)
    judge.end()
    assert done == list(range(MOST))


def test_a_network_that_hangs_is_told(clock: Clock) -> None:
    judge, go, running = Judge(patience=5, clock=clock), threading.Event(), threading.Event()
    judge.start()
    assert judge.health.state == WELL
    judge.submit(deadline=1, wanted=lambda: True, run=lambda: (running.set(), go.wait(LONG))[0])
    assert running.wait(LONG)
    clock.now += 4.9
    assert judge.health.state == WELL
    clock.now += 0.2
    assert judge.health.state == HUNG
    go.set()
    until(lambda: judge.health.state == WELL)
    judge.end()


def test_a_frame_that_would_be_late_gives_way_to_one_that_need_not_be(clock: Clock) -> None:
    judge, done = Judge(patience=LONG, clock=clock), list[str]()

    def score(name: str) -> None:
        clock.now += 10  # as scoring usually takes
        done.append(name)

    def submit(name: str, deadline: float, camera: str = "top") -> None:
        judge.submit(deadline=deadline, camera=camera, wanted=lambda: True, run=lambda: score(name))

    submit("first", 101)  # nobody knows yet how long it takes
    submit("hopeless", 119)
    submit("another camera's", 119.5, camera="side")  # whose frames may be quicker
    submit("in time", 131)
    submit("hopeless, but the only one", 132)
    judge.start()
    until(lambda: len(done) == 4)
    judge.end()
    assert done == ["first", "another camera's", "in time", "hopeless, but the only one"]
