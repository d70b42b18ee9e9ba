"""A camera that is opened again whenever it stops, as one endless iterator of shots."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from spade_edge.runtime import DataError, DeviceError, UsageError
from spade_edge.tools.sources.address import without_secrets
from spade_edge.tools.sources.cameras.camera import Camera, Connect, Grab
from spade_edge.tools.sources.outage import Outage, Pause
from spade_edge.tools.sources.shot import Shot


def reopening(
    connect: Connect,
    *,
    label: str,
    tries: float,
    pause: Pause,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Shot]:
    """Every frame of a camera, numbered from 0; a number never repeats, even after the camera was opened again.

    A damaged frame is a fault. A stop is one shot of news, however often opening fails until the next frame.

    Args:
        connect: opens the camera.
        label: the camera's name, for messages.
        tries: how often to open it again; math.inf never gives up, not even if the first opening fails.
        pause: waits so many seconds; returns true if the source is to end.
        clock: returns seconds.

    Raises:
        DeviceError: the camera cannot be opened, or does not come back.
        UsageError: the camera returns something that is not a frame.
    """
    outage = Outage(label, tries=tries, pause=pause, clock=clock)
    camera: Camera | None = None
    patient = tries == math.inf
    number = 0
    try:
        while True:
            try:
                if camera is None:
                    camera = connect()
                    patient = True
                shot = _read(camera, number, label)
            except DeviceError as problem:
                if not patient:
                    raise
                if camera is not None:
                    camera.close()
                    camera = None
                news = outage.news(problem)
                if news is not None:
                    yield news
                if outage.wait(problem):
                    return
                continue
            if shot is None:  # no trigger yet
                if pause(0):
                    return
                continue
            outage.over()
            yield shot
            number += 1
    finally:
        if camera is not None:
            camera.close()


def _read(camera: Camera, number: int, label: str) -> Shot | None:
    """The next frame under its number, whole or damaged; None if the camera has not been triggered yet."""
    try:
        grab = camera.read()
    except DataError as problem:
        return Shot(number, None, without_secrets(str(problem)))
    if grab is None:
        return None
    if isinstance(grab, np.ndarray):
        grab = Grab(grab)
    if not isinstance(grab, Grab):
        raise UsageError(f"{label}: expected read() to return a frame, a Grab or None, found {type(grab).__name__}")
    # Copied, because the camera may reuse its memory for the next frame.
    return Shot(number, np.array(grab.frame), time=grab.time or time.time(), part=grab.part)
