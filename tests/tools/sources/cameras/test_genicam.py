"""GenICam cameras: against a stand-in for harvesters, and against the simulated cameras that come with the real one."""

from __future__ import annotations

import importlib.util
import logging
import signal
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from spade_edge.runtime import DataError, DeviceError
from spade_edge.tools.sources.cameras import genicam

CHANNELS = {"BGR8": "bgr", "RGB8": "rgb", "BGRa8": "bgra", "RGBa8": "rgba"}
COLOUR = {"b": 10, "g": 120, "r": 230, "a": 77}


# A stand-in with the names of harvesters 1.4.3; test_stand_in_has_the_names_of_the_real_one holds them together.


class Component2DImage:
    def __init__(self, pixels: np.ndarray, data_format: str = "Mono8", padding: int = 0, lines: int = 0) -> None:
        self.height, self.width = pixels.shape[:2]
        rows = np.ascontiguousarray(pixels).reshape(self.height, -1).view(np.uint8)
        self.data = np.pad(rows, ((0, 0), (0, padding)), constant_values=99).reshape(-1).view(pixels.dtype)
        self.x_padding = padding
        self.data_format = data_format
        self.delivered_image_height = lines


class Buffer:
    def __init__(self, *components: Component2DImage | None, number: int = 0) -> None:
        self.payload = types.SimpleNamespace(components=list(components))
        self.module = types.SimpleNamespace(frame_id=number)
        self.queued = False

    def queue(self) -> None:
        self.queued = True


class ImageAcquirer:
    def __init__(self, log: logging.Logger) -> None:
        self.log = log
        self.script: list[Any] = []  # what the next calls of try_fetch do
        self.data_streams = [object()]
        node = types.SimpleNamespace(value="VendorsOwn12")
        self.remote_device = types.SimpleNamespace(node_map=types.SimpleNamespace(PixelFormat=node))
        self.running, self.gone = False, False

    def __enter__(self) -> ImageAcquirer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.gone:
            raise RuntimeError("Device is not reachable")
        self.running = False

    def start(self) -> None:
        self.running = True

    def try_fetch(self, *, timeout: float) -> Buffer | None:
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        if isinstance(step, str):
            self.log.warning(step)
            return None
        return step


class Harvester:
    listed: ClassVar[list[Any]] = []  # what update() finds
    error: Exception | None = None  # what create() raises
    last: Harvester

    def __init__(self, *, config: ParameterSet) -> None:
        self.log = config.values[ParameterKey.LOGGER]
        self.files: list[str] = []
        self.device_info_list: list[Any] = []
        self.image_acquirers: list[ImageAcquirer] = []
        self.open = True
        Harvester.last = self

    def __enter__(self) -> Harvester:
        return self

    def __exit__(self, *_: object) -> None:
        for acquirer in self.image_acquirers:
            acquirer.__exit__()
        self.open = False

    def add_file(self, file_path: str) -> None:
        self.files.append(file_path)

    def update(self) -> None:
        self.device_info_list = self.listed
        if not self.listed:
            self.log.warning("Failed to load CTI file")

    def create(self, search_key: Any, *, config: ParameterSet) -> ImageAcquirer:
        assert search_key in self.device_info_list
        assert config.values[ParameterKey.ENABLE_AUTO_CHUNK_DATA_UPDATE] is False
        if self.error:
            raise self.error
        self.image_acquirers.append(ImageAcquirer(self.log))
        return self.image_acquirers[-1]


class ParameterKey:
    LOGGER = 0
    ENABLE_AUTO_CHUNK_DATA_UPDATE = 1
    TIMEOUT_PERIOD_ON_UPDATE_EVENT_DATA_CALL = 2


class ParameterSet:
    def __init__(self, values: dict[int, Any]) -> None:
        self.values = values


def info(serial: str, *, model: str = "a2A1920", name: str | None = None) -> Any:
    about = {
        "vendor": "Maker",
        "model": model,
        "serial_number": serial,
        "user_defined_name": name,
        "display_name": f"Maker {model} ({serial})",
        "id_": f"id of {serial}",
    }
    return types.SimpleNamespace(property_dict=about)


