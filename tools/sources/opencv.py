"""OpenCV without messages of its own, because sources report every fault in one line."""

from __future__ import annotations

import os
from typing import Any


def opencv() -> Any:
    """The package cv2, loaded on demand and set to write nothing to stderr."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's messages; read when the first file is opened
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
