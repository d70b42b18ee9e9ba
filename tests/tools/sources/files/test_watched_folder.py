"""A folder that a camera writes into, in pieces, twice, or not at all."""

from __future__ import annotations

import io
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries.images import listing
from spade_edge.galleries.images.completeness import is_complete
from spade_edge.galleries.images.like_good import Reading
from spade_edge.runtime import DeviceError
from spade_edge.tools.sources import Shot, open_source
from spade_edge.tools.sources.acquisition import ALL, Acquisition
from spade_edge.tools.sources.files import watched_folder
from spade_edge.tools.sources.files.arrival import GIVEN_UP, QUIET
from spade_edge.tools.sources.files.image_shot import image_shot
from spade_edge.tools.sources.files.watched_folder import WatchedFolder

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def encoded(suffix: str, image: NDArray[np.uint8] = IMAGE) -> bytes:
    if suffix == ".npy":
        stream = io.BytesIO()
        np.save(stream, image)
        return stream.getvalue()
    return cv2.imencode(suffix, image)[1].tobytes()


class Looks:
    """A watched folder whose time stands still but for the pauses between two looks; a test acts in these.

    Args:
        acts: one for each look after the first; the source ends after the last.
    """

    def __init__(self, folder: Path, *acts: Callable[[], object], tries: float = 2, follow_links: bool = False) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.acts = list(acts)
        self.watch = WatchedFolder(
            folder, tries=tries, pause=self.pause, follow_links=follow_links, clock=lambda: self.now
        )

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        if not self.acts:
            return True
        self.acts.pop(0)()
        return False

    def wait(self, seconds: float) -> Callable[[], None]:
        def pass_time() -> None:
            self.now += seconds

        return pass_time


def nothing() -> None:
    pass


def names(shots: Iterator[Shot] | list[Shot]) -> list[tuple[str | int | None, bool]]:
    """Each shot's name, and whether it has a frame."""
    return [(shot.name, shot.frame is not None) for shot in shots]


def test_only_what_appears_later_is_a_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old.png").write_bytes(encoded(".png"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "old.bmp").write_bytes(encoded(".bmp"))

    def appear() -> None:
        (tmp_path / "sub" / "deep").mkdir()
        for name in ("b.png", "sub/deep/a.pgm", ".hidden.png", "notes.txt", "c.png.part"):
            (tmp_path / name).write_bytes(encoded(".png" if name.endswith("png") else ".pgm", IMAGE[:, :, 0]))
        (tmp_path / ".cache").mkdir()
        (tmp_path / ".cache" / "x.png").write_bytes(encoded(".png"))

    looks = Looks(tmp_path, appear, nothing, nothing)
    assert looks.watch.left_out == 2
    assert sorted(names(looks.watch)) == [("b.png", True), ("sub/deep/a.pgm", True)]
    open_source(f"watch:{tmp_path}")
    assert "left out 4 images that were there before" in caplog.text


