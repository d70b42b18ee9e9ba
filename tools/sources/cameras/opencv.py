"""OpenCV as the sources want it: silent, as every fault is reported in one line of our own."""

from __future__ import annotations

import os
from typing import Any


def opencv() -> Any:
    """The package cv2, told to write nothing to stderr; loaded where it is needed."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's own messages; read when the first file is opened
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
