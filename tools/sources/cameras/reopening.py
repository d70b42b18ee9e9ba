"""A camera that is opened again whenever it stops, as one endless iterator of shots."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from spade_edge.runtime import DataError, DeviceError
from spade_edge.tools.sources.cameras.device import Connect, Device
from spade_edge.tools.sources.cameras.outage import Outage, Pause
from spade_edge.tools.sources.shot import Shot


def reopening(
    connect: Connect,
    *,
    label: str,
    tries: float,
    pause: Pause,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Shot]:
    """Every frame of a camera, numbered as it is grabbed, so that a number never comes twice.

    A damaged frame is a fault. A stop is one shot of news, however often opening fails until the next frame.

    Args:
        connect: opens the camera.
        label: the camera's name, for messages.
        tries: how often to open it again; math.inf for ever, which then goes for the first opening, too.
        pause: waits between tries; gives true if the source shall end.
        clock: gives seconds.

    Raises:
        DeviceError: the camera cannot be opened, or does not come back.
    """
    outage = Outage(label, tries=tries, pause=pause, clock=clock)
    device: Device | None = None
    patient = tries == math.inf
    number = 0
    try:
        while True:
            try:
                if device is None:
                    device = connect()
                    patient = True
                shot = _read(device, number)
            except DeviceError as problem:
                if not patient:
                    raise
                if device is not None:
                    device.close()
                    device = None
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
        if device is not None:
            device.close()


def _read(device: Device, number: int) -> Shot | None:
    """A frame under its number, whole or damaged; None if there is none yet."""
    try:
        grab = device.read()
    except DataError as problem:
        return Shot(number, None, str(problem))
    if grab is None:
        return None
    # The camera may use its memory again for the next frame.
    return Shot(number, np.array(grab.frame), time=grab.time or time.time(), part=grab.part)
