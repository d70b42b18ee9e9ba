"""Cameras through OpenCV: V4L2, and GStreamer pipelines, which include the CSI cameras of a Jetson."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from spade_edge.runtime import DeviceError, UsageError
from spade_edge.tools.sources.address import PIPE, printable
from spade_edge.tools.sources.cameras.camera import Connect, Grab
from spade_edge.tools.sources.opencv import opencv
from spade_edge.tools.sources.video.motion_jpeg import START, frame_of

MOST_CAMERAS = 9999  # more than any system numbers
TO_BGR = "videoconvert ! video/x-raw, format=BGR"
APPSINK = "appsink drop=true max-buffers=1 sync=false"  # the newest frame, not the oldest
CSI = "nvarguscamerasrc sensor-id={} ! video/x-raw(memory:NVMM), format=NV12 ! nvvidconv ! video/x-raw, format=BGRx"


class OpenCVCamera:
    """An open cv2.VideoCapture as a camera.

    Args:
        capture: an open cv2.VideoCapture.
        label: the camera's name, for messages.

    Attributes:
        undecoded: whether the camera delivers JPEG images that are decoded here, so that damage is noticed.
    """

    def __init__(self, capture: Any, *, label: str) -> None:
        self.capture = capture
        self.label = label
        self.undecoded = False

    def ask_for_jpeg(self) -> None:
        """Take the images of a Motion JPEG camera undecoded, if the backend can."""
        cv2 = opencv()
        code = int(self.capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        if code == cv2.VideoWriter.fourcc(*"MJPG") and self.capture.set(cv2.CAP_PROP_CONVERT_RGB, 0):
            self.undecoded = True

    def read(self) -> Grab:
        """The next frame, (H, W, 3) uint8 BGR.

        Raises:
            DataError: the frame is a JPEG image that is not whole.
            DeviceError: no frame came.
        """
        taken, frame = self.capture.read()
        if not taken:
            raise DeviceError(f"{self.label}: expected a frame, found none")
        if not self.undecoded:
            return Grab(frame)
        raw = frame.tobytes()
        if frame.ndim == 3 and frame.shape[2] == 3 and len(frame) > 1 and not raw.startswith(START):
            self.undecoded = False  # the backend decodes all the same
            return Grab(frame)
        return Grab(frame_of(raw))

    def close(self) -> None:
        """Release the camera."""
        self.capture.release()


def is_camera(source: str) -> bool:
    """Whether this module opens a source of this name."""
    return (
        (source.isascii() and source.isdecimal())
        or source.startswith(("/dev/video", "/dev/v4l/", "csi://"))
        or PIPE in source
    )


def connector(source: str) -> Connect:
    """A function that opens the camera, and can be called again.

    Raises:
        DeviceError: this OpenCV lacks what the camera needs.
        UsageError: the address is not complete.
    """
    cv2 = opencv()
    label = printable(source)
    target: str | int = source
    if source.startswith("csi://") or PIPE in source:
        target, backend = _pipeline(source), cv2.CAP_GSTREAMER
        if not re.search(r"GStreamer: +YES", cv2.getBuildInformation()):
            raise DeviceError(
                f"{label}: expected OpenCV with GStreamer, found {cv2.__version__} without it, like every OpenCV "
                f"from PyPI; use the one of JetPack, elsewhere apt install python3-opencv, or pipe frames in: "
                f"gst-launch-1.0 -q … ! {TO_BGR} ! fdsink | spade-edge score --raw WIDTHxHEIGHT … -"
            )
    else:
        if source.isdecimal() and int(source) > MOST_CAMERAS:
            raise UsageError(f"{source}: expected a camera number of at most {MOST_CAMERAS}")
        target = int(source) if source.isdecimal() else source
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY

    def connect() -> OpenCVCamera:
        capture = cv2.VideoCapture(target, backend)
        if not capture.isOpened():
            raise DeviceError(f"{label}: expected a camera that opens, found {_obstacle(source)}")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a long queue would deliver old frames
        camera = OpenCVCamera(capture, label=label)
        if backend == cv2.CAP_V4L2:
            camera.ask_for_jpeg()
        return camera

    return connect


def _pipeline(source: str) -> str:
    """The GStreamer pipeline of a source, with the appsink that OpenCV reads from."""
    if source.startswith("csi://"):
        sensor = source.removeprefix("csi://")
        if not (sensor.isascii() and sensor.isdecimal()):
            raise UsageError(f"{printable(source)}: expected a sensor number, as in csi://0")
        source = CSI.format(sensor)
    return source if "appsink" in source else f"{source} ! {TO_BGR} ! {APPSINK}"


def _obstacle(source: str) -> str:
    """The likely reason why a camera did not open."""
    if PIPE in source or source.startswith("csi://"):
        return "a pipeline that does not start; test it with gst-launch-1.0"
    path = Path(f"/dev/video{source}" if source.isdecimal() else source)
    if sys.platform == "linux" and not path.exists():
        others = ", ".join(sorted(map(str, Path("/dev").glob("video*"))))
        return f"no {path}; " + (f"available: {others}" if others else "is it plugged in?")
    if sys.platform == "linux" and not os.access(path, os.R_OK | os.W_OK):
        return f"{path}, which this user may not open; add the user to the group 'video'"
    return "one that does not; is another program using it?"
