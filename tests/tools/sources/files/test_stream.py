"""Frames out of literal bytes, whole, cut off and hostile."""

from __future__ import annotations

import io
import os
import threading

import cv2
import numpy as np
import pytest

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.sources import SourceOptions, open_source
from spade_edge.tools.sources.files.stream import pnm_frames, raw_frames


def test_raw_frames_one_after_the_other() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    shots = list(raw_frames(io.BytesIO(frames.tobytes()), height=4, width=5, channels=3))
    assert [shot.name for shot in shots] == [0, 1, 2]
    assert np.array_equal([shot.frame for shot in shots], frames)
    grey = list(raw_frames(io.BytesIO(frames.tobytes()), height=4, width=15, channels=1))
    assert [shot.frame.shape for shot in grey if shot.frame is not None] == [(4, 15)] * 3


def test_a_rest_that_is_no_whole_frame_is_a_fault() -> None:
    *_, last = raw_frames(io.BytesIO(bytes(60 + 59)), height=4, width=5, channels=3)
    assert last.name == 1 and last.frame is None
    assert last.fault.startswith("expected 60 bytes of a frame of 5x4x3, found 59 at the end")


def test_pgm_and_ppm_in_one_stream_with_comments_and_parts() -> None:
    stream = (
        b"P5\n3 2\n255\n" + bytes(range(6))
        + b"P6 # part 4711\n#made by hand\n 2 # wide\r1\n#255\n255 " + bytes([1, 2, 3, 4, 5, 6])
        + b"P5 1 1 255\n#"  # the pixel looks like a comment
    )  # fmt: skip
    shots = list(pnm_frames(io.BytesIO(stream)))
    assert [(shot.name, shot.part, shot.fault) for shot in shots] == [(0, None, ""), (1, "4711", ""), (2, None, "")]
    assert np.array_equal(shots[0].frame, [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(shots[1].frame, [[[3, 2, 1], [6, 5, 4]]])  # RGB in the file, BGR in the frame
    assert np.array_equal(shots[2].frame, [[ord("#")]])


def test_what_opencv_writes_comes_back() -> None:
    frames = np.random.default_rng(1).integers(0, 256, (2, 9, 8, 3), np.uint8)
    stream = b"".join(cv2.imencode(".ppm", frame)[1].tobytes() for frame in frames)
    assert np.array_equal([shot.frame for shot in pnm_frames(io.BytesIO(stream))], frames)


@pytest.mark.parametrize("cut", [1, 2, 5, 10])
def test_a_stream_cut_off_in_a_header_is_a_fault(cut: int) -> None:
    whole = b"P5\n1 1\n255\nx"
    *_, last = pnm_frames(io.BytesIO(whole + whole[:cut]))
    assert (last.name, last.frame) == (1, None) and "within its header" in last.fault


def test_a_stream_cut_off_in_the_pixels_is_a_fault() -> None:
    (shot,) = pnm_frames(io.BytesIO(b"P6\n#part 7\n4 4\n255\n" + bytes(47)))
    assert shot.part == "7" and shot.fault == "expected 48 bytes of a frame of 4x4, found 47 at the end of the stream"


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (b"", "an empty stream"),
        (b"\x89PNG\r\n\x1a\n", r"found '\\x89'"),
        (b"P4 1 1 255\n", "expected the header of a binary PGM or PPM"),
        (b"P5 1 1 65536\n", "largest value from 1 to 65535"),
        (b"P5 1 1 0\n", "largest value from 1 to 65535"),
        (b"P5 0 1 255\n", "sides from 1 to 32766"),
        (b"P6 32767 1 255\n", "found 32767x1"),
        (b"P6 32766 32766 255\n", "at most 2 GB"),
        (b"P5 9999999 1 255\n", "expected the header"),
        (b"P5 -1 1 255\n", "expected the header"),
        (b"P5 1 1 255#", "expected the header"),
        (b"P5\n1e3 1\n255\n", "expected the header"),
        (b"P5 #" + b"x" * 5000, "at most 4096 bytes"),
        (b"P5" + b" " * 5000, "at most 4096 bytes"),
        (b"P5 1 1 255\nxgarbage", "expected the header"),
    ],
)
def test_a_hostile_stream_is_one_clear_error(stream: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as end:
        list(pnm_frames(io.BytesIO(stream)))
    assert "\n" not in str(end.value)


def test_an_empty_raw_stream_is_an_error() -> None:
    with pytest.raises(DataError, match="an empty stream"):
        list(raw_frames(io.BytesIO(b""), height=1, width=1, channels=1))


def test_a_pipe_that_gives_its_bytes_in_drops() -> None:
    readable, writable = os.pipe()
    frames = np.random.default_rng(2).integers(0, 256, (2, 30, 40, 3), np.uint8)

    def write() -> None:
        with os.fdopen(writable, "wb", buffering=0) as stream:
            for start in range(0, frames.size, 700):
                stream.write(frames.tobytes()[start : start + 700])

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(readable, "rb", buffering=0) as stream:
        shots = list(raw_frames(stream, height=30, width=40, channels=3))
    writer.join()
    assert np.array_equal([shot.frame for shot in shots], frames)


def test_a_terminal_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: True)
    with pytest.raises(UsageError, match="found a terminal"):
        open_source("-", options=SourceOptions(raw=(1, 1, 1)))
