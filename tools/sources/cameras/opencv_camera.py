"""Cameras through OpenCV: V4L2, network streams and GStreamer pipelines, which include the CSI cameras of a Jetson."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from spade_edge.runtime import DeviceError, UsageError
from spade_edge.tools.sources.cameras.camera import Connect, Grab
from spade_edge.tools.sources.opencv import opencv

STREAMS = ("rtsp", "rtsps", "http", "https", "udp", "tcp")
OPENS_WITHIN, READS_WITHIN = 10_000, 5_000  # milliseconds, for backends that have timeouts
PIPE = " ! "  # only a GStreamer pipeline contains it
TO_BGR = "videoconvert ! video/x-raw, format=BGR"
APPSINK = "appsink drop=true max-buffers=1 sync=false"  # the newest frame, not the oldest
CSI = "nvarguscamerasrc sensor-id={} ! video/x-raw(memory:NVMM), format=NV12 ! nvvidconv ! video/x-raw, format=BGRx"


class OpenCVCamera:
    """An open cv2.VideoCapture as a camera.

    Args:
        capture: an open cv2.VideoCapture.
        label: the camera's name, for messages.
    """

    def __init__(self, capture: Any, *, label: str) -> None:
        self.capture = capture
        self.label = label

    def read(self) -> Grab:
        """The next frame, (H, W, 3) uint8 BGR.

        Raises:
            DeviceError: no frame came.
        """
        taken, frame = self.capture.read()
        if not taken:
            raise DeviceError(f"{self.label}: expected a frame, found none")
        return Grab(frame)

    def close(self) -> None:
        """Release the camera."""
        self.capture.release()


def is_camera(source: str) -> bool:
    """Whether this module opens a source of this name."""
    return (
        (source.isascii() and source.isdecimal())
        or source.startswith(("/dev/video", "/dev/v4l/", "csi://"))
        or PIPE in source
        or source.partition("://")[0].lower() in STREAMS
    )


def label_of(source: str) -> str:
    """A camera's name for messages and logs: without user, password and query."""
    if source.isdecimal():
        return f"camera {source}"
    if PIPE in source:
        return f"pipeline {source.partition(PIPE)[0].strip()}"
    if source.partition("://")[0].lower() in STREAMS:
        address = urlsplit(source)
        return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"
    return source


def connector(source: str) -> Connect:
    """A function that opens the camera, and can be called again.

    Raises:
        DeviceError: this OpenCV lacks what the camera needs.
        UsageError: the address is not complete.
    """
    cv2 = opencv()
    label, parameters = label_of(source), []
    target: str | int = source
    if source.startswith("csi://") or PIPE in source:
        target, backend = _pipeline(source), cv2.CAP_GSTREAMER
        if not re.search(r"GStreamer: +YES", cv2.getBuildInformation()):
            raise DeviceError(
                f"{label}: expected OpenCV with GStreamer, found {cv2.__version__} without it, like every OpenCV "
                f"from PyPI; use the one of JetPack, elsewhere apt install python3-opencv, or pipe frames in: "
                f"gst-launch-1.0 -q … ! {TO_BGR} ! fdsink | spade-edge score --raw WIDTHxHEIGHT … -"
            )
    elif "://" in source:
        backend = cv2.CAP_ANY
        if cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends():
            backend = cv2.CAP_FFMPEG
            parameters = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPENS_WITHIN, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READS_WITHIN]
    else:
        target = int(source) if source.isdecimal() else source
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY

    def connect() -> OpenCVCamera:
        capture = cv2.VideoCapture(target, backend, parameters)
        if not capture.isOpened():
            raise DeviceError(f"{label}: expected a camera that opens, found {_obstacle(source)}")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a long queue would deliver old frames
        return OpenCVCamera(capture, label=label)

    return connect


def _pipeline(source: str) -> str:
    """The GStreamer pipeline of a source, with the appsink that OpenCV reads from."""
    if source.startswith("csi://"):
        sensor = source.removeprefix("csi://")
        if not (sensor.isascii() and sensor.isdecimal()):
            raise UsageError(f"{source}: expected a sensor number, as in csi://0, found {sensor!r}")
        source = CSI.format(sensor)
    return source if "appsink" in source else f"{source} ! {TO_BGR} ! {APPSINK}"


def _obstacle(source: str) -> str:
    """The likely reason why a camera did not open."""
    if PIPE in source or source.startswith("csi://"):
        return "a pipeline that does not start; test it with gst-launch-1.0"
    if "://" in source:
        return f"no stream within {OPENS_WITHIN / 1000:.0f} s; check address, password and network"
    path = Path(f"/dev/video{source}" if source.isdecimal() else source)
    if sys.platform == "linux" and not path.exists():
        others = ", ".join(sorted(map(str, Path("/dev").glob("video*"))))
        return f"no {path}; " + (f"available: {others}" if others else "is it plugged in?")
    if sys.platform == "linux" and not os.access(path, os.R_OK | os.W_OK):
        return f"{path}, which this user may not open; add the user to the group 'video'"
    return "one that does not; is another program using it?"
