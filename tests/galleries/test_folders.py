"""Finding the images of a folder in which not everything is an image, or can be looked at."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spade_edge.galleries.images import find_images, name_of
from spade_edge.runtime import DataError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, *, follow_links: bool = False) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder, follow_links=follow_links)]


def test_folders_are_searched_in_order_and_hidden_files_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "b.png", "a.JPG", "sub/deep/c.tiff", ".hidden.png", ".cache/d.png", "notes.txt", "Thumbs.db", "png")
    assert found(tmp_path) == ["a.JPG", "b.png", "sub/deep/c.tiff"]
    assert caplog.text == ""


def test_a_folder_that_is_named_like_a_picture_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.png/b.png")
    assert found(tmp_path) == ["a.png/b.png"]


def test_links_to_files_are_read_and_bad_entries_are_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = tmp_path / "images"
    touch(tmp_path, "images/a.png", "elsewhere/b.png")
    (images / "link.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    assert found(images) == ["a.png", "link.png"] and caplog.text == ""
    (images / "itself.png").symlink_to("itself.png")
    (images / "itself").symlink_to("itself")
    (images / "gone.png").symlink_to(tmp_path / "absent")
    (images / "gone.txt").symlink_to(tmp_path / "absent")
    (images / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(images / "pipe.bmp")
    assert found(images) == ["a.png", "link.png"]
    (record,) = caplog.records
    bad = ("gone.png (a broken link)", "itself (a link to itself)", "itself.png (a link to itself)")
    assert all(part in record.getMessage() for part in (*bad, "pipe.bmp (a pipe)", "zero.png (a device or socket)"))
    assert "gone.txt" not in record.getMessage()
    for number in range(20):
        (images / f"{number}.png").symlink_to(tmp_path / "absent")
    assert len(found(images)) == 2 and "17 more" in caplog.text


def test_links_to_folders_are_followed_when_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = tmp_path / "images"
    touch(tmp_path, "images/real/a.png", "elsewhere/b.png", "elsewhere/deep/c.png")
    (images / "out").symlink_to(tmp_path / "elsewhere")
    (images / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (images / "inside").symlink_to(images / "real")
    (images / "real" / "up").symlink_to(images)
    (images / "real" / "machine").symlink_to("/")
    (images / "real" / "parent").symlink_to("../..")
    assert found(images) == ["real/a.png"]
    assert "again, inside, out, real/machine, real/parent and real/up" in caplog.text
    caplog.clear()
    followed = found(images, follow_links=True)
    real = [os.path.realpath(images / name) for name in followed]
    assert sorted(real) == sorted(
        str(tmp_path.resolve() / name) for name in ("images/real/a.png", "elsewhere/b.png", "elsewhere/deep/c.png")
    )
    assert "real/a.png" in followed  # by its own name, not by the link's
    (record,) = caplog.records
    assert all(name in record.getMessage() for name in ("real/machine", "real/parent", "real/up"))
    (tmp_path / "way").symlink_to(images)
    assert found(tmp_path / "way") == ["real/a.png"]


def test_a_subfolder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a.png", "lost+found/b.png", "late/c.png")
    scandir = os.scandir

    def refusing(place: str) -> Iterator[os.DirEntry[str]]:
        if place.endswith("lost+found"):
            raise PermissionError(13, "Permission denied", place)
        if place.endswith("late"):
            raise FileNotFoundError(2, "No such file or directory", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    assert found(tmp_path) == ["a.png"]
    (record,) = caplog.records
    assert "lost+found (Permission denied)" in record.getMessage() and "late" not in record.getMessage()
    with pytest.raises(DataError, match="expected a folder that can be read, found: Permission denied"):
        find_images(tmp_path / "lost+found")


def test_pictures_of_other_kinds_and_videos_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a.png", "b.CR2", "sub/c.cr2", "d.svg", "e.mp4", ".f.cr2", "g.txt")
    (tmp_path / "h.mov").symlink_to(tmp_path / "e.mp4")
    assert found(tmp_path) == ["a.png"]
    (record,) = caplog.records
    assert "2 .cr2, 1 .mov, 1 .mp4 and 1 .svg files" in record.getMessage()
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"expected images .* found none; left out 2 \.cr2, .*\.svg"):
        find_images(tmp_path)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_names_of_any_bytes_are_read_and_can_be_printed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (b"Pr\xfcfling.png", b"two\nlines.png", b"pipe\n\xfc.png"):
        path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118  (bytes)
        os.mkfifo(path) if name.startswith(b"pipe") else Path(os.fsdecode(path)).touch()
    names = [name_of(path, tmp_path) for path in find_images(tmp_path)]
    assert names == ["Pr\\xfcfling.png", "two\nlines.png"]
    assert "pipe\\n\\xfc.png (a pipe)" in caplog.text


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected images .* found none"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="found nothing"):
        find_images(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="found a file"):
        find_images(tmp_path / "file")
    (tmp_path / "itself").symlink_to("itself")
    with pytest.raises(DataError, match="expected a folder"):
        find_images(tmp_path / "itself")
