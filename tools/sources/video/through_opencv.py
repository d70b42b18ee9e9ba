"""Videos and network streams through OpenCV, where PyAV is not installed.

OpenCV fills in what is missing and does not tell. Only Motion JPEG is safe, because OpenCV can hand over its frames
undecoded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError
from spade_edge.tools.sources.opencv import opencv
from spade_edge.tools.sources.video.motion_jpeg import frame_of

MOTION_JPEG = ("MJPG", "JPEG", "AVRN", "LJPG")
UNDECODED = -1  # of CAP_PROP_FORMAT

log = logging.getLogger(__name__)


class CapturedVideo:
    """The frames of a video file or stream, in the order of display.

    Args:
        capture: an open cv2.VideoCapture.

    Attributes:
        undecoded: whether frames are JPEG images that are decoded here.
    """

    def __init__(self, capture: Any) -> None:
        cv2 = opencv()
        self.capture = capture
        code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        name = code.to_bytes(4, "little").decode("latin-1").upper()
        self.undecoded = name in MOTION_JPEG and bool(capture.set(cv2.CAP_PROP_FORMAT, UNDECODED))

    def __iter__(self) -> Iterator[NDArray[np.uint8] | str]:
        """Every frame, (H, W, 3) uint8 BGR, or the fault of one that is known not to be whole."""
        while True:
            taken, frame = self.capture.read()
            if not taken:
                return
            if not self.undecoded:
                yield frame.astype(np.uint8, copy=False)
                continue
            try:
                yield frame_of(frame.tobytes())
            except DataError as problem:
                yield str(problem)

    def close(self) -> None:
        """Close it; may be called twice."""
        self.capture.release()


def capture(target: str, *, parameters: Sequence[int] = (), ffmpeg: bool = False) -> CapturedVideo | None:
    """Open a file or an address; None if OpenCV cannot.

    Args:
        target: a path or an address.
        parameters: of cv2.VideoCapture, if OpenCV has FFmpeg.
        ffmpeg: whether no other backend than FFmpeg is tried, if OpenCV has it.
    """
    cv2 = opencv()
    has_ffmpeg = cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends()
    backend = cv2.CAP_FFMPEG if ffmpeg and has_ffmpeg else cv2.CAP_ANY
    opened = cv2.VideoCapture(target, backend, list(parameters) if backend == cv2.CAP_FFMPEG else [])
    return CapturedVideo(opened) if opened.isOpened() else None


def warn_of_damage(video: CapturedVideo, label: str) -> None:
    """Say that damage goes unnoticed, unless the frames are decoded here."""
    if not video.undecoded:
        _warn(label)


@lru_cache(maxsize=64)  # once for a camera, however often it is opened
def _warn(label: str) -> None:
    log.warning(
        "%s: PyAV is not installed, so damaged frames cannot be noticed: OpenCV fills in what is missing from other "
        "frames, and they get a verdict; pip install av",
        label,
    )
