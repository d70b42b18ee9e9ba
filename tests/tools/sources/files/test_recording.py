"""Files as a source: stacks, videos that end early, and options that do not fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.sources import SourceOptions, open_source


def saved(path: Path, array: object) -> Path:
    np.save(path, array)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("shape", [(5, 8, 9), (5, 8, 9, 3), (5, 8, 9, 1), (1, 8, 9, 3), (2, 8, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_stack_is_its_frames(shape: tuple[int, ...], dtype: type, tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    source = open_source(saved(tmp_path / "s.npy", stack))
    shots = list(source)
    assert [shot.name for shot in shots] == list(range(shape[0]))
    expected = stack if dtype == np.uint8 else stack >> 8
    for shot, frame in zip(shots, expected, strict=True):
        assert shot.frame is not None and shot.frame.dtype == np.uint8 and np.array_equal(shot.frame, frame)
        assert type(shot.frame) is np.ndarray and shot.frame.flags.owndata  # no view of the file
    assert not source.live and not source.endless and source.names == ()


def test_a_stack_in_the_other_order_and_one_that_is_read_only(tmp_path: Path) -> None:
    stack = np.asfortranarray(np.random.default_rng(0).integers(0, 256, (3, 8, 9), np.uint8))
    path = saved(tmp_path / "s.npy", stack)
    path.chmod(0o400)
    assert np.array_equal([shot.frame for shot in open_source(path)], stack)


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (8, 9, 1), (8, 9, 4)])
def test_a_single_image_stays_one(shape: tuple[int, ...], tmp_path: Path) -> None:
    source = open_source(saved(tmp_path / "one.npy", np.zeros(shape, np.uint8)))
    assert [shot.name for shot in source] == ["one.npy"] and source.names == ("one.npy",)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((5, 8, 9), np.float32), "found 5x8x9 float32"),
        (np.zeros((5, 8, 9, 2), np.uint8), "found 5x8x9x2 uint8"),
        (np.zeros((2, 5, 8, 9, 3), np.uint8), "found 2x5x8x9x3 uint8"),
        (np.zeros((0, 8, 9), np.uint8), "expected"),
    ],
)
def test_a_stack_that_cannot_be_scored(array: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        open_source(saved(tmp_path / "s.npy", array))


@pytest.mark.parametrize("hostile", ["cut off", "pickle", "text"])
def test_a_damaged_or_hostile_stack_is_a_fault_and_is_never_unpickled(hostile: str, tmp_path: Path) -> None:
    path = tmp_path / "s.npy"
    np.save(
        path, np.array([print] * 9, object) if hostile == "pickle" else np.zeros((5, 8, 9), np.uint8), allow_pickle=True
    )
    if hostile == "cut off":
        path.write_bytes(path.read_bytes()[:-1])
    elif hostile == "text":
        path.write_text("no array")
    (shot,) = open_source(path)
    assert shot.frame is None and "s.npy: expected" in shot.fault


def test_a_stack_that_is_cut_while_it_is_read_is_a_fault_for_each_frame_that_is_lost(tmp_path: Path) -> None:
    path = saved(tmp_path / "s.npy", np.ones((4, 80, 90), np.uint8))
    shots = iter(open_source(path))
    assert next(shots).frame is not None
    path.write_bytes(path.read_bytes()[:-7201])
    assert [shot.frame is not None for shot in shots] == [True, False, False]


def test_a_stack_is_not_read_to_find_that_its_frames_are_too_large(tmp_path: Path) -> None:
    path = tmp_path / "s.npy"
    shape = (3, 1 << 17, 1 << 17)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + 3 << 34)
    with pytest.raises(DataError, match="expected frames of at most 2 GB each"):
        open_source(path)


def test_each_page_of_a_tiff_is_a_frame(tmp_path: Path) -> None:
    pages = list(np.random.default_rng(0).integers(0, 256, (3, 8, 9), np.uint8))
    path = tmp_path / "stack.tif"
    cv2.imwritemulti(str(path), pages)
    cv2.imwrite(str(tmp_path / "one.tif"), pages[0])
    expected = {"one.tif": pages[0], **{f"stack.tif#{number}": page for number, page in enumerate(pages, start=1)}}
    for source, names in ((tmp_path, list(expected)), (path, list(expected)[1:]), (f"{path}#2", ["stack.tif#2"])):
        opened = open_source(source)
        shots = list(opened)
        assert [shot.name for shot in shots] == names == list(opened.names)
        for shot in shots:
            assert shot.frame is not None and np.array_equal(shot.frame, expected[str(shot.name)])


def test_a_file_that_vanishes_before_it_is_read_is_a_fault(tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy"):
        saved(tmp_path / name, np.ones((8, 9), np.uint8))
    source = open_source(tmp_path)
    (tmp_path / "a.npy").unlink()
    first, second = source
    assert first.name == "a.npy" and first.frame is None and "a.npy: expected an image file, found" in first.fault
    assert second.name == "b.npy" and second.frame is not None


def test_folders_that_are_linked_belong_to_a_folder_when_asked(tmp_path: Path) -> None:
    for name in ("folder", "elsewhere"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name / "a.npy", np.ones((8, 9), np.uint8))
    (tmp_path / "folder" / "link").symlink_to("../elsewhere")
    assert open_source(tmp_path / "folder").names == ("a.npy",)
    followed = open_source(tmp_path / "folder", options=SourceOptions(follow_links=True))
    assert followed.names == ("a.npy", "link/a.npy")


def video(path: Path, frames: int) -> Path:
    """Noise that grows lighter, 10 a frame."""
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(frames):
        writer.write(random.integers(10 * number, 10 * number + 50, (48, 64, 3), np.uint8))
    writer.release()
    return path


def test_a_video_frame_by_frame(tmp_path: Path) -> None:
    shots = list(open_source(str(video(tmp_path / "v.avi", 4))))
    assert [shot.name for shot in shots] == [0, 1, 2, 3]
    for number, shot in enumerate(shots):
        assert shot.frame is not None and abs(float(shot.frame.mean()) - 10 * number - 25) < 5


def test_a_video_that_ends_early_says_so(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", 20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *frames, last = open_source(path)
    assert frames and last.frame is None and "the video ends early" in last.fault
    assert last.name == len(frames)


def test_lines_out_of_files(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (30, 8, 3), np.uint8)
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", rows[10 * number : 10 * number + 10])
    source = open_source(tmp_path, options=SourceOptions(linescan=16, line_overlap=2))
    shots = list(source)
    assert [shot.name for shot in shots] == [0, 1] and source.names == () and source.folder == tmp_path
    assert np.array_equal([shot.frame for shot in shots], [rows[:16], rows[14:30]])


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ("{folder}", {"raw": (1, 1, 1)}, "--raw: expected the source -"),
        ("0", {"raw": (1, 1, 1)}, "--raw: expected the source -"),
        ("{folder}", {"stall": 1.0}, "--stall: expected a camera or a watched folder"),
        ("{folder}", {"frozen": 0}, "--frozen: expected a camera"),
        ("{folder}", {"reopen": 0}, "--reopen: expected a camera"),
        ("-", {"reopen": 3}, "--reopen: expected a camera or a watched folder, found stdin"),
        ("{folder}/a.npy", {"follow_links": True}, "--follow-links: expected a folder"),
        ("0", {"follow_links": True}, "--follow-links: expected a folder"),
        ("-", {"follow_links": True}, "--follow-links: expected a folder, found stdin"),
        ("ftp://host/x", {}, "expected rtsp://"),
        ("watch:", {}, "expected a folder, as in watch:incoming"),
    ],
)
def test_options_that_do_not_fit(source: str, options: dict[str, object], says: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 9), np.uint8))
    with pytest.raises(UsageError, match=says):
        open_source(source.format(folder=tmp_path), options=SourceOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"line_overlap": 3}, "--linescan"),
        ({"linescan": 8, "line_overlap": 8}, "fewer lines than the 8"),
        ({"frozen": 1}, "--frozen 1"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        SourceOptions(**options)  # type: ignore[arg-type]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    for source in (tmp_path / "none", f"{tmp_path}/none", f"watch:{tmp_path}/none"):
        with pytest.raises(DataError, match="none: expected .* found nothing"):
            open_source(source)
    (tmp_path / "file.png").touch()
    with pytest.raises(DataError, match="expected a folder to watch, found a file"):
        open_source(f"watch:{tmp_path}/file.png")
