"""Scanning: a folder, an object store and a web server have the same images, with the same hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from object_stores import S3, refusing, web_server

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.datasets import difference, scan, verify
from spade_edge.tools.remote import UnreachableError


def expected(folder: Path) -> dict[str, tuple[str, int]]:
    """Hash and size of each image, found naively."""
    return {
        path.relative_to(folder).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in folder.glob("*/*.png")
    }


def test_every_kind_of_place_has_the_same_images(parts: Path, bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    with web_server(parts) as url:
        for address in (str(parts), f"file://{parts}", bucket, f"{bucket}/", url):
            caplog.clear()
            found = scan(address, camera="top")
            assert {entry.name: (entry.sha256, entry.size) for entry in found} == expected(parts), address
            assert [entry.name for entry in found] == sorted(expected(parts))
            assert {entry.camera for entry in found} == {"top"} and {entry.group for entry in found} == {""}
            assert "left out 1 .mp4 file" in caplog.text
            assert all(entry.time for entry in found) or address == url
            assert list(verify(found)) == []
    assert found[0].address == f"{url}/left/1.png" and found[-1].address == f"{url}/right%20%C3%BC/9.png"


def test_groups_and_labels(parts: Path, tmp_path: Path, bucket: str) -> None:
    for address in (str(parts), bucket):
        by_folder = scan(address, groups="folder", label="folder")
        assert {(entry.group, entry.label) for entry in by_folder} == {("left", "left"), ("right ü", "right ü")}
        assert {entry.label for entry in scan(address, label="good")} == {"good"}
        assert {entry.name: entry.group for entry in scan(address, groups=r"(\d)\.png")} == {
            name: name[-5] for name in expected(parts)
        }
        with pytest.raises(UsageError, match="--groups x"):
            scan(address, groups="x")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "1.png").write_bytes(b"1")
    (entry,) = scan(str(tmp_path / "flat"), groups="folder", label="folder")
    assert entry.group == "" and entry.label == ""


def test_keys_that_cannot_be_names_are_left_out_by_name(s3: S3, caplog: pytest.LogCaptureFixture) -> None:
    bucket = s3.bucket()
    for key in ("good/fine.png", "good/.hidden/x.png", "good/ spaces.png", "good/photo.heic", "good/x.json"):
        s3.put(f"{bucket}/{key}", b"1")
    assert [entry.name for entry in scan(f"{bucket}/good")] == ["fine.png"]
    assert "left out  spaces.png (a name with an empty part, or with spaces" in caplog.text
    assert "left out 1 .heic file" in caplog.text


def test_where_there_are_no_images(s3: S3, tmp_path: Path) -> None:
    bucket = s3.bucket()
    with pytest.raises(DataError, match="expected files, found none"):
        scan(bucket)
    s3.put(f"{bucket}/x.mp4", b"1")
    with pytest.raises(DataError, match=r"expected images .* found none; left out 1 \.mp4"):
        scan(bucket)
    with pytest.raises(DataError, match="found nothing"):
        scan(str(tmp_path / "nothing"))


def test_links_to_folders_are_followed_if_asked_for(
    parts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "own.png").write_bytes(b"1")
    (tmp_path / "images" / "linked").symlink_to(parts / "left")
    assert [entry.name for entry in scan(str(tmp_path / "images"))] == ["own.png"]
    assert "left out the linked folder linked" in caplog.text
    assert len(scan(str(tmp_path / "images"), follow_links=True)) == 7


def test_what_is_wrong_with_a_dataset(parts: Path, bucket: str, s3: S3) -> None:
    entries = scan(bucket)
    names = [entry.name for entry in entries]
    s3.delete(f"{bucket}/{names[1]}")
    s3.put(f"{bucket}/{names[2]}", (parts / names[2]).read_bytes()[:-100])  # an upload that was cut off
    same_size = bytearray((parts / names[4]).read_bytes())
    same_size[40] ^= 1
    s3.put(f"{bucket}/{names[4]}", bytes(same_size))
    s3.put(f"{bucket}/{names[6]}", (parts / names[6]).read_bytes() + b"more")
    found = {mismatch.name: mismatch.fault for mismatch in verify(entries)}
    assert list(found) == [names[1], names[2], names[4], names[6]]
    assert "expected a file, found none" in found[names[1]]
    assert "has been changed" in found[names[2]] and "has been changed" in found[names[6]]
    assert "expected the SHA-256" in found[names[4]]
    assert all(fault.startswith(f"{bucket}/{name}: ") for name, fault in found.items())


def test_a_server_that_is_gone_ends_the_verification(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = scan(bucket)
    with refusing() as port, pytest.raises(UnreachableError, match="tried 5 times"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        list(verify(entries))


def test_what_differs_between_two_datasets(parts: Path, bucket: str, tmp_path: Path) -> None:
    import shutil
    from dataclasses import replace

    old = scan(str(parts), label="good")
    assert difference(old, old).nothing
    assert difference(old, [replace(entry, time="") for entry in old]).nothing
    copy = tmp_path / "copy"
    shutil.copytree(parts, copy)
    (copy / "left" / "1.png").unlink()
    (copy / "left" / "2.png").write_bytes(b"other")
    (copy / "left" / "new.png").write_bytes(b"new")
    new = scan(str(copy), label="good", groups="folder")
    found = difference(old, new)
    assert found.added == ("left/new.png",) and found.removed == ("left/1.png",) and found.changed == ("left/2.png",)
    assert {(change.what, change.before, change.after) for change in found.said} == {
        ("group", "", "left"),
        ("group", "", "right ü"),
    }
    assert len(found.said) == 9 and len(found.moved) == 8  # what has changed has not moved
    moved = difference(old, scan(bucket, label="good"))
    assert not (moved.added or moved.removed or moved.changed or moved.said) and len(moved.moved) == 10
