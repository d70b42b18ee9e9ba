"""GenICam cameras, GigE Vision and USB3 Vision, as a source. The only module that imports harvesters.

    genicam:            the only camera there is
    genicam:SERIAL      a camera by its serial number, the name its user gave it, its display name or its id
    genicam:0           a camera by its place in the list that is printed where a name is wanted

The camera keeps the settings that its maker's tool gave it: exposure, size, trigger, pixel format.

Between harvesters and the camera is a GenTL producer, a .cti file from the camera's maker. GENICAM_GENTL64_PATH lists
the folders in which these lie; the maker's installer sets it. The package genicam, which comes with harvesters, brings
viky.cti: three simulated cameras.
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
LOOK = 0.0001  # seconds of one look for a frame
PAUSE = 0.002  # seconds between two looks

# By name in the Pixel Format Naming Convention: channels, bits of each, and what OpenCV calls the way to BGR.
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


class Camera:
    """A GenICam camera that is sending frames; `connect` opens one."""

    def __init__(self, address: str, acquirer: Any, notes: Notes, opened: ExitStack) -> None:
        self.address = address
        self._acquirer = acquirer
        self._notes = notes
        self._opened = opened

    def read(self) -> Grab | None:
        """The next frame, with the camera's number of it as `part`; its clock tells no time of day.

        Returns:
            None if no frame has come for 2 s and the camera waits for a trigger.

        Raises:
            DataError: part of this frame was lost on the way.
            DeviceError: no frame for 2 s without a trigger, a camera that fails, or a pixel format not in FORMATS.
        """
        until = time.monotonic() + TIMEOUT
        with failing(self.address):
            self._notes.last = ""
            # GenTL's own wait keeps the interpreter's lock: a scorer in another thread would stand still.
            while (buffer := self._fetch()) is None:
                if self._notes.last:  # it gives None and logs a warning, too, when it throws a frame away
                    raise DataError(
                        "expected a whole frame, found one of which a part was lost between camera and computer: see "
                        "to cable, network card and packet size, or lower the frame rate"
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
        """Stop the camera and leave it to others. What one that is unplugged has against it is ignored."""
        with suppress(Exception):
            self._opened.close()

    def _fetch(self) -> Any:
        try:
            return self._acquirer.try_fetch(timeout=LOOK)
        except KeyError:  # a number that harvesters has no name for
            raise self._unknown(self._acquirer.remote_device.node_map.PixelFormat.value) from None

    def _triggered(self) -> bool:
        """Whether the camera says, now, that it waits for a trigger; one that is unplugged cannot say it."""
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
    """What harvesters only logs: why a producer does not load, that a frame was thrown away."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def connect(address: str) -> Camera:
    """Open a camera and start it. A process can have one connection at a time: producers open only once.

    Raises:
        DeviceError: harvesters, a producer or the camera is missing, several cameras fit, or it cannot be opened.
    """
    address = address.removesuffix(":")  # as messages begin with it
    core = _import_harvesters()
    producers = find_producers()
    notes = Notes()
    logger = logging.Logger("harvesters")
    logger.addHandler(notes)
    key = core.ParameterKey
    with failing(address), ExitStack() as opened:
        harvester = opened.enter_context(core.Harvester(config=core.ParameterSet({key.LOGGER: logger})))
        for producer in producers:
            harvester.add_file(str(producer))
        harvester.update()
        camera = choose(harvester.device_info_list, address, notes.last)
        opened.callback(harvester.image_acquirers.clear)  # one that fails to close would keep the producer open
        config = core.ParameterSet(
            {key.ENABLE_AUTO_CHUNK_DATA_UPDATE: False, key.TIMEOUT_PERIOD_ON_UPDATE_EVENT_DATA_CALL: 0}
        )
        with ThreadPoolExecutor(1) as aside:  # in the main thread harvesters would take Ctrl-C for itself
            acquirer = opened.enter_context(aside.submit(harvester.create, camera, config=config).result())
        if len(acquirer.data_streams) != 1:
            raise DeviceError(f"{address}: expected a camera with one data stream, found {len(acquirer.data_streams)}")
        acquirer.start()
        return Camera(address, acquirer, notes, opened.pop_all())


def find_producers() -> list[Path]:
    """The .cti files in the folders that GENICAM_GENTL64_PATH lists.

    Raises:
        DeviceError: there is none.
    """
    value = os.environ.get(PRODUCERS, "")
    folders = [Path(folder) for folder in value.split(os.pathsep) if folder]
    found = [producer for folder in folders for producer in sorted(folder.glob("*.cti"))]
    if not found:
        raise DeviceError(
            f"GenICam cameras need a GenTL producer: expected {PRODUCERS} to list folders with .cti files, found "
            f"{f'none in {value}' if value else 'it is not set'}: install the camera maker's package for Linux, which "
            f"brings a producer and sets this, and log in again"
        )
    return found


def choose(cameras: Sequence[Any], address: str, note: str = "") -> Any:
    """The camera that an address means, of those that harvesters lists.

    Raises:
        DeviceError: none or several fit.
    """
    different: dict[tuple[Any, ...], Any] = {}
    for camera in cameras:  # two makers' producers can list the same camera
        about = camera.property_dict
        different.setdefault((about["vendor"], about["model"], about["serial_number"] or about["id_"]), camera)
    found = list(different.values())
    if not found:
        raise DeviceError(
            f"{address}: expected a GenICam camera, found none{f' ({note})' if note else ''}: is it plugged in and "
            f"powered, in this computer's network, and held by no other program?"
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


def unpack(component: Any) -> NDArray[np.uint8]:
    """Copy an image out of a buffer, which harvesters fills anew.

    Args:
        component: harvesters' Component2DImage, in one of FORMATS.

    Returns:
        (H, W, 3) uint8 BGR or (H, W) uint8 grey. More than 8 bits lose their lowest.

    Raises:
        DataError: the image has fewer lines or bytes than it should.
        DeviceError: OpenCV is missing.
    """
    channels, bits, conversion = FORMATS[component.data_format]
    height, width = component.height, component.width
    line = width * channels * (2 if bits > 8 else 1)  # bytes
    stride = line + component.x_padding
    raw = component.data.view(np.uint8)
    lines = component.delivered_image_height or height  # 0 where a producer does not tell
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
    """Make one error of whatever harvesters, a producer and a camera's description of itself raise."""
    try:
        yield
    except SpadeError:
        raise
    except Exception as problem:
        raise DeviceError(
            f"{address}: expected a GenICam camera that answers, found: {problem or type(problem).__name__}: is it "
            f"plugged in, does another program hold it, and may this user open it?"
        ) from problem


def _names(camera: Any) -> list[str]:
    about = camera.property_dict
    return [about[name] for name in ("serial_number", "user_defined_name", "display_name", "id_") if about[name]]


def _import_harvesters() -> Any:
    try:
        with warnings.catch_warnings():  # harvesters sets a filter for the whole process
            from harvesters import core
    except ImportError as problem:
        raise DeviceError(
            f"GenICam cameras need harvesters, found: {problem}: pip install 'spade-edge[genicam]'"
        ) from None
    return core