def test_files_come_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    def appear() -> None:
        for age, name in enumerate(("c.npy", "a.npy", "b.npy")):
            (tmp_path / name).write_bytes(encoded(".npy"))
            os.utime(tmp_path / name, (1000 + age, 1000 + age))

    assert [shot.name for shot in Looks(tmp_path, appear).watch] == ["c.npy", "a.npy", "b.npy"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pgm", ".ppm", ".npy", ".bmp", ".tif"])
def test_a_half_written_file_with_an_end_of_its_own_is_waited_for(suffix: str, tmp_path: Path) -> None:
    raw = encoded(suffix, IMAGE[:, :, 0] if suffix == ".pgm" else IMAGE)
    path = tmp_path / f"part{suffix}"
    step = len(raw) // 40 + 1
    seen: list[int] = []

    def grow() -> None:
        with path.open("ab") as file:
            file.write(raw[path.stat().st_size :][:step])

    looks = Looks(tmp_path, *[grow] * (len(raw) // step + 1), nothing)
    for shot in looks.watch:
        seen.append(path.stat().st_size)
        assert shot.fault == "" and shot.name == path.name
        assert shot.frame is not None and shot.frame.shape[:2] == (40, 50)
        assert suffix == ".jpg" or np.array_equal(shot.frame, IMAGE[:, :, 0] if suffix == ".pgm" else IMAGE)
    assert seen == [len(raw)]


def test_another_file_counts_as_whole_when_it_has_been_quiet(tmp_path: Path) -> None:
    raw = b"P2 50 40 255\n" + " ".join(map(str, IMAGE[:, :, 0].ravel())).encode()  # text has no end mark
    path = tmp_path / "part.pgm"
    times: list[float] = []

    def write(piece: bytes) -> Callable[[], object]:
        return lambda: path.open("ab").write(piece)

    looks = Looks(tmp_path, write(raw[:3000]), nothing, write(raw[3000:]), *[nothing] * 8)
    for shot in looks.watch:
        times.append(looks.now)
        assert shot.frame is not None and np.array_equal(shot.frame, IMAGE[:, :, 0])
    assert len(times) == 1 and times[0] == pytest.approx(0.15 + QUIET, abs=0.051)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".npy", ".ppm", ".bmp", ".tif"])
def test_a_file_that_never_becomes_whole_is_a_fault(suffix: str, tmp_path: Path) -> None:
    raw, path = encoded(suffix), tmp_path / f"part{suffix}"
    looks = Looks(tmp_path, lambda: path.write_bytes(raw[: len(raw) // 2]))
    looks.acts += [looks.wait(GIVEN_UP / 2), looks.wait(GIVEN_UP / 2), nothing, nothing]
    (shot,) = looks.watch
    assert shot.name == path.name and shot.frame is None and "expected" in shot.fault


def test_a_damaged_file_is_a_fault_once_and_a_frame_when_it_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    raw = encoded(".png")
    damaged = raw[:60] + bytes(40) + raw[100:]  # whole, but wrong inside
    looks = Looks(tmp_path, lambda: path.write_bytes(raw[:9]))
    looks.acts += [looks.wait(3), looks.wait(3), lambda: path.write_bytes(raw), nothing, looks.wait(9)]
    assert names(looks.watch) == [("p.png", False), ("p.png", True)]
    assert is_complete(damaged, ".png") is False


def test_a_file_that_is_written_again_is_a_new_frame(tmp_path: Path) -> None:
    path = tmp_path / "latest.npy"

    def write(value: int) -> Callable[[], None]:
        def rewrite() -> None:
            path.write_bytes(encoded(".npy", np.full((4, 4), value, np.uint8)))
            os.utime(path, (1000 + value, 1000 + value))

        return rewrite

    looks = Looks(tmp_path, write(1), write(2), nothing, write(3), nothing)
    assert [shot.frame[0, 0] for shot in looks.watch if shot.frame is not None] == [1, 2, 3]


def test_a_file_that_is_deleted_before_it_could_be_read_is_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def half(*names: str) -> Callable[[], None]:
        return lambda: [(tmp_path / name).write_bytes(encoded(".png")[:99]) for name in names] and None

    def delete() -> None:
        for path in tmp_path.iterdir():
            path.unlink()

    looks = Looks(tmp_path, half("a.png"), delete, half("b.png", "c.png"), delete)
    looks.acts += [looks.wait(5)]
    assert list(looks.watch) == []
    first, total = caplog.records
    assert "a.png was deleted before it could be read" in first.getMessage()
    assert "3 files were deleted" in total.getMessage()


def test_a_file_that_is_renamed_before_it_is_whole_is_one_frame_and_not_called_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw, early, path = encoded(".png"), tmp_path / "early.png", tmp_path / "p.png"
    looks = Looks(tmp_path, lambda: early.write_bytes(raw[:-9]), lambda: early.rename(path))
    looks.acts += [lambda: path.open("ab").write(raw[-9:]), nothing]
    assert names(looks.watch) == [("p.png", True)] and caplog.text == ""


def test_a_file_that_a_list_shows_under_neither_of_its_names_is_one_frame(tmp_path: Path) -> None:
    """As it may happen when it is renamed while the folder is listed."""
    folder, between = tmp_path / "watched", tmp_path / "p.png"
    folder.mkdir()
    early, late = folder / "early.png", folder / "late.png"
    looks = Looks(folder, lambda: early.write_bytes(encoded(".png")), nothing)
    looks.acts += [lambda: early.rename(between), lambda: between.rename(late), nothing, nothing]
    assert names(looks.watch) == [("early.png", True)]
    assert set(looks.watch._known) == {"late.png"} and looks.watch._gone == []


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, taken = tmp_path / "p.npy", []
    looks = Looks(tmp_path, lambda: path.write_bytes(encoded(".npy")), nothing, nothing)

    def disturbed(place: Path, folder: Path, reading: Reading) -> Shot:
        taken.append(image_shot(place, folder, reading))
        if len(taken) == 1:
            path.write_bytes(encoded(".npy", IMAGE[:9]))
        return taken[-1]

    monkeypatch.setattr(watched_folder, "image_shot", disturbed)
    (given,) = looks.watch
    assert given.frame is not None and np.array_equal(given.frame, IMAGE[:9])


def test_a_file_that_changes_in_all_but_its_content_is_no_new_frame(tmp_path: Path) -> None:
    path, raw = tmp_path / "p.bmp", encoded(".bmp")
    (tmp_path / "old.bmp").write_bytes(encoded(".bmp", IMAGE[:8]))
    (tmp_path / "done").mkdir()
    acts: list[Callable[[], object]] = [
        lambda: path.write_bytes(raw),
        path.touch,
        lambda: path.chmod(0o600),
        lambda: os.utime(path, (1, 1)),
        lambda: path.write_bytes(raw),
        lambda: os.link(path, tmp_path / "link.bmp"),
        lambda: (tmp_path / "symbolic.bmp").symlink_to(path),
        lambda: path.rename(tmp_path / "renamed.bmp"),
        lambda: (tmp_path / "renamed.bmp").rename(tmp_path / "done" / "moved.bmp"),
        (tmp_path / "done" / "moved.bmp").touch,
        (tmp_path / "old.bmp").touch,
        lambda: (tmp_path / "old.bmp").rename(tmp_path / "done" / "old.bmp"),
        lambda: (tmp_path / "link.bmp").open("ab").write(b"padding"),
    ]
    looks = Looks(tmp_path)
    for act in acts:
        looks.acts += [act, nothing, looks.wait(QUIET), looks.wait(GIVEN_UP)]
    assert names(looks.watch) == [("p.bmp", True)]


def test_each_page_of_a_tiff_is_a_frame(tmp_path: Path) -> None:
    images = [IMAGE[:, :, 0], IMAGE[:, :, 1], IMAGE[:, :, 2]]
    path = tmp_path / "stack.tif"
    assert cv2.imwritemulti(str(path), images)
    raw = path.read_bytes()
    path.unlink()
    looks = Looks(tmp_path, lambda: path.write_bytes(raw[: len(raw) // 2]), nothing)
    looks.acts += [lambda: path.write_bytes(raw), nothing, looks.wait(QUIET), looks.wait(GIVEN_UP)]
    shots = list(looks.watch)
    assert [shot.name for shot in shots] == ["stack.tif#1", "stack.tif#2", "stack.tif#3"]
    for shot, image in zip(shots, images, strict=True):
        assert shot.frame is not None and np.array_equal(shot.frame, image)


def test_what_takes_the_place_of_a_file_is_a_new_frame(tmp_path: Path) -> None:
    path, aside = tmp_path / "p.bmp", tmp_path / ".aside"

    def replace(image: NDArray[np.uint8]) -> Callable[[], object]:
        def act() -> None:
            aside.write_bytes(encoded(".bmp", image))
            aside.replace(path)

        return act

    other = IMAGE[::-1].copy()
    acts = [replace(IMAGE), replace(IMAGE), replace(other), lambda: path.write_bytes(encoded(".bmp"))]
    looks = Looks(tmp_path)
    for act in [*acts, path.unlink, lambda: path.write_bytes(encoded(".bmp"))]:
        looks.acts += [act, nothing, looks.wait(QUIET), looks.wait(GIVEN_UP)]
    frames = [shot.frame for shot in looks.watch]
    assert len(frames) == 5
    for frame, image in zip(frames, (IMAGE, IMAGE, other, IMAGE, IMAGE), strict=True):
        assert frame is not None and np.array_equal(frame, image)


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_a_file_that_was_given_up_is_a_frame_once_it_is_whole(suffix: str, tmp_path: Path) -> None:
    raw, path = encoded(suffix), tmp_path / f"part{suffix}"

    def write(start: float, end: float) -> Callable[[], object]:
        return lambda: path.open("ab").write(raw[int(start * len(raw)) : int(end * len(raw))])

    looks = Looks(tmp_path, write(0, 0.3), nothing)
    looks.acts += [looks.wait(GIVEN_UP), write(0.3, 0.6), nothing, looks.wait(GIVEN_UP)]  # one fault is enough
    looks.acts += [looks.wait(GIVEN_UP), path.touch, looks.wait(GIVEN_UP), looks.wait(GIVEN_UP)]
    looks.acts += [write(0.6, 1), nothing, looks.wait(QUIET), looks.wait(GIVEN_UP), looks.wait(GIVEN_UP)]
    assert names(looks.watch) == [(path.name, False), (path.name, True)]


def test_a_file_that_is_too_large_is_a_fault_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"

    def reserve() -> None:
        path.write_bytes(encoded(".png"))
        os.truncate(path, 1 << 40)

    looks = Looks(tmp_path, reserve, nothing)
    looks.acts += [looks.wait(GIVEN_UP), looks.wait(GIVEN_UP), lambda: os.truncate(path, 2 << 40), nothing]
    looks.acts += [looks.wait(GIVEN_UP), looks.wait(GIVEN_UP)]
    (shot,) = looks.watch
    assert shot.frame is None and "1,099,511,627,776 bytes" in shot.fault


def test_bad_entries_are_named_once_and_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a subfolder holds is not new when it can be read again."""
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "old.npy").write_bytes(encoded(".npy"))
    refused: set[str] = set()
    scandir = os.scandir

    def refusing(place: str) -> Iterator[os.DirEntry[str]]:
        if Path(place).name in refused:
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)

    def pipe() -> None:
        os.mkfifo(tmp_path / "pipe.png")
        (tmp_path / "up").symlink_to("..")
        (tmp_path / "photo.heic").touch()

    looks = Looks(tmp_path, lambda: refused.add("sub"), nothing, refused.clear, nothing)
    looks.acts += [lambda: refused.add("sub"), pipe, lambda: (tmp_path / "a.npy").write_bytes(encoded(".npy"))]
    assert "itself (a link to itself)" in caplog.text
    assert names(looks.watch) == [("a.npy", True)]
    text = [record.getMessage() for record in caplog.records]
    assert len(text) == 5
    for part in ("itself", "sub (Permission denied)", "pipe.png (a pipe)", "linked folder up", ".heic"):
        assert sum(part in line for line in text) == 1, part


def test_the_empty_folder_under_a_share_in_a_subfolder_is_not_the_loss_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, aside = tmp_path / "share", tmp_path.parent / f"{tmp_path.name} aside.npy"
    share.mkdir()
    (share / "old.npy").write_bytes(encoded(".npy"))
    (tmp_path / "other.npy").write_bytes(encoded(".npy"))
    disk = {"number": 0}
    status = listing._status

    def elsewhere(path: str) -> os.stat_result:
        found = status(path)
        at = found.st_dev + disk["number"] * path.endswith("share")
        return os.stat_result([*found[:2], at, *found[3:10]])

    def unmount() -> None:
        disk["number"] = 1
        (share / "old.npy").rename(aside)

    def mount() -> None:
        disk["number"] = 2
        aside.rename(share / "old.npy")

    monkeypatch.setattr(listing, "_status", elsewhere)
    assert list(Looks(tmp_path, unmount, nothing, mount, nothing).watch) == []


def test_links_to_folders_are_followed_when_asked(tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "watched" / "link").symlink_to(tmp_path / "elsewhere")

    def write() -> None:
        (tmp_path / "elsewhere" / "a.npy").write_bytes(encoded(".npy"))

    for follow, expected in ((False, []), (True, [("link/a.npy", True)])):
        (tmp_path / "elsewhere" / "a.npy").unlink(missing_ok=True)
        looks = Looks(tmp_path / "watched", write, nothing, follow_links=follow)
        assert names(looks.watch) == expected


def test_in_a_large_folder_each_file_gets_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_folder, "ALWAYS", 2)
    monkeypatch.setattr(watched_folder, "IN_TURN", 3)
    for number in range(20):
        (tmp_path / f"{number}.npy").write_bytes(encoded(".npy"))
    looked: list[int] = []

    def rewrite(number: int, rows: int) -> Callable[[], object]:
        return lambda: (tmp_path / f"{number}.npy").write_bytes(encoded(".npy", IMAGE[:rows]))

    looks = Looks(tmp_path, rewrite(5, 9), *[nothing] * 12, rewrite(5, 8), nothing, rewrite(13, 9), *[nothing] * 12)
    scan = looks.watch._scan

    def counted() -> dict[str, listing.ImageFile | None]:
        found = scan()
        looked.append(sum(file is not None for file in found.values()))
        assert len(found) == 20
        return found

    monkeypatch.setattr(looks.watch, "_scan", counted)
    assert names(looks.watch) == [("5.npy", True), ("5.npy", True), ("13.npy", True)]
    assert max(looked) <= 6


def test_names_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    def turn_over(number: int) -> Callable[[], None]:
        def act() -> None:
            (tmp_path / f"{number}.npy").write_bytes(encoded(".npy"))
            (tmp_path / f"{number - 2}.npy").unlink(missing_ok=True)

        return act

    looks = Looks(tmp_path, *(turn_over(number) for number in range(50)))
    assert len(list(looks.watch)) == 50
    assert len(looks.watch._known) <= 2 and looks.watch._unread == {}


def test_a_folder_that_vanishes_is_one_stop_and_what_was_known_stays_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, aside = tmp_path / "share", tmp_path / "aside"
    folder.mkdir()
    (folder / "old.npy").write_bytes(encoded(".npy"))

    def come_back() -> None:
        aside.rename(folder)
        (folder / "new.npy").write_bytes(encoded(".npy"))

    looks = Looks(folder, lambda: folder.rename(aside), nothing, come_back, nothing, tries=5)
    news, new = looks.watch
    assert news.name is None and f"stopped: {folder}: expected a folder that can be read" in news.fault
    assert (new.name, new.fault) == ("new.npy", "")
    assert looks.pauses == [0.05, 0.5, 1.0, 0.05, 0.05]
    assert f"watch:{folder}: back after 1.5 s" in caplog.text


def test_a_folder_that_stays_away_ends_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    looks = Looks(folder, lambda: shutil.rmtree(folder), *[nothing] * 9, tries=3)
    shots = iter(looks.watch)
    assert next(shots).news
    with pytest.raises(DeviceError, match="gave up after 3 tries"):
        next(shots)


def test_the_empty_folder_under_a_share_is_a_stop_and_not_the_loss_of_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.npy").write_bytes(encoded(".npy"))
    disk = {"number": 0}
    status = listing._status

    def elsewhere(path: str) -> os.stat_result:
        found = status(path)
        return os.stat_result([*found[:2], found.st_dev + disk["number"], *found[3:10]])

    def unmount() -> None:
        disk["number"] = 1
        (tmp_path / "old.npy").rename(tmp_path.parent / "old.npy")

    def mount() -> None:  # the kernel may give it another number
        disk["number"] = 2
        (tmp_path.parent / "old.npy").rename(tmp_path / "old.npy")

    monkeypatch.setattr(listing, "_status", elsewhere)
    (news,) = Looks(tmp_path, unmount, nothing, mount, nothing, tries=math.inf).watch
    assert news.news and "found an empty folder" in news.fault


def test_looking_takes_at_most_a_tenth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(tmp_path, nothing, nothing)

    def slow() -> dict[str, tuple[int, int]]:
        looks.now += 0.2
        return {}

    monkeypatch.setattr(looks.watch, "_scan", slow)
    list(looks.watch)
    assert looks.pauses == [pytest.approx(2.0)] * 3


def test_a_link_to_a_folder_above_ends_somewhere(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    looks = Looks(tmp_path, lambda: (tmp_path / "sub" / "a.npy").write_bytes(encoded(".npy")))
    assert names(looks.watch) == [("sub/a.npy", True)]


def test_a_camera_that_writes_while_somebody_reads(tmp_path: Path) -> None:
    """Real time, a real thread, small pieces: every file comes once and whole."""
    ended = threading.Event()
    watch = WatchedFolder(tmp_path, tries=0, pause=ended.wait)
    wanted = {f"{number}{suffix}" for number in range(4) for suffix in (".png", ".jpg", ".pgm", ".npy", ".bmp")}

    def write() -> None:
        for name in sorted(wanted):
            suffix = Path(name).suffix
            raw = encoded(suffix, IMAGE[:, :, 0] if suffix == ".pgm" else IMAGE)
            with (tmp_path / name).open("wb", buffering=0) as file:
                for start in range(0, len(raw), len(raw) // 4 + 1):
                    file.write(raw[start : start + len(raw) // 4 + 1])
                    time.sleep(0.004)

    writer = threading.Thread(target=write)
    found: list[str | int | None] = []
    with Acquisition(watch, keep=ALL, ended=ended, stall=20) as shots:
        writer.start()
        for shot in shots:
            assert shot.frame is not None and shot.frame.shape[:2] == (40, 50), shot.fault
            found.append(shot.name)
            if len(found) == len(wanted):
                break
    writer.join()
    assert set(found) == wanted


def test_every_beginning_of_a_file_is_told_from_the_whole() -> None:
    for suffix in (".png", ".jpg", ".ppm", ".npy"):
        raw = encoded(suffix)
        cuts = [*range(1, 200), *range(200, len(raw), 97), len(raw) - 1]
        told = {is_complete(raw[:cut], suffix) for cut in cuts}
        assert True not in told and is_complete(raw, suffix) is True, suffix
        assert is_complete(raw + b"some cameras append a little", suffix) is True
        assert is_complete(b"", suffix) is False
        assert is_complete(b"something else", suffix) is None


def test_a_small_picture_inside_a_jpeg_is_not_its_end() -> None:
    inner, raw = encoded(".jpg", IMAGE[:8, :8]), encoded(".jpg")
    exif = b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner
    photo = raw[:2] + exif + raw[2:]
    assert is_complete(photo[: 2 + len(exif)], ".jpg") is False
    assert is_complete(photo[:-1], ".jpg") is False and is_complete(photo, ".jpg") is True
