"""OpenCV without messages of its own, because sources report every fault in one line."""

from __future__ import annotations

import os
from typing import Any

from spade_edge.galleries.images.decoding import log_of

SILENT = 0  # of OpenCV's log levels


def opencv() -> Any:
    """The package cv2, loaded on demand and set to write nothing to stderr."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's messages; read when the first file is opened
    import cv2

    log_of(cv2).setLogLevel(SILENT)
    return cv2
