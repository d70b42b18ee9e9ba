"""Dataset files: their bytes, what is read back, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.datasets import Entry, read_dataset, write_dataset
from spade_edge.tools.datasets.entry import fault_of

A, B = "a" * 64, "b" * 64
FILE = (
    f'{{"sha256": "{A}", "size": 17, "name": "a b.png", "address": "s3://plant/a b.png", "group": "g", '
    '"label": "good", "camera": "top", "time": "2026-03-01T10:00:00+00:00"}\n'
    f'{{"sha256": "{B}", "size": 0, "name": "sub/ü.npy", "address": "good/sub/ü.npy"}}\n'
)


def entries(folder: Path) -> tuple[Entry, ...]:
    return (
        Entry("sub/ü.npy", f"{folder}/good/sub/ü.npy", B, 0),
        Entry("a b.png", "s3://plant/a b.png", A, 17, "g", "good", "top", "2026-03-01T10:00:00+00:00"),
    )


def test_the_bytes_of_a_file_and_what_is_read_from_it(tmp_path: Path) -> None:
    write_dataset(tmp_path / "x.jsonl", entries(tmp_path))
    assert (tmp_path / "x.jsonl").read_text(encoding="utf-8") == FILE
    assert read_dataset(str(tmp_path / "x.jsonl")) == entries(tmp_path)[::-1]
    assert read_dataset(f"file://{tmp_path}/x.jsonl") == entries(tmp_path)[::-1]


def test_file_and_images_may_be_moved_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "x.jsonl", entries(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x.jsonl").rename(tmp_path / "elsewhere" / "x.jsonl")
    found = {entry.name: entry.address for entry in read_dataset(str(tmp_path / "elsewhere" / "x.jsonl"))}
    assert found["sub/ü.npy"] == f"{tmp_path}/elsewhere/good/sub/ü.npy" and found["a b.png"] == "s3://plant/a b.png"
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert {entry.name: entry.address for entry in read_dataset("x.jsonl")} == found


def test_an_image_outside_the_folder_of_the_file_keeps_its_path(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    write_dataset(tmp_path / "lists" / "x.jsonl", entries(tmp_path))
    assert read_dataset(str(tmp_path / "lists" / "x.jsonl")) == entries(tmp_path)[::-1]


def test_empty_lines_a_mark_of_windows_and_fields_to_come_are_no_mistake(tmp_path: Path) -> None:
    line = json.dumps({"name": "x.png", "address": "s3://b/x.png", "sha256": A, "size": 1, "lens": "new"})
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\r\n\r\n")
    assert read_dataset(str(tmp_path / "x.jsonl")) == (Entry("x.png", "s3://b/x.png", A, 1),)


def test_odd_characters_come_back(tmp_path: Path) -> None:
    odd = Entry("x\u202f%#?\u3000x.png", f"{tmp_path}/\udce4.png", A, 1, "g\u2028h", "l\x85", 'c"\\')
    write_dataset(tmp_path / "x.jsonl", [odd])
    assert read_dataset(str(tmp_path / "x.jsonl")) == (odd,)


GOOD = {"name": "x.png", "address": "s3://b/x.png", "sha256": A, "size": 1}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: expected one JSON object for each image"),
        ("[" * 100_000, "line 2: expected one JSON object"),
        ("[]", "line 2: expected a JSON object, found []"),
        ("null", "line 2: expected a JSON object"),
        ({"name": None}, "'name' to be a text"),
        ({"name": "../x.png"}, "line 2: expected the name of an image below its folder"),
        ({"name": "/etc/x.png"}, "below its folder"),
        ({"name": "a//x.png"}, "empty part"),
        ({"name": " x.png"}, "spaces at its ends"),
        ({"name": ".x.png"}, "begins with a dot"),
        ({"name": "a/.hidden/x.png"}, "begins with a dot"),
        ({"name": "x.txt"}, "does not end like that of an image"),
        ({"name": "x\n.png"}, "control characters"),
        ({"name": "y.png"}, "expected each name once, found y.png again"),
        ({"sha256": "A" * 64}, "64 hexadecimal digits"),
        ({"sha256": A[1:]}, "64 hexadecimal digits"),
        ({"size": -1}, "'size' to be a whole number from 0"),
        ({"size": True}, "'size' to be a whole number"),
        ({"size": 1.5}, "'size' to be a whole number"),
        ({"label": 3}, "'label' to be a text"),
        ({"address": ""}, "expected an address"),
        ({"address": "a\0b"}, "expected an address"),
        ({"address": "../x.png"}, "'..' in it"),
        ({"address": "a/../../x.png"}, "'..' in it"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_named_with_its_line(line: str | dict[str, object], says: str, tmp_path: Path) -> None:
    text = line if isinstance(line, str) else json.dumps(GOOD | line)
    (tmp_path / "x.jsonl").write_text(json.dumps(GOOD | {"name": "y.png"}) + "\n" + text + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_dataset(str(tmp_path / "x.jsonl"))
    assert says in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("missing", ["name", "address", "sha256", "size"])
def test_what_every_line_must_have(missing: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({k: v for k, v in GOOD.items() if k != missing}), encoding="utf-8")
    with pytest.raises(DataError, match=f"line 1: expected the field '{missing}'"):
        read_dataset(str(tmp_path / "x.jsonl"))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "found none"), (b"\n \n", "found none"), (b"\xff\xfe{\0}\0", "another encoding"), (None, "No such file")],
)
def test_what_is_no_dataset_file(content: bytes | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_dataset(str(tmp_path / "x.jsonl"))


def test_only_dataset_files_are_replaced(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    write_dataset(file, entries(tmp_path))
    write_dataset(file, entries(tmp_path)[:1])
    assert len(read_dataset(str(file))) == 1
    file.write_text('{"verdict": "good"}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="a file that spade-edge did not write"):
        write_dataset(file, entries(tmp_path))
    assert file.read_text(encoding="utf-8") == '{"verdict": "good"}\n'
    with pytest.raises(UsageError, match=r"expected a name that ends in \.jsonl"):
        write_dataset(tmp_path / "x.txt", entries(tmp_path))


def test_a_file_that_cannot_be_written_leaves_the_former_one(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    write_dataset(file, entries(tmp_path))

    def failing() -> list[Entry]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(file, (replace(entry) for entry in failing()))
    assert file.read_text(encoding="utf-8") == FILE and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["x.PNG", "a/b/c.npy", "ü#?%.tif", "..x.png".lstrip("."), "a..b.jpg"])
def test_usual_names_are_fine(name: str) -> None:
    assert fault_of(name) == ""


@pytest.mark.parametrize(
    ("label", "good"), [("", True), ("good", True), ("OK", True), ("Normal", True), ("scratch", False), ("bad", False)]
)
def test_which_labels_are_good(label: str, good: bool) -> None:
    assert Entry("x.png", "x.png", A, 1, label=label).good is good
