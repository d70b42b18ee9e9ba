"""Cameras that stop, come back, freeze or never were there; none of them is real."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.runtime import DataError, DeviceError, UsageError
from spade_edge.tools.sources import Shot, open_source
from spade_edge.tools.sources.cameras import opencv_camera
from spade_edge.tools.sources.cameras.camera import Grab
from spade_edge.tools.sources.cameras.reopening import reopening
from spade_edge.tools.sources.freeze import mark_frozen

Step = Any  # a frame, a Grab, None or an exception


def picture(value: int) -> NDArray[np.uint8]:
    return np.full((4, 5, 3), value, np.uint8)


class Scripted:
    """Cameras that do what was written down: each session is one connection, an exception one that fails."""

    def __init__(self, *sessions: list[Step] | Exception) -> None:
        self.sessions = list(sessions)
        self.closed = 0

    def connect(self) -> Scripted:
        session = self.sessions.pop(0) if self.sessions else DeviceError("cam: nothing there")
        if isinstance(session, Exception):
            raise session
        self.steps = list(session)
        return self

    def read(self) -> Grab | None:
        step = self.steps.pop(0) if self.steps else DeviceError("cam: unplugged")
        if isinstance(step, Exception):
            raise step
        return Grab(step) if isinstance(step, np.ndarray) else step

    def close(self) -> None:
        self.closed += 1


class Time:
    """A clock that only waiting moves on."""

    def __init__(self, end_after: int | None = None) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        self.end_after = end_after

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return len(self.pauses) == self.end_after


def opened(cameras: Scripted, time: Time, *, tries: float = 2) -> Iterator[Shot]:
    return reopening(cameras.connect, label="cam", tries=tries, pause=time.pause, clock=time.clock)


def taken(shots: Iterator[Shot]) -> tuple[list[Shot], DeviceError]:
    """All shots up to the end, and what ended it."""
    found = []
    with pytest.raises(DeviceError) as end:
        for shot in shots:
            found.append(shot)
    return found, end.value


def test_numbers_go_on_when_a_camera_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    cameras = Scripted([picture(0), picture(1)], DeviceError("cam: busy"), [picture(2)])
    shots, end = taken(opened(cameras, time))
    assert [shot.name for shot in shots] == [0, 1, None, 2, None]
    assert shots[2].fault == "stopped: cam: unplugged; opening it again" and shots[2].frame is None
    assert [shot.frame[0, 0, 0] for shot in shots if shot.frame is not None] == [0, 1, 2]
    assert time.pauses == [0.5, 1.0, 0.5, 1.0]
    assert cameras.closed == 2
    assert "cam: nothing there" in str(end) and "2 tries" in str(end) and "--reopen forever" in str(end)
    assert caplog.messages == [
        "stopped: cam: unplugged; opening it again",
        "cam: back after 1.5 s",
        "stopped: cam: unplugged; opening it again",
    ]


def test_the_tries_become_rarer_up_to_half_a_minute() -> None:
    time = Time()
    taken(opened(Scripted([picture(0)]), time, tries=9))
    assert time.pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_camera_that_opens_and_delivers_nothing_is_one_outage() -> None:
    time = Time()
    shots, _ = taken(opened(Scripted([picture(0)], [], [], [picture(1)]), time, tries=3))
    assert [shot.name for shot in shots] == [0, None, 1, None]
    assert time.pauses == [0.5, 1, 2, 0.5, 1, 2]


def test_no_tries_end_with_the_first_stop() -> None:
    time = Time()
    shots, _ = taken(opened(Scripted([picture(0)], [picture(1)]), time, tries=0))
    assert [(shot.name, shot.fault) for shot in shots] == [(0, ""), (None, "stopped: cam: unplugged")]
    assert time.pauses == []


def test_a_first_opening_that_fails_ends_at_once_unless_the_tries_are_endless() -> None:
    shots, end = taken(opened(Scripted(DeviceError("cam: not there")), Time(), tries=9))
    assert shots == [] and str(end) == "cam: not there"

    patient = opened(
        Scripted(DeviceError("cam: not there"), DeviceError("cam: nor now"), [picture(7)]), Time(), tries=math.inf
    )
    news, first = next(patient), next(patient)
    assert news.name is None and "cam: not there" in news.fault
    assert first.name == 0 and first.frame is not None


def test_a_wish_to_end_is_heard_while_waiting() -> None:
    time = Time(end_after=2)
    shots = list(opened(Scripted([picture(0)]), time, tries=math.inf))
    assert [shot.name for shot in shots] == [0, None]


def test_a_damaged_frame_is_a_fault_and_no_stop() -> None:
    cameras = Scripted([picture(0), DataError("a packet was lost"), picture(1)])
    shots, _ = taken(opened(cameras, Time(), tries=0))
    assert [(shot.name, shot.fault) for shot in shots[:3]] == [(0, ""), (1, "a packet was lost"), (2, "")]


def test_a_camera_that_waits_for_its_trigger_has_not_stopped() -> None:
    cameras, time = Scripted([None, picture(0), None, None, picture(1)]), Time()
    shots, _ = taken(opened(cameras, time, tries=0))
    assert [shot.name for shot in shots] == [0, 1, None]
    assert cameras.closed == 1
    assert time.pauses == [0, 0, 0]

    endless = Scripted([None] * 1000)
    assert list(opened(endless, Time(end_after=3))) == []  # the wish to end is heard between two triggers
    assert endless.closed == 1


def test_time_and_part_of_the_camera_are_kept_and_its_memory_is_not() -> None:
    buffer = picture(1)
    cameras = Scripted([Grab(buffer, part="4711", time=12.5), picture(2)])
    shots = opened(cameras, Time())
    first = next(shots)
    buffer[:] = 9
    assert (first.part, first.time) == ("4711", 12.5)
    assert first.frame is not None and (first.frame == 1).all()
    assert next(shots).time > 1.7e9


def test_whoever_stops_reading_lets_go_of_the_camera() -> None:
    cameras = Scripted([picture(0), picture(1)])
    shots = opened(cameras, Time())
    next(shots)
    shots.close()  # type: ignore[attr-defined]
    assert cameras.closed == 1


def stills(*values: int | str | None) -> Iterator[Shot]:
    """Frames by their grey value, faults by a text, None for news."""
    for number, value in enumerate(values):
        if isinstance(value, int):
            yield Shot(number, picture(value))
        else:
            yield Shot(None if value is None else number, None, value or "stopped")


def test_identical_frames_are_faults_from_the_limit_on_until_one_differs() -> None:
    shots = list(mark_frozen(stills(1, 1, 2, 2, 2, 2, 3, 3), limit=3))
    assert [shot.frame is None for shot in shots] == [False] * 4 + [True, True] + [False] * 2
    assert shots[4].fault == "3 identical frames: the camera is frozen" and shots[4].name == 4
    assert shots[5].fault.startswith("4 identical frames")


def test_faults_and_news_between_do_not_thaw_a_camera() -> None:
    shots = list(mark_frozen(stills(5, "damaged", 5, None, 5), limit=3))
    assert [shot.fault for shot in shots] == ["", "damaged", "", "stopped", "3 identical frames: the camera is frozen"]


def test_one_bit_or_another_shape_is_a_difference() -> None:
    one = picture(1)
    one[3, 4, 2] ^= 1
    frames = [picture(1), one, picture(1), picture(1)[:, :, 0], picture(1)[:3]]
    assert all(
        shot.frame is not None for shot in mark_frozen((Shot(i, frame) for i, frame in enumerate(frames)), limit=2)
    )


def test_a_number_that_no_camera_has_is_refused() -> None:
    with pytest.raises(UsageError):
        open_source("9" * 40)


@pytest.mark.parametrize("source", ["csi://0", "videotestsrc ! videoconvert"])
def test_gstreamer_that_is_missing_is_named_with_what_to_do(source: str) -> None:
    if "GStreamer:                   YES" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has it")
    with pytest.raises(DeviceError, match="expected OpenCV with GStreamer"):
        open_source(source)


def test_pipelines_end_where_opencv_takes_frames() -> None:
    assert opencv_camera._pipeline("a ! b").startswith("a ! b ! videoconvert ! ")
    assert opencv_camera._pipeline("a ! b").count("appsink") == 1
    assert opencv_camera._pipeline("a ! appsink name=mine") == "a ! appsink name=mine"
    assert opencv_camera._pipeline("csi://2").startswith("nvarguscamerasrc sensor-id=2 ! ")
    with pytest.raises(UsageError, match="csi://0"):
        opencv_camera._pipeline("csi://left")


@pytest.mark.parametrize("source", ["77", "/dev/video77"])
def test_a_camera_that_is_not_there(source: str) -> None:
    with pytest.raises(DeviceError, match="expected a camera that opens, found no /dev/video77"):
        next(iter(open_source(source)))


def test_a_stream_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(DeviceError) as end:
        next(iter(open_source("rtsp://me:secret@127.0.0.1:1/line?pass=secret")))
    assert str(end.value).startswith("rtsp://127.0.0.1:1/line: expected a camera that opens")
    assert "secret" not in str(end.value)


def test_opencv_and_ffmpeg_write_nothing_themselves(tmp_path: Path) -> None:
    (tmp_path / "junk.avi").write_bytes(b"no video at all")
    script = (
        "import sys\nfrom spade_edge.runtime import SpadeError\nfrom spade_edge.tools.sources import open_source\n"
        "for source in sys.argv[1:]:\n"
        "    try: next(iter(open_source(source)))\n"
        "    except SpadeError: print('refused')"
    )
    sources = ["rtsp://127.0.0.1:1/line", "77", str(tmp_path / "junk.avi")]
    done = subprocess.run([sys.executable, "-c", script, *sources], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused"] * 3 and done.stderr == ""


def test_opencv_reads_frames_until_there_are_no_more(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for value in (10, 200):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    device = opencv_camera.OpenCVCamera(cv2.VideoCapture(str(path)), label="clip")
    for value in (10, 200):
        frame = device.read().frame
        assert frame.shape == (48, 64, 3) and abs(int(frame.mean()) - value) < 5
    with pytest.raises(DeviceError, match="clip: expected a frame, found none"):
        device.read()
    device.close()
    device.close()


class FakeCapture:
    """A cv2.VideoCapture of a Motion JPEG camera; `converts`: a backend that decodes all the same."""

    def __init__(self, *images: NDArray[np.uint8], converts: bool = False, code: str = "MJPG") -> None:
        self.images = list(images)
        self.converts = converts
        self.code = code
        self.settings: dict[int, float] = {}

    def get(self, name: int) -> float:
        return cv2.VideoWriter.fourcc(*self.code) if name == cv2.CAP_PROP_FOURCC else 0

    def set(self, name: int, value: float) -> bool:
        self.settings[name] = value
        return True

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        if not self.images:
            return False, None
        image = self.images.pop(0)
        if self.settings.get(cv2.CAP_PROP_CONVERT_RGB) == 0 and not self.converts:
            return True, np.frombuffer(cv2.imencode(".jpg", image)[1].tobytes(), np.uint8).reshape(1, -1)
        return True, image


def test_a_motion_jpeg_camera_hands_over_its_images_undecoded_and_damage_is_noticed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    camera = opencv_camera.OpenCVCamera(FakeCapture(image), label="cam")
    camera.ask_for_jpeg()
    jpeg = cv2.imencode(".jpg", image)[1]
    assert np.array_equal(camera.read().frame, cv2.imdecode(jpeg, cv2.IMREAD_COLOR))

    half = FakeCapture(image)
    half.read = lambda: (True, jpeg.ravel()[: jpeg.size // 2].reshape(1, -1))  # type: ignore[method-assign]
    camera = opencv_camera.OpenCVCamera(half, label="cam")
    camera.ask_for_jpeg()
    with pytest.raises(DataError, match="cut"):
        camera.read()


@pytest.mark.parametrize("capture", [FakeCapture(picture(7), converts=True), FakeCapture(picture(7), code="YUYV")])
def test_other_cameras_and_backends_deliver_decoded_frames(capture: FakeCapture) -> None:
    camera = opencv_camera.OpenCVCamera(capture, label="cam")
    camera.ask_for_jpeg()
    assert np.array_equal(camera.read().frame, picture(7))


def test_genicam_is_left_to_its_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    from spade_edge.tools.sources.cameras import genicam

    asked = []

    def connect(address: str) -> Scripted:
        asked.append(address)
        return Scripted([picture(3)]).connect()

    monkeypatch.setattr(genicam, "connect", connect)
    source = open_source("genicam:4711")
    assert asked == [] and source.live and source.endless
    assert next(iter(source)).name == 0
    assert asked == ["genicam:4711"]
