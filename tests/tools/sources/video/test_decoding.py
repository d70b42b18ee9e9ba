"""Videos through PyAV: whole ones without a fault and with OpenCV's pixels, damaged ones without a wrong frame."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import FAST, FRAMES, film, packets, without_datagrams
from numpy.typing import NDArray

from spade_edge.runtime import DataError
from spade_edge.tools.sources import open_source
from spade_edge.tools.sources.video.decoding import DecodedVideo, OpeningError
from spade_edge.tools.sources.video.prediction import BEGINNING

pytest.importorskip("av")

X265 = {**FAST, "x265-params": "keyint=8:bframes=0:log-level=none"}
OPEN = {**FAST, "x264-params": "open-gop=1:keyint=8:bframes=2"}
REFRESH = {**FAST, "x264-params": "intra-refresh=1:keyint=8"}
KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "h264.mp4": ("libx264", {"options": {"preset": "veryfast", "bf": "0"}}),  # arithmetic coding
    "h264-b.mkv": ("libx264", {"options": {**FAST, "bf": "2"}, "between": 2}),
    "h264-open.ts": ("libx264", {"options": OPEN, "between": 2}),
    "h264-refresh.ts": ("libx264", {"options": REFRESH}),
    "h264-10-bits.mp4": ("libx264", {"options": FAST, "pixels": "yuv420p10le"}),
    "h265.ts": ("libx265", {"options": X265}),
    "h265.mkv": ("libx265", {"options": X265}),
    "mpeg4.avi": ("mpeg4", {}),
    "mpeg4-b.avi": ("mpeg4", {"between": 2}),
    "mpeg2-b.mpg": ("mpeg2video", {"between": 2}),
    "vp9.webm": ("libvpx-vp9", {"options": {"deadline": "realtime", "cpu-used": "8"}}),
    "ffv1.mkv": ("ffv1", {"options": {"level": "3", "slicecrc": "1"}}),
    "mpeg2.ts": ("mpeg2video", {"between": 2}),
    "mpeg4.ts": ("mpeg4", {}),
    "png.mov": ("png", {"pixels": "rgb24"}),
    "mjpeg.mjpeg": ("mjpeg", {"pixels": "yuvj420p"}),
    "mjpeg.avi": ("mjpeg", {"pixels": "yuvj420p"}),
    "raw.avi": ("rawvideo", {"pixels": "bgr24"}),
}


def found_in(path: Path) -> list[NDArray[np.uint8] | str]:
    video = DecodedVideo(str(path))
    try:
        return list(video)
    finally:
        video.close()


def through_opencv(path: Path) -> list[NDArray[np.uint8]]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (taken := capture.read())[0]:
        frames.append(taken[1])
    capture.release()
    return frames


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The video of a kind, encoded once."""
    folder = tmp_path_factory.mktemp("films")

    def make(kind: str) -> Path:
        codec, options = KINDS[kind]
        path = folder / kind
        return path if path.exists() else film(path, codec, **options)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_video_has_no_fault_and_the_pixels_of_opencv(kind: str, made: Callable[[str], Path]) -> None:
    path = made(kind)
    frames = found_in(path)
    assert [one for one in frames if isinstance(one, str)] == [] and len(frames) == FRAMES
    if not kind.startswith("mjpeg"):  # whose frames are read as JPEG files are
        expected = through_opencv(path)
        assert len(expected) == FRAMES
        assert max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(frames, expected, strict=True)) <= 1  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["h264-open.ts", "h264-refresh.ts", "h265.ts", "mpeg2.ts", "mpeg4.ts"])
