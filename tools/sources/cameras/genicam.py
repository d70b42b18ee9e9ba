"""GenICam cameras (GigE Vision, USB3 Vision). The only module that imports harvesters.

    genicam:            the only camera that is connected
    genicam:SERIAL      a camera by serial number, user-defined name, display name or id
    genicam:0           a camera by its position in the list that is printed if several fit

Exposure, size, trigger and pixel format stay as set with the camera maker's tool.

Harvesters reaches a camera through a GenTL producer, a .cti file from the camera maker. GENICAM_GENTL64_PATH lists the
folders that contain producers; the maker's installer sets it. The package genicam, a dependency of harvesters, contains
viky.cti with three simulated cameras.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, DeviceError, SpadeError
from spade_edge.tools.sources.cameras.camera import Grab
from spade_edge.tools.sources.opencv import opencv

PRODUCERS = "GENICAM_GENTL64_PATH"  # the GenTL standard's name
TIMEOUT = 2.0  # seconds without a frame after which a camera counts as stopped
LOOK = 0.0001  # seconds that one poll for a frame takes
PAUSE = 0.002  # seconds between two polls

# Name in the Pixel Format Naming Convention: channels, bits per channel, OpenCV's conversion to BGR.
FORMATS = {
    "Mono8": (1, 8, ""),
    "Mono10": (1, 10, ""),
    "Mono12": (1, 12, ""),
    "Mono14": (1, 14, ""),
    "Mono16": (1, 16, ""),
    "BGR8": (3, 8, ""),
    "RGB8": (3, 8, "COLOR_RGB2BGR"),
    "BGRa8": (4, 8, "COLOR_BGRA2BGR"),
    "RGBa8": (4, 8, "COLOR_RGBA2BGR"),
    "BayerRG8": (1, 8, "COLOR_BayerRGGB2BGR"),
    "BayerGR8": (1, 8, "COLOR_BayerGRBG2BGR"),
    "BayerGB8": (1, 8, "COLOR_BayerGBRG2BGR"),
    "BayerBG8": (1, 8, "COLOR_BayerBGGR2BGR"),
}


class GenICamCamera:
    """A GenICam camera that is sending frames; `connect` opens one."""

    def __init__(self, address: str, acquirer: Any, notes: Notes, opened: ExitStack) -> None:
        self.address = address
        self._acquirer = acquirer
        self._notes = notes
        self._opened = opened

    def read(self) -> Grab | None:
        """The next frame, with its frame id as `part`. The camera's clock gives no time of day.

        Returns:
            None if no frame has come for 2 s and the camera waits for a trigger.

        Raises:
            DataError: part of this frame was lost in transmission.
            DeviceError: no frame for 2 s without a trigger, the camera failed, or its pixel format is not in FORMATS.
        """
        until = time.monotonic() + TIMEOUT
        with failing(self.address):
            self._notes.last = ""
            # A blocking GenTL wait would hold the interpreter lock, and stop the scorer in another thread.
            while (buffer := self._fetch()) is None:
                if self._notes.last:  # harvesters also returns None when it discards a frame, and logs why
                    raise DataError(
                        "expected a complete frame, found one with missing packets: check cable, network card and "
                        "packet size, or lower the frame rate"
                    )
                if time.monotonic() > until:
                    if self._triggered():
                        return None
                    raise DeviceError(
                        f"{self.address}: expected a frame within {TIMEOUT:g} s, found none: is the camera plugged in?"
                    )
                time.sleep(PAUSE)
            try:
                return Grab(self._frame(buffer.payload.components), part=str(buffer.module.frame_id))
            finally:
                buffer.queue()

    def close(self) -> None:
        """Stop and release the camera. Errors of a camera that was unplugged are ignored."""
        with suppress(Exception):
            self._opened.close()

    def _fetch(self) -> Any:
        try:
            return self._acquirer.try_fetch(timeout=LOOK)
        except KeyError:  # a pixel format that harvesters does not know
            raise self._unknown(self._acquirer.remote_device.node_map.PixelFormat.value) from None

    def _triggered(self) -> bool:
        """Whether the camera waits for a trigger; raises if it is unplugged."""
        nodes = self._acquirer.remote_device.node_map
        return hasattr(nodes, "TriggerMode") and nodes.TriggerMode.value == "On"

    def _frame(self, components: Sequence[Any]) -> NDArray[np.uint8]:
        known = [component for component in components if component is not None]
        for component in known:
            if component.data_format in FORMATS:
                return unpack(component)
        raise self._unknown(", ".join(component.data_format for component in known) or "no image")

    def _unknown(self, found: str) -> DeviceError:
        return DeviceError(
            f"{self.address}: expected the pixel format {', '.join(FORMATS)}, found {found}: set PixelFormat to Mono8 "
            f"or BGR8 with the camera maker's tool"
        )


class Notes(logging.Handler):
    """Keeps what harvesters only logs: why a producer does not load, why a frame was discarded."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def connect(address: str) -> GenICamCamera:
    """Open and start a camera. A process can have one connection at a time, because producers open only once.

    Raises:
        DeviceError: harvesters, a producer or the camera is missing, several cameras match, or it cannot be opened.
    """
    address = address.removesuffix(":")  # it begins the messages
    core = _import_harvesters()
    producers = find_producers()
    notes = Notes()
    key = core.ParameterKey
    with failing(address), ExitStack() as opened:
        harvester = _harvester(core, producers, notes, opened)
        camera = choose(harvester.device_info_list, address, notes.last)
        opened.callback(harvester.image_acquirers.clear)  # a camera that fails to close would keep the producer open
        config = core.ParameterSet(
            {key.ENABLE_AUTO_CHUNK_DATA_UPDATE: False, key.TIMEOUT_PERIOD_ON_UPDATE_EVENT_DATA_CALL: 0}
        )
        with ThreadPoolExecutor(1) as aside:  # in the main thread, harvesters would handle Ctrl-C itself
            acquirer = opened.enter_context(aside.submit(harvester.create, camera, config=config).result())
        if len(acquirer.data_streams) != 1:
            raise DeviceError(f"{address}: expected a camera with one data stream, found {len(acquirer.data_streams)}")
        acquirer.start()
        return GenICamCamera(address, acquirer, notes, opened.pop_all())