@pytest.fixture
def producer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .cti file in the second of two listed folders."""
    path = tmp_path / "maker" / "tl.cti"
    path.parent.mkdir()
    path.touch()
    monkeypatch.setenv("GENICAM_GENTL64_PATH", f"{tmp_path / 'gone'}:{path.parent}")
    return path


@pytest.fixture
def harvester(producer: Path, monkeypatch: pytest.MonkeyPatch) -> type[Harvester]:
    """The stand-in in place of harvesters, with one camera."""
    core = types.ModuleType("harvesters.core")
    vars(core).update(Harvester=Harvester, ParameterKey=ParameterKey, ParameterSet=ParameterSet)
    package = types.ModuleType("harvesters")
    vars(package).update(core=core)
    monkeypatch.setitem(sys.modules, "harvesters", package)
    monkeypatch.setitem(sys.modules, "harvesters.core", core)
    monkeypatch.setattr(Harvester, "listed", [info("4711", name="left")])
    monkeypatch.setattr(Harvester, "error", None)
    monkeypatch.setattr(genicam, "TIMEOUT", 0.02)
    return Harvester


def opened(*script: Any) -> tuple[genicam.GenICamCamera, ImageAcquirer]:
    camera = genicam.connect("genicam:")
    acquirer = Harvester.last.image_acquirers[0]
    acquirer.script = list(script)
    return camera, acquirer


GREY = (np.arange(12).reshape(3, 4) * 20).astype(np.uint8)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("name", CHANNELS)
def test_colours_become_bgr(name: str, padding: int) -> None:
    pixels = np.tile(np.array([COLOUR[channel] for channel in CHANNELS[name]], np.uint8), (3, 4, 1))
    frame = genicam.unpack(Component2DImage(pixels, name, padding))
    assert frame.dtype == np.uint8 and frame.shape == (3, 4, 3)
    assert (frame == [COLOUR["b"], COLOUR["g"], COLOUR["r"]]).all()


@pytest.mark.parametrize("name", ["BayerRG8", "BayerGR8", "BayerGB8", "BayerBG8"])
def test_bayer_names_give_the_first_two_pixels(name: str) -> None:
    # Each pixel of a one-coloured card holds the channel of its filter; whichever the pattern, the card comes back.
    first = name[5:7].lower()
    below = {"rg": "gb", "gr": "bg", "gb": "rg", "bg": "gr"}[first]
    tile = np.array([[COLOUR[channel] for channel in row] for row in (first, below)], np.uint8)
    frame = genicam.unpack(Component2DImage(np.tile(tile, (5, 6)), name))
    assert frame.shape == (10, 12, 3)
    assert (frame == [COLOUR["b"], COLOUR["g"], COLOUR["r"]]).all()


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_keeps_its_highest_bits(bits: int, padding: int) -> None:
    wide = (np.arange(256).reshape(8, 32) << (bits - 8)) + (1 << (bits - 8)) - 1  # all lower bits set
    pixels = wide.astype(np.uint8 if bits == 8 else np.uint16)
    frame = genicam.unpack(Component2DImage(pixels, f"Mono{bits}", padding))
    assert frame.dtype == np.uint8
    assert (frame == np.arange(256).reshape(8, 32)).all()


def test_a_frame_cut_short_is_refused() -> None:
    with pytest.raises(DataError, match="4x3 pixels in 12 bytes, found 2 lines"):
        genicam.unpack(Component2DImage(GREY, lines=2))
    short = Component2DImage(GREY)
    short.data = short.data[:-1]
    with pytest.raises(DataError, match="found 3 lines, 11 bytes|found 0 lines, 11 bytes"):
        genicam.unpack(short)


def test_frames_are_copied_and_the_buffer_given_back(harvester: type[Harvester]) -> None:
    component = Component2DImage(GREY.copy())
    buffer = Buffer(component, number=8)
    camera, _ = opened(None, None, buffer)
    grab = camera.read()
    component.data[:] = 0  # the camera's next frame
    assert (grab.frame == GREY).all()
    assert (grab.part, grab.time) == ("8", None)
    assert buffer.queued


def test_the_first_image_among_several_components(harvester: type[Harvester]) -> None:
    depth = Component2DImage(np.zeros((2, 2), np.float32), "Coord3D_C32f")
    camera, _ = opened(Buffer(None, depth, Component2DImage(GREY)))
    assert (camera.read().frame == GREY).all()


def test_an_incomplete_frame_is_reported_and_the_next_one_read(harvester: type[Harvester]) -> None:
    camera, _ = opened(None, "incomplete or not available; discarded: x", Buffer(Component2DImage(GREY), number=3))
    with pytest.raises(DataError, match="missing packets"):
        camera.read()
    assert camera.read().part == "3"


def test_a_silent_or_failing_camera_has_stopped(harvester: type[Harvester]) -> None:
    camera, acquirer = opened()
    with pytest.raises(DeviceError, match="genicam: expected a frame within 0.02 s, found none"):
        camera.read()
    acquirer.script = [RuntimeError("Device is not reachable")]
    with pytest.raises(DeviceError, match="found: Device is not reachable"):
        camera.read()


def test_a_camera_with_a_trigger_may_be_silent_but_not_gone(harvester: type[Harvester]) -> None:
    camera, acquirer = opened(None)
    nodes = acquirer.remote_device.node_map
    nodes.TriggerMode = types.SimpleNamespace(value="On")
    assert camera.read() is None
    acquirer.script = [Buffer(Component2DImage(GREY), number=8)]
    assert camera.read().part == "8"
    nodes.TriggerMode.value = "Off"
    with pytest.raises(DeviceError, match="found none"):
        camera.read()

    class Unplugged:
        @property
        def value(self) -> str:
            raise RuntimeError("Device is not reachable")

    nodes.TriggerMode = Unplugged()
    with pytest.raises(DeviceError, match="Device is not reachable"):
        camera.read()


def test_an_unknown_pixel_format_is_named(harvester: type[Harvester]) -> None:
    buffer = Buffer(Component2DImage(GREY, "YUV422_8"), None)
    camera, _ = opened(buffer, Buffer(None), KeyError(2164260865))
    with pytest.raises(DeviceError, match="found YUV422_8: set PixelFormat to Mono8 or BGR8"):
        camera.read()
    assert buffer.queued
    with pytest.raises(DeviceError, match="found no image"):
        camera.read()
    with pytest.raises(DeviceError, match="found VendorsOwn12"):
        camera.read()


def test_closing_stops_the_camera_and_never_raises(harvester: type[Harvester]) -> None:
    camera, acquirer = opened()
    assert acquirer.running
    camera.close()
    camera.close()
    assert not acquirer.running and not Harvester.last.open
    camera, acquirer = opened()
    acquirer.gone = True
    camera.close()
    assert not Harvester.last.open, "an unplugged camera kept the producer open"


def test_a_camera_that_cannot_be_opened_leaves_nothing_open(harvester: type[Harvester]) -> None:
    harvester.error = RuntimeError("Requested resource is already in use")
    with pytest.raises(DeviceError, match="Requested resource is already in use"):
        genicam.connect("genicam:left")
    assert not Harvester.last.open


def test_producers_come_from_the_environment(
    harvester: type[Harvester], producer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened()
    assert Harvester.last.files == [str(producer)]
    producer.unlink()
    with pytest.raises(DeviceError, match="found none in .*/maker: install the camera maker's package"):
        genicam.connect("genicam:")
    monkeypatch.delenv("GENICAM_GENTL64_PATH")
    with pytest.raises(DeviceError, match="found it is not set: install the camera maker's package"):
        genicam.connect("genicam:")


def test_missing_harvesters_names_the_extra(producer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "harvesters", None)
    with pytest.raises(DeviceError, match=r"pip install 'spade-edge\[genicam\]'"):
        genicam.connect("genicam:")


def test_no_camera_says_what_the_producer_had_against_it(
    harvester: type[Harvester], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Harvester, "listed", [])
    with pytest.raises(DeviceError, match=r"found none \(Failed to load CTI file\): is it plugged in"):
        genicam.connect("genicam:")


TWO = [info("4711", name="left"), info("1", name="right")]


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("genicam:4711", 0),
        ("genicam:right", 1),
        ("genicam:Maker a2A1920 (4711)", 0),
        ("genicam:id of 1", 1),
        ("genicam:0", 0),
        ("genicam:1", 1),
    ],
)
def test_an_address_is_a_name_or_a_place(address: str, place: int) -> None:
    assert genicam.choose(TWO, address) is TWO[place]


def test_a_name_goes_before_a_place() -> None:
    cameras = [info("1"), info("0")]
    assert genicam.choose(cameras, "genicam:0") is cameras[1]


@pytest.mark.parametrize(("address", "found"), [("genicam:", "2"), ("genicam:2", "none"), ("genicam:top", "none")])
def test_several_cameras_are_listed(address: str, found: str) -> None:
    with pytest.raises(DeviceError, match=f"found {found} of that name: .*0: 4711 = left = .*; 1: 1 = right"):
        genicam.choose(TWO, address)


def test_a_camera_that_two_producers_list_is_one() -> None:
    twice = [info("4711"), info("4711")]
    assert genicam.choose(twice, "genicam:") is twice[0]
    nameless = [info(""), info("")]
    nameless[1].property_dict["id_"] = "other"
    with pytest.raises(DeviceError, match="found 2"):
        genicam.choose(nameless, "genicam:")


def test_the_cameras_that_are_connected(harvester: type[Harvester], monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [info("4711", name="left"), info("", model="b"), info("4711", name="left")]
    monkeypatch.setattr(Harvester, "listed", listed)
    assert genicam.connected() == [("genicam:4711", "Maker a2A1920"), ("genicam:Maker b ()", "Maker b")]
    assert not Harvester.last.open
    monkeypatch.setattr(Harvester, "listed", [])
    assert genicam.connected() == []


# The real harvesters, and viky.cti, the simulated cameras in its package genicam: a ball on a white field.


@pytest.fixture
def viky(monkeypatch: pytest.MonkeyPatch) -> Path:
    spec = importlib.util.find_spec("genicam")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    if importlib.util.find_spec("harvesters") is None or not (folder / "viky.cti").is_file():
        pytest.skip("pip install 'spade-edge[genicam]' to run this")
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(folder))
    return folder


@pytest.fixture
def camera(viky: Path) -> Iterator[genicam.GenICamCamera]:
    device = genicam.connect("genicam:VikyTL_DEV_red")
    yield device
    device.close()


def test_stand_in_has_the_names_of_the_real_one(viky: Path) -> None:
    from harvesters import core

    component = vars(Component2DImage(GREY))
    assert set(component) <= set(dir(core.Component2DImage))
    assert {"payload", "module", "queue"} <= set(dir(core.Buffer))
    assert {"data_streams", "remote_device", "start", "try_fetch", "__exit__"} <= set(dir(core.ImageAcquirer))
    assert {"device_info_list", "image_acquirers", "add_file", "update", "create"} <= set(dir(core.Harvester))
    assert {key for key in vars(ParameterKey) if key.isupper()} <= set(dir(core.ParameterKey))
    assert set(info("1").property_dict) <= set(core.DeviceInfo.search_keys)


def test_simulated_camera(viky: Path) -> None:
    handler, filters = signal.getsignal(signal.SIGINT), warnings.filters[:]
    camera = genicam.connect("genicam:VikyTL_DEV_red")
    assert signal.getsignal(signal.SIGINT) is handler, "harvesters took Ctrl-C"
    assert warnings.filters == filters
    grabs = [camera.read() for _ in range(3)]
    assert [grab.part for grab in grabs] == ["1", "2", "3"]
    for grab in grabs:
        assert grab.frame.shape == (400, 400, 3)
        assert {tuple(pixel) for pixel in np.unique(grab.frame.reshape(-1, 3), axis=0)} == {
            (255, 255, 255),
            (0, 0, 255),  # the red ball
        }
    assert (grabs[0].frame != grabs[2].frame).any(), "the ball stands still"
    with pytest.raises(DeviceError, match="already in use"):
        genicam.connect("genicam:VikyTL_DEV_green")  # a producer opens once in a process
    camera.close()
    with pytest.raises(DeviceError):
        camera.read()
    again = genicam.connect("genicam:1")
    assert again.read().part == "1"
    again.close()


def test_simulated_cameras_are_listed(viky: Path) -> None:
    with pytest.raises(DeviceError, match="found 3 of that name: .*VikyTL_DEV_red.*VikyTL_DEV_green.*VikyTL_DEV_blue"):
        genicam.connect("genicam:")


def test_simulated_cameras_are_found_by_their_addresses(viky: Path) -> None:
    found = genicam.connected()
    assert len(found) == 3
    for address, _ in found:
        camera = genicam.connect(address)
        assert camera.read().frame.shape == (400, 400, 3)
        camera.close()


def test_simulated_grey_and_depth_in_one_frame(camera: genicam.GenICamCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = camera._acquirer.remote_device.node_map
    camera._acquirer.stop()
    nodes.ComponentSelector.value = "Range"
    nodes.ComponentEnable.value = True
    nodes.ComponentSelector.value = "Intensity"
    nodes.PixelFormat.value = "Mono8"
    nodes.Width.value = 333
    camera._acquirer.start()
    assert camera.read().frame.shape == (400, 333)
    monkeypatch.delitem(genicam.FORMATS, "Mono8")
    with pytest.raises(DeviceError, match="found Mono8, Coord3D_A32f"):
        camera.read()


def test_simulated_camera_loses_frames_stops_and_goes(
    camera: genicam.GenICamCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genicam import gentl

    with monkeypatch.context() as patch:
        patch.setattr(gentl.Buffer, "is_complete", lambda self: False)
        with pytest.raises(DataError, match="missing packets"):
            camera.read()
    assert camera.read().frame.any()
    camera._acquirer.remote_device.node_map.AcquisitionStop.execute()
    monkeypatch.setattr(genicam, "TIMEOUT", 0.2)
    with pytest.raises(DeviceError, match="expected a frame within 0.2 s"):
        while True:  # what is left in the buffers
            camera.read()

    def refuse() -> None:
        raise gentl.GenericException

    monkeypatch.setattr(camera._acquirer, "stop", refuse)
    camera.close()
    again = genicam.connect("genicam:VikyTL_DEV_red")
    assert again.read().frame.any()
    again.close()
