"""The camera thread delivers frames while it runs, and only then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.tools.benchmark.camera_thread import CameraThread, JpegCamera

Frames = Callable[..., NDArray[np.uint8]]
PATIENCE = 60.0  # seconds


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("grey", [False, True])
def test_frames_come_again_and_again_as_they_were(part: Frames, grey: bool) -> None:
    frames = [part(seed, size=(70, 90)) for seed in range(2)]
    frames = [frame[..., 1] if grey else frame for frame in frames]
    camera = JpegCamera(frames, rate=500)
    camera.on.set()
    for number in range(5):
        frame = camera.read()
        assert frame is not None and frame.shape == frames[0].shape and frame.dtype == np.uint8
        differences = [np.abs(frame.astype(int) - one).mean() for one in frames]
        assert int(np.argmin(differences)) == number % 2 and min(differences) < 4
    assert camera.delivered == 5
    camera.close()
    assert camera.read() is None and camera.delivered == 5


def test_the_thread_runs_only_while_it_is_to_run_and_ends(part: Frames) -> None:
    before = set(threading.enumerate())
    with CameraThread([part(1)], rate=200) as camera:
        assert (camera.rate, camera.delivered, camera.seconds) == (200, 0, 0.0)
        for _ in range(2):
            already, so_far = camera.delivered, camera.seconds
            with camera.running():
                until(lambda already=already: camera.delivered >= already + 8)  # type: ignore[misc]
            assert camera.seconds > so_far
            time.sleep(0.1)  # for the frame in progress
            paused = camera.delivered
            time.sleep(0.1)
            assert camera.delivered == paused
        assert len(set(threading.enumerate()) - before) == 1
    until(lambda: set(threading.enumerate()) <= before)


def test_frames_that_are_due_while_one_is_decoded_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now, waits = [10.0], []
    monkeypatch.setattr("spade_edge.tools.benchmark.camera_thread.perf_counter", lambda: now[0])
    camera = JpegCamera([np.zeros((8, 8), np.uint8)], rate=10)
    camera.on.set()

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        now[0] += seconds
        return False

    monkeypatch.setattr(camera, "closed", type("Closed", (), {"wait": staticmethod(wait)}))
    for taken in (0.03, 0.25, 0.0, -1e-9):  # seconds that decoding takes; a wait may end a little early
        camera.read()
        now[0] += taken
    camera.read()
    assert waits == pytest.approx([0.1, 0.07, 0.05, 0.1, 0.1], abs=1e-6)
