"""Images wherever they lie as local files: the same bundle from every place, and messages that name the place."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from object_stores import S3, breaking_off, web_server

from spade_edge.galleries import BuildOptions, build
from spade_edge.galleries.grouping import groups_of
from spade_edge.galleries.images import find_images, name_of
from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.datasets import LocalImages, images_at, scan, write_dataset
from spade_edge.tools.datasets.naming import naming, told

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


def bundle(place: str, model: Path, output: Path) -> dict[str, bytes]:
    """The files of a bundle that is built from a place, but for times."""
    with images_at(place) as images:
        built = build(
            images.folder,
            model=model,
            output=output,
            options=BuildOptions(groups=images.groups, place="free", threads=1),
        )
    files = {path.name: path.read_bytes() for path in built.path.iterdir() if path.suffix in (".npy", ".onnx", ".hnsw")}
    return files | {"manifest.json": TIME.sub("", (built.path / "manifest.json").read_text(encoding="utf-8")).encode()}


def test_the_same_bundle_from_every_place(parts: Path, bucket: str, model: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "disk.jsonl", scan(str(parts)))
    write_dataset(tmp_path / "x.jsonl", scan(bucket))
    first = bundle(str(parts), model, tmp_path / "first.spade")
    assert len(first) > 5
    with web_server(tmp_path) as url:
        for number, place in enumerate((bucket, str(tmp_path / "disk.jsonl"), f"{url}/x.jsonl")):
            assert bundle(place, model, tmp_path / f"{number}.spade") == first, place


def grouped(images: LocalImages) -> dict[str, int]:
    """The group of each image, as a build numbers them."""
    names = [name_of(path, images.folder) for path in find_images(images.folder)]
    assert images.groups is not None
    return dict(zip(names, groups_of(names, images.groups, folder=images.folder), strict=True))


def test_groups_of_a_dataset_are_those_of_the_build(parts: Path, tmp_path: Path) -> None:
    entries = [replace(entry, group=str(int(entry.name[-5]) // 2)) for entry in scan(str(parts))]
    write_dataset(tmp_path / "x.jsonl", entries)
    found: dict[int, set[str]] = {}
    with images_at(str(tmp_path / "x.jsonl")) as images:
        for name, group in grouped(images).items():
            found.setdefault(group, set()).add(name[-5])
    assert sorted(map(sorted, found.values())) == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]]
    with images_at(str(tmp_path / "x.jsonl"), groups="folder") as images:
        assert images.groups == "folder"


def test_images_without_a_group_are_parts_of_their_own(parts: Path, tmp_path: Path) -> None:
    entries = scan(str(parts))
    together = {entries[0].name, entries[5].name}
    write_dataset(tmp_path / "x.jsonl", [replace(e, group="g;, \"'" if e.name in together else "") for e in entries])
    with images_at(str(tmp_path / "x.jsonl")) as images:
        found = grouped(images)
    assert len(set(found.values())) == 9 and len({found[name] for name in together}) == 1


def test_pages_of_a_tiff_have_the_group_of_their_file(tmp_path: Path, part: Callable[..., NDArray[np.uint8]]) -> None:
    (tmp_path / "stacks").mkdir()
    for number in range(3):
        pages = [part(2 * number), part(2 * number + 1)]
        assert cv2.imwritemulti(str(tmp_path / "stacks" / f"{number}.tif"), pages)
    write_dataset(tmp_path / "x.jsonl", scan(str(tmp_path / "stacks"), groups=r"(\d)\.tif"))
    with images_at(str(tmp_path / "x.jsonl")) as images:
        assert grouped(images) == {f"{number}.tif#{page}": number for number in range(3) for page in (1, 2)}


def test_a_page_that_was_skipped_is_not_missed(tmp_path: Path, part: Callable[..., NDArray[np.uint8]]) -> None:
    (tmp_path / "stacks").mkdir()
    for number in range(2):
        assert cv2.imwritemulti(str(tmp_path / "stacks" / f"{number}.tif"), [part(number), part(number)])
    write_dataset(tmp_path / "x.jsonl", scan(str(tmp_path / "stacks"), groups=r"(\d)\.tif"))
    with images_at(str(tmp_path / "x.jsonl")) as images:
        assert images.groups is not None
        assert groups_of(["0.tif#1", "1.tif#1", "1.tif#2"], images.groups, folder=images.folder) == (0, 1, 1)
        with pytest.raises(DataError, match=r"found no line for 1 of 3, the first is 2\.tif"):
            groups_of(["0.tif#1", "1.tif#1", "2.tif"], images.groups, folder=images.folder)


def test_a_folder_is_passed_on_as_it_is(parts: Path, cache: Path) -> None:
    for text in (str(parts), f"file://{parts}"):
        with images_at(text, groups="x") as images:
            assert images.folder == parts and images.groups == "x" and images.entries is None
            assert images.address == str(parts) and images.told("y") == "y"
    assert not cache.exists()


def test_an_image_and_its_folder_keep_their_names(bucket: str) -> None:
    with images_at(f"{bucket}/left/1.png") as images:
        assert images.folder.name == "left" and [path.name for path in images.folder.iterdir()] == ["1.png"]
        assert images.told(f"{images.folder}/1.png: bad") == f"{bucket}/left/1.png: bad"
        assert images.entries is not None and images.entries[0].address == f"{bucket}/left/1.png"
    with images_at(f"{bucket}/") as images:
        assert images.folder.name == "bolts" and images.address == bucket


def test_an_image_of_a_web_server_by_its_address(tmp_path: Path, parts: Path) -> None:
    (tmp_path / "right ü").mkdir()
    (tmp_path / "right ü" / "a b.png").write_bytes((parts / "right ü" / "9.png").read_bytes())
    with web_server(tmp_path) as url, images_at(f"{url}/right%20%C3%BC/a%20b.png") as one:
        assert one.entries is not None and [entry.name for entry in one.entries] == ["a b.png"]
        assert (one.folder / "a b.png").read_bytes() == (tmp_path / "right ü" / "a b.png").read_bytes()
        assert one.entries[0].address == f"{url}/right%20%C3%BC/a%20b.png"


def test_what_is_not_good_is_left_out(parts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = {"1": "scratch", "2": "scratch", "3": "dent", "4": "good", "5": "OK"}
    entries = [replace(entry, label=labels.get(entry.name[-5], "")) for entry in scan(str(parts))]
    write_dataset(tmp_path / "x.jsonl", entries)
    with images_at(str(tmp_path / "x.jsonl"), good_only=True) as images:
        assert len(list(images.folder.rglob("*.png"))) == 7
    assert "x.jsonl: left out 3 of 10 images, which are labelled dent (1), scratch (2)" in caplog.text
    with images_at(str(tmp_path / "x.jsonl")) as images:
        assert len(list(images.folder.rglob("*.png"))) == 10
    write_dataset(tmp_path / "x.jsonl", [replace(entry, label="dent") for entry in entries])
    with (
        pytest.raises(DataError, match=r"found only those labelled dent \(10\)"),
        images_at(str(tmp_path / "x.jsonl"), good_only=True),
    ):
        pass


def test_a_changed_image_is_refused_by_its_hash(bucket: str, s3: S3, tmp_path: Path, cache: Path) -> None:
    entries = scan(bucket)
    write_dataset(tmp_path / "x.jsonl", entries)
    for path in cache.glob("??/*"):
        path.unlink()
    s3.put(f"{bucket}/{entries[3].name}", b"x" * entries[3].size)
    with (
        pytest.raises(DataError, match=f"{entries[3].name}: expected the SHA-256"),
        images_at(str(tmp_path / "x.jsonl")),
    ):
        pass
    assert list((cache / "rooms").iterdir()) == []


def test_a_second_time_nothing_is_fetched(
    bucket: str, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: Path
) -> None:
    write_dataset(tmp_path / "x.jsonl", scan(bucket))
    with breaking_off(s3.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        with images_at(str(tmp_path / "x.jsonl")) as images:  # scanning kept them
            times = {path.name: path.stat().st_mtime_ns for path in images.folder.rglob("*.png")}
            for path in images.folder.rglob("*.png"):
                assert path.read_bytes() == (parts / path.relative_to(images.folder)).read_bytes()
        assert proxy.connections == 0
        with images_at(bucket) as images:  # no hash is known
            assert {path.name: path.stat().st_mtime_ns for path in images.folder.rglob("*.png")} == times
        assert proxy.connections > 0


def test_a_dataset_file_in_the_store_beside_its_images(bucket: str, s3: S3, parts: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "x.jsonl", scan(str(parts)))
    text = (tmp_path / "x.jsonl").read_text(encoding="utf-8").replace(f"{parts}/", "")
    s3.put(f"{bucket}/lists/../x.jsonl".replace("lists/../", ""), text.encode())
    with images_at(f"{bucket}/x.jsonl") as images:
        assert images.entries is not None and len(images.entries) == 10
        assert images.entries[0].address == f"{bucket}/left/1.png"
        assert images.told(f"{images.folder}/left/1.png") == f"{bucket}/x.jsonl/left/1.png"
    s3.put(f"{bucket}/y.jsonl", (tmp_path / "x.jsonl").read_bytes())  # with paths of this machine
    with pytest.raises(DataError, match="found a path"), images_at(f"{bucket}/y.jsonl"):
        pass


def test_a_dataset_on_a_web_server(parts: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(parts, tmp_path / "served")
    write_dataset(tmp_path / "served" / "x.jsonl", scan(str(tmp_path / "served")))
    with web_server(tmp_path / "served") as url, images_at(f"{url}/x.jsonl") as images:
        assert len(list(images.folder.rglob("*.png"))) == 10


def test_names_that_the_disk_cannot_hold_side_by_side(parts: Path, tmp_path: Path) -> None:
    entries = scan(str(parts))
    for name, says in (
        (f"{entries[0].name}/x.png", "expected a name that this disk can hold"),
        ("x" * 300 + ".png", "File name too long"),
    ):
        write_dataset(tmp_path / "x.jsonl", [entries[0], replace(entries[1], name=name)])
        with pytest.raises(DataError, match=says) as caught, images_at(str(tmp_path / "x.jsonl")):
            pass
        assert "rename the image" in str(caught.value) and "rooms" not in str(caught.value)


def test_a_group_that_no_table_can_hold(parts: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "x.jsonl", [replace(entry, group=" g") for entry in scan(str(parts))])
    with pytest.raises(UsageError, match="without spaces at its ends"), images_at(str(tmp_path / "x.jsonl")):
        pass


# Messages


def test_what_is_told_names_the_address(
    bucket: str, s3: S3, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    s3.put(f"{bucket}/left/broken.png", b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(DataError) as caught, images_at(bucket) as images:
        build(images.folder, model=model, output=tmp_path / "a.spade")
    assert str(caught.value).startswith(f"{bucket}/left/broken.png: expected a whole image")
    with images_at(bucket) as images:
        logging.getLogger("spade_edge.galleries").warning("%s: look", images.folder / "left")
        logging.getLogger("elsewhere").warning("%s: here, too", images.folder)
        skipping = BuildOptions(skip_bad=True, threads=1)
        built = build(images.folder, model=model, output=tmp_path / "a.spade", options=skipping)
        assert images.told(built).skipped[0].startswith(f"{bucket}/left/broken.png: ")
        assert images.told(built).manifest == built.manifest and images.told(built).path == built.path
    assert f"{bucket}/left: look" in caplog.text and f"{bucket}: here, too" in caplog.text
    assert "rooms" not in caplog.text


def test_an_error_of_the_system_names_the_address_too(bucket: str) -> None:
    with pytest.raises(FileNotFoundError) as caught, images_at(bucket) as images:
        (images.folder / "nothing").read_bytes()
    assert caught.value.filename == f"{bucket}/nothing"


def test_the_handlers_are_left_as_they_were(bucket: str) -> None:
    handlers = [*logging.getLogger().handlers, *logging.getLogger("spade_edge").handlers]
    before = [list(handler.filters) for handler in handlers]
    with images_at(bucket), naming({"a": "b"}):
        pass
    assert [list(handler.filters) for handler in handlers] == before


@dataclass(frozen=True)
class Nested:
    text: str
    numbers: NDArray[np.float32]
    more: object = None


def test_texts_are_renamed_wherever_they_are() -> None:
    names = {"/room/images": "s3://b", "/room/groups.csv": "those of s3://b"}
    value = Nested("at /room/images/x.png", np.zeros(3, np.float32), {"/room/images": [Path("/room/images/y")]})
    found = told(value, names)
    assert found.text == "at s3://b/x.png" and found.numbers is value.numbers
    assert found.more == {"s3://b": [Path("/room/images/y")]}  # a path is there to be opened
    same = Nested("other", np.zeros(3, np.float32))
    assert told(same, names) is same
    assert told(json.loads('{"a": [1, null, "x"]}'), names) == {"a": [1, None, "x"]}
