"""Network streams as cameras: through PyAV, and through OpenCV where PyAV is not installed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, DeviceError
from spade_edge.tools.sources.address import Address, printable
from spade_edge.tools.sources.cameras.answer import answer, single_picture
from spade_edge.tools.sources.cameras.camera import Connect, Grab
from spade_edge.tools.sources.opencv import opencv
from spade_edge.tools.sources.video.decoding import DecodedVideo, OpeningError, ReadingError, is_installed
from spade_edge.tools.sources.video.through_opencv import capture, warn_of_damage

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "tcp")
OPENS_WITHIN, READS_WITHIN = 10.0, 5.0  # seconds
TRANSPORT = {"rtsp_transport": "tcp"}  # UDP would lose packets
OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # name;value|name;value, for FFmpeg; OpenCV reads it, too


class NetworkCamera:
    """An open network stream as a camera.

    Args:
        frames: of the stream: each (H, W, 3) uint8 BGR, or the fault of one that is not whole.
        close: closes the stream; may be called twice.
        label: the camera's name, for messages.
    """

    def __init__(self, frames: Iterator[NDArray[np.uint8] | str], close: Callable[[], None], *, label: str) -> None:
        self.frames = frames
        self.close = close
        self.label = label

    def read(self) -> Grab:
        """The next frame, (H, W, 3) uint8 BGR.

        Raises:
            DataError: the frame is damaged, or built on damaged ones.
            DeviceError: no frame came in time, or the stream has ended.
        """
        try:
            found = next(self.frames, None)
        except ReadingError as problem:
            raise DeviceError(f"{self.label}: expected a frame, found none: {problem}") from None
        if found is None:
            raise DeviceError(f"{self.label}: expected a frame, found the end of the stream")
        if isinstance(found, str):
            raise DataError(found)
        return Grab(found)


def is_network_address(source: str) -> bool:
    """Whether this module opens a source of this name."""
    return "://" in source and source.partition("://")[0].lower() in SCHEMES


def connector(source: str) -> Connect:
    """A function that opens the stream, and can be called again.

    Raises:
        UsageError: the address cannot be read.
        DeviceError: neither PyAV nor OpenCV is installed.
    """
    address, label = Address.of(source), printable(source)
    if is_installed():
        return lambda: _through_pyav(address, label)
    opencv()
    return lambda: _through_opencv(address, label)


def _through_pyav(address: Address, label: str) -> NetworkCamera:
    try:
        video = DecodedVideo(address.encoded, timeouts=(OPENS_WITHIN, READS_WITHIN), options=_options(), live=True)
    except OpeningError as problem:
        found = answer(address, status=problem.status) or f"{problem}; check address, password and network"
        raise DeviceError(f"{label}: expected a camera that opens, found {found}") from None
    if video.single:
        video.close()
        raise DeviceError(f"{label}: expected a camera that opens, found {single_picture(video.codec)}")
    return NetworkCamera(iter(video), video.close, label=label)


def _through_opencv(address: Address, label: str) -> NetworkCamera:
    cv2 = opencv()
    parameters = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(1000 * OPENS_WITHIN),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        int(1000 * READS_WITHIN),
    ]
    video = capture(address.encoded, parameters=parameters, ffmpeg=True)
    if video is None:
        found = answer(address) or f"no stream within {OPENS_WITHIN:.0f} s; check address, password and network"
        raise DeviceError(f"{label}: expected a camera that opens, found {found}")
    frames = iter(video)
    first = list(islice(frames, 2))
    if len(first) < 2 and (found := answer(address)):  # OpenCV opens a single picture, too
        video.close()
        raise DeviceError(f"{label}: expected a camera that opens, found {found}")
    warn_of_damage(video, label)
    return NetworkCamera(chain(first, frames), video.close, label=label)


def _options() -> dict[str, str]:
    """Options of FFmpeg: those that OpenCV would be given, and else RTSP over TCP, as OpenCV's own default is."""
    chosen = os.environ.get(OPTIONS)
    if chosen is None:
        return dict(TRANSPORT)
    pairs = (one.partition(";") for one in chosen.split("|"))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}