def connected() -> list[tuple[str, str]]:
    """The address and the name of each camera that is connected.

    Raises:
        DeviceError: harvesters or a producer is missing, or a producer fails.
    """
    core = _import_harvesters()
    producers = find_producers()
    with failing("genicam"), ExitStack() as opened:
        harvester = _harvester(core, producers, Notes(), opened)
        named = [(_names(camera), camera.property_dict) for camera in different(harvester.device_info_list)]
    return [(f"genicam:{names[0]}", f"{about['vendor']} {about['model']}") for names, about in named if names]


def _harvester(core: Any, producers: Sequence[Path], notes: Notes, opened: ExitStack) -> Any:
    """Harvesters with a list of the cameras that are connected."""
    logger = logging.Logger("harvesters")
    logger.addHandler(notes)
    config = core.ParameterSet({core.ParameterKey.LOGGER: logger})
    harvester = opened.enter_context(core.Harvester(config=config))
    for producer in producers:
        harvester.add_file(str(producer))
    harvester.update()
    return harvester


def find_producers() -> list[Path]:
    """The .cti files in the folders that GENICAM_GENTL64_PATH lists.

    Raises:
        DeviceError: there are none.
    """
    value = os.environ.get(PRODUCERS, "")
    folders = [Path(folder) for folder in value.split(os.pathsep) if folder]
    found = [producer for folder in folders for producer in sorted(folder.glob("*.cti"))]
    if not found:
        raise DeviceError(
            f"GenICam cameras need a GenTL producer: expected {PRODUCERS} to list folders with .cti files, found "
            f"{f'none in {value}' if value else 'it is not set'}: install the camera maker's package for Linux, which "
            f"contains a producer and sets this, and log in again"
        )
    return found


