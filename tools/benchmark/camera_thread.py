"""A thread beside the frames that does what that of a camera does, so that its effect on their time can be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

DIFFERENT = 8  # frames that the camera repeats
QUALITY = 95  # of JPEG


class CameraThread:
    """Decodes JPEGs at a constant rate in the thread in which `score` reads a camera.

        with CameraThread(frames, rate=30) as camera:
            with camera.running():
                ...

    Like the frames of a camera, those decoded are copied, compared with the one before them, and dropped if nobody has
    taken them when the next one comes.

    Args:
        frames: (H, W, 3) uint8 BGR or (H, W) uint8 grey; the first few are compressed, and decoded again and again.
        rate: frames a second. Frames that are due while one is being decoded are left out.

    Attributes:
        rate: as above.
        delivered: frames decoded so far.
        seconds: how long it has been running.

    Raises:
        ModuleNotFoundError: OpenCV is not installed.
    """

    def __init__(self, frames: Sequence[NDArray[np.uint8]], *, rate: float) -> None:
        from spade_edge.tools.sources import SourceOptions, open_source

        self._camera = JpegCamera(frames[:DIFFERENT], rate=rate)
        self._acquisition = open_source(self._camera, options=SourceOptions(stall=0)).acquire()
        self.rate, self.seconds = rate, 0.0

    @property
    def delivered(self) -> int:
        return self._camera.delivered

    def __enter__(self) -> CameraThread:
        self._acquisition.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._acquisition.end()
        self._camera.close()
        self._acquisition.__exit__()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the camera meanwhile; otherwise its thread sleeps."""
        start = perf_counter()
        self._camera.on.set()
        try:
            yield
        finally:
            self._camera.on.clear()
            self.seconds += perf_counter() - start


class JpegCamera:
    """A camera, as `open_source` reads it, whose frames are due at fixed times.

    Args:
        frames: (H, W, 3) uint8 BGR or (H, W) uint8 grey; they are delivered in turn, after compression.
        rate: frames a second.

    Attributes:
        on: frames are delivered while this is set.
        closed: ends a read that waits.
        delivered: number of frames delivered so far.

    Raises:
        ModuleNotFoundError: OpenCV is not installed.
    """

    def __init__(self, frames: Sequence[NDArray[np.uint8]], *, rate: float) -> None:
        from spade_edge.tools.sources.opencv import opencv

        self.on, self.closed, self.delivered = Event(), Event(), 0
        self._cv2, self._period = opencv(), 1 / rate
        self._files = [self._compressed(frame) for frame in frames]
        self._started, self._due = perf_counter(), 0  # when the clock started, and the number of the latest frame due

    def read(self) -> NDArray[np.uint8] | None:
        """Wait for the next frame and decode it; None after `close`."""
        while True:
            now = perf_counter() - self._started
            self._due = max(self._due, int(now / self._period)) + 1
            if self.closed.wait(max(0.0, self._due * self._period - now)):
                return None
            if self.on.is_set():
                file = self._files[self.delivered % len(self._files)]
                frame = np.asarray(self._cv2.imdecode(file, self._cv2.IMREAD_UNCHANGED), np.uint8)
                self.delivered += 1
                frame[0, 0] = self.delivered % 256  # two frames that are the same would be those of a frozen camera
                return frame

    def close(self) -> None:
        """End a read that waits."""
        self.closed.set()

    def _compressed(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        _, file = self._cv2.imencode(".jpg", frame, [self._cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return np.asarray(file, np.uint8)