def test_no_frame_of_a_stream_that_lost_datagrams_shows_anything_but_itself(
    kind: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    path = made(kind)
    whole = {one.tobytes() for one in found_in(path) if not isinstance(one, str)}
    originals = np.stack([one for one in found_in(path) if not isinstance(one, str)]).astype(np.int16)
    inexact = 3 if kind == "h264-refresh.ts" else 0  # a gradual refresh is exact up to rounding at its seams
    count = path.stat().st_size // (7 * 188)
    faults = concealed = 0
    for seed in range(3):
        lost = np.random.default_rng(seed).choice(np.arange(2, count), 2, replace=False).tolist()
        damaged = without_datagrams(path, lost)
        frames = found_in(damaged)
        for one in frames:
            assert isinstance(one, str) or np.abs(originals - one).max(axis=(1, 2, 3)).min() <= inexact
        faults += sum(isinstance(one, str) for one in frames)
        concealed += sum(one.tobytes() not in whole for one in through_opencv(damaged))
        assert abs(len(frames) - FRAMES) <= 3
    assert faults >= 6
    assert concealed > 0  # what OpenCV shows of the same files


@pytest.mark.parametrize(("kind", "least"), [("h264-b.mkv", 4), ("mpeg4.avi", 4), ("ffv1.mkv", 4), ("png.mov", 1)])
def test_wrong_bytes_that_a_decoder_runs_into_spoil_a_frame(
    kind: str, least: int, made: Callable[[str], Path], tmp_path: Path
) -> None:
    path = made(kind)
    raw = bytearray(path.read_bytes())
    start, size = packets(path)[9]
    raw[start + size // 2 : start + size // 2 + 12] = np.random.default_rng(1).bytes(12)
    damaged = tmp_path / path.name
    damaged.write_bytes(raw)
    whole, frames = found_in(path), found_in(damaged)
    assert len(frames) == FRAMES and sum(isinstance(one, str) for one in frames) >= least
    assert all(isinstance(one, str) or np.array_equal(one, same) for one, same in zip(frames, whole, strict=True))


@pytest.mark.parametrize("kind", ["h264.mp4", "h265.mkv", "ffv1.mkv", "mpeg4.avi"])
def test_zeros_in_the_middle_of_a_frame_spoil_it_and_those_built_on_it(
    kind: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    path = made(kind)
    raw = bytearray(path.read_bytes())
    start, size = packets(path)[10]
    raw[start + size // 2 : start + size - 4] = bytes(size - 4 - size // 2)
    damaged = tmp_path / path.name
    damaged.write_bytes(raw)
    whole, frames = found_in(path), found_in(damaged)
    assert len(frames) == FRAMES
    assert [isinstance(one, str) for one in frames] == [10 <= number < 16 for number in range(FRAMES)]
    assert all(isinstance(one, str) or np.array_equal(one, same) for one, same in zip(frames, whole, strict=True))


def test_frames_before_the_first_key_frame_are_faults_of_a_file_and_left_out_of_a_live_stream(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    path = made("mpeg4.ts")
    joined = tmp_path / "joined.ts"
    raw = path.read_bytes()
    joined.write_bytes(raw[: 3 * 188] + raw[packets(path)[3][0] :])  # the tables, and everything from frame 3 on
    whole, frames = found_in(path), found_in(joined)
    assert set(frames[:5]) == {BEGINNING} and len(frames) == FRAMES - 3  # type: ignore[arg-type]
    assert np.array_equal(frames[5:], whole[8:])  # type: ignore[arg-type]
    live = DecodedVideo(str(joined), live=True)
    assert np.array_equal(list(live), whole[8:])  # type: ignore[arg-type]
    live.close()


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((0, -1, 1, 0), lambda frame: np.rot90(frame, 1)),
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
    ],
)
def test_a_video_is_turned_as_its_display_matrix_says(
    matrix: tuple[int, ...],
    turned: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    made: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    path = made("h264.mp4")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"tkhd") + 44  # of version 0: 4 for the name, 4 flags, 36 up to the matrix
    a, b, c, d = (65536 * number for number in matrix)
    raw[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    turned_file = tmp_path / "turned.mp4"
    turned_file.write_bytes(raw)
    upright, frames = found_in(path), found_in(turned_file)
    assert np.array_equal(frames[0], turned(upright[0]))  # type: ignore[arg-type]
    if matrix != (-1, 0, 0, 1):  # OpenCV turns a mirrored video
        assert np.array_equal(frames[0], through_opencv(turned_file)[0])


def test_uneven_time_stamps_are_no_fault_and_the_end_is_the_end(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 120, 1000, 1003, 5000, 5040, 9000, 60_000, 60_001, 60_500]
    for name in ("uneven.mkv", "uneven.mp4"):
        path = film(tmp_path / name, "libx264", frames=len(stamps), options=FAST, stamps=stamps)
        shots = list(open_source(path))
        assert [shot.name for shot in shots] == list(range(len(stamps)))
        assert [shot.fault for shot in shots if shot.fault] == []


@pytest.mark.parametrize("kind", ["h264-b.mkv", "mpeg4.avi", "vp9.webm"])
def test_a_file_that_is_cut_off_says_so_behind_its_frames(
    kind: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    path = made(kind)
    raw = path.read_bytes()
    cut = tmp_path / kind
    cut.write_bytes(raw[: len(raw) * 2 // 3])
    *shots, last = open_source(cut)
    assert last.frame is None and last.name == len(shots)
    assert f"expected {len(raw)} bytes, found {len(raw) * 2 // 3}: the file is cut off" in last.fault
    whole = {one.tobytes() for one in found_in(path) if not isinstance(one, str)}
    kept = [shot.frame.tobytes() for shot in shots if shot.frame is not None]
    assert len(kept) > 5 and set(kept) <= whole


def test_a_recording_without_its_index_is_refused_with_the_reason(made: Callable[[str], Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(made("h264.mp4").read_bytes()[:5000])
    with pytest.raises(DataError, match="cut.mp4: expected an index"):
        list(open_source(cut))


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.avi"
    junk.write_bytes(b"no video at all")
    with pytest.raises(OpeningError, match="nothing in it that can be read as video"):
        DecodedVideo(str(junk))
    with pytest.raises(DataError, match="junk.avi: expected a video"):
        list(open_source(junk))
