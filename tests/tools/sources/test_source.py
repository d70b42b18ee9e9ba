"""What a source may be: above all, a camera of one's own."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.runtime import DataError, DeviceError, SpadeError, UsageError
from spade_edge.tools.sources import Grab, SourceOptions, open_source


def picture(value: int) -> NDArray[np.uint8]:
    return np.full((4, 5, 3), value, np.uint8)


class OwnCamera:
    """Delivers what it is given, then stops."""

    def __init__(self, *steps: object) -> None:
        self.steps = list(steps)
        self.closed = 0

    def read(self) -> Grab | NDArray[np.uint8] | None:
        step = self.steps.pop(0) if self.steps else DeviceError("own camera: unplugged")
        if isinstance(step, Exception):
            raise step
        return step  # type: ignore[return-value]

    def close(self) -> None:
        self.closed += 1


def test_an_object_with_read_and_close_is_a_camera() -> None:
    camera = OwnCamera(picture(1), None, Grab(picture(2)[:, :, 0], part="7", time=12.5), DataError("damaged"))
    source = open_source(camera)
    assert source.live and source.endless and source.names == () and source.folder is None
    shots = iter(source)
    first, second, third, news = (next(shots) for _ in range(4))
    assert np.array_equal(first.frame, picture(1))
    assert second.frame is not None and second.frame.shape == (4, 5)
    assert (second.name, second.part, second.time) == (1, "7", 12.5)
    assert (third.name, third.frame, third.fault) == (2, None, "damaged")
    assert news.news and news.fault == "stopped: own camera: unplugged"
    with pytest.raises(DeviceError) as end:
        next(shots)
    assert str(end.value) == "own camera: unplugged"
    assert camera.closed == 1


def test_a_function_that_opens_a_camera_is_called_again_after_a_stop() -> None:
    cameras = [OwnCamera(picture(1)), OwnCamera(picture(2))]
    opened: list[OwnCamera] = []

    def connect() -> OwnCamera:
        opened.append(cameras.pop(0))
        return opened[-1]

    source = open_source(connect, options=SourceOptions(reopen=math.inf))
    assert opened == []  # not before the first frame is asked for
    shots = iter(source)
    assert [shot.name for shot in (next(shots), next(shots), next(shots))] == [0, None, 1]
    assert [camera.closed for camera in opened] == [1, 0]
    shots.close()  # type: ignore[attr-defined]
    assert [camera.closed for camera in opened] == [1, 1]


def test_a_class_opens_its_camera_without_arguments() -> None:
    class Fixed(OwnCamera):
        def __init__(self) -> None:
            super().__init__(picture(9))

    assert np.array_equal(next(iter(open_source(Fixed))).frame, picture(9))


def test_frames_of_an_own_camera_can_be_acquired_in_a_thread() -> None:
    camera = OwnCamera(picture(1), picture(2), picture(3))
    numbers = []
    with open_source(camera, options=SourceOptions(stall=0)).acquire() as shots, pytest.raises(DeviceError):
        for shot in shots:
            numbers.append(shot.name)
    assert numbers[-2:] == [2, None] and camera.closed == 1


def test_options_apply_to_an_own_camera() -> None:
    same = OwnCamera(*[picture(1)] * 3)
    shots = iter(open_source(same, options=SourceOptions(frozen=2)))
    assert [next(shots).frame is None for _ in range(3)] == [False, True, True]
    lines = OwnCamera(*[picture(1)] * 2)
    (strip, *_) = iter(open_source(lines, options=SourceOptions(linescan=8))), None
    assert next(strip).frame.shape == (8, 5, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "named"),
    [(SourceOptions(raw=(1, 1, 1)), "--raw"), (SourceOptions(reopen=3), "--reopen")],
)
def test_options_that_do_not_fit_an_open_camera(options: SourceOptions, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        open_source(OwnCamera(), options=options)


@pytest.mark.parametrize("source", [None, 3.5, np.zeros((4, 5), np.uint8), object()])
def test_what_is_no_source_is_refused(source: object) -> None:
    with pytest.raises(UsageError, match="read and close"):
        open_source(source)  # type: ignore[arg-type]


def test_a_camera_that_returns_something_else_than_a_frame_is_named() -> None:
    with pytest.raises(SpadeError, match="OwnCamera: .* found tuple"):
        next(iter(open_source(OwnCamera((True, picture(1))))))


def test_digits_are_a_camera_and_a_folder_needs_its_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0").mkdir()
    cv2.imwrite(str(tmp_path / "0" / "a.png"), picture(0))
    monkeypatch.chdir(tmp_path)
    assert open_source("0").live
    assert not open_source("./0").live and open_source("./0").names == ("a.png",)
    assert open_source(Path("0")).names == ("a.png",)