def choose(cameras: Sequence[Any], address: str, note: str = "") -> Any:
    """The camera of this address, among those that harvesters lists.

    Raises:
        DeviceError: none or several match.
    """
    found = different(cameras)
    if not found:
        raise DeviceError(
            f"{address}: expected a GenICam camera, found none{f' ({note})' if note else ''}: is it plugged in and "
            f"powered, in this computer's network, and not in use by another program?"
        )
    wanted = address.partition(":")[2]
    fitting = [camera for camera in found if not wanted or wanted in _names(camera)]
    if not fitting and wanted.isdecimal():
        fitting = found[int(wanted) : int(wanted) + 1]
    if len(fitting) != 1:
        listed = "; ".join(f"{place}: {' = '.join(_names(camera))}" for place, camera in enumerate(found))
        raise DeviceError(
            f"{address}: expected one GenICam camera, found {len(fitting) or 'none'} of that name: write genicam: and "
            f"one of these: {listed}"
        )
    return fitting[0]


def different(cameras: Sequence[Any]) -> list[Any]:
    """Each camera once: producers of two makers can list the same one."""
    found: dict[tuple[Any, ...], Any] = {}
    for camera in cameras:
        about = camera.property_dict
        found.setdefault((about["vendor"], about["model"], about["serial_number"] or about["id_"]), camera)
    return list(found.values())


def unpack(component: Any) -> NDArray[np.uint8]:
    """Copy an image out of a buffer, which harvesters will reuse.

    Args:
        component: harvesters' Component2DImage, in one of FORMATS.

    Returns:
        (H, W, 3) uint8 BGR or (H, W) uint8 grey. Of more than 8 bits, the lowest are dropped.

    Raises:
        DataError: the image has too few lines or bytes.
        DeviceError: OpenCV is missing.
    """
    channels, bits, conversion = FORMATS[component.data_format]
    height, width = component.height, component.width
    line = width * channels * (2 if bits > 8 else 1)  # bytes
    stride = line + component.x_padding
    raw = component.data.view(np.uint8)
    lines = component.delivered_image_height or height  # 0 if the producer does not state it
    if lines < height or len(raw) < stride * height or not line * height:
        raise DataError(
            f"expected a frame of {width}x{height} pixels in {stride * height} bytes, found {lines} lines, "
            f"{len(raw)} bytes"
        )
    pixels = np.ascontiguousarray(raw[: stride * height].reshape(height, stride)[:, :line])
    if bits > 8:
        return (pixels.view("<u2") >> (bits - 8)).astype(np.uint8)
    if channels > 1:
        pixels = pixels.reshape(height, width, channels)
    if not conversion:
        return pixels.copy()
    try:
        cv2 = opencv()
    except ModuleNotFoundError:
        raise DeviceError(f"frames in {component.data_format} need OpenCV: pip install 'spade-edge[genicam]'") from None
    return np.asarray(cv2.cvtColor(pixels, getattr(cv2, conversion)))


@contextmanager
def failing(address: str) -> Iterator[None]:
    """Turn any exception of harvesters, a producer or the camera description into a DeviceError."""
    try:
        yield
    except SpadeError:
        raise
    except Exception as problem:
        raise DeviceError(
            f"{address}: expected a GenICam camera that answers, found: {problem or type(problem).__name__}: is it "
            f"plugged in, in use by another program, or closed to this user?"
        ) from problem


def _names(camera: Any) -> list[str]:
    about = camera.property_dict
    return [about[name] for name in ("serial_number", "user_defined_name", "display_name", "id_") if about[name]]


def _import_harvesters() -> Any:
    try:
        with warnings.catch_warnings():  # harvesters sets a warning filter for the whole process
            from harvesters import core
    except ImportError as problem:
        raise DeviceError(
            f"GenICam cameras need harvesters, found: {problem}: pip install 'spade-edge[genicam]'"
        ) from None
    return core
