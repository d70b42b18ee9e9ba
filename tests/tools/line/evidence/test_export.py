"""One file that can be taken away: what is in it, and that nothing in it can do harm."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from inspections import frame, inspection
from interrupted_writes import SPACE, full, stopping
from sample_decisions import BEGAN, decision

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.line.configuration.options import EvidenceOptions
from spade_edge.tools.line.decision import Inspection
from spade_edge.tools.line.evidence.entry import Entry, entries
from spade_edge.tools.line.evidence.export import TOP, export
from spade_edge.tools.line.evidence.ring import EvidenceRing

EVIL = '<script>alert("x")</script> ="1+1"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "evidence"
    ring = EvidenceRing(EvidenceOptions(folder=place), line="press-3")
    ring.open()
    ring.send(inspection(1, at=BEGAN))
    ring.send(inspection(2, at=BEGAN + 4000, id=EVIL, reason=EVIL, camera="c" * 64))
    ring.send(Inspection(decision(3, at=BEGAN + 5000, verdict="late", score=None, regions=())))
    ring.send(Inspection(decision(4, at=BEGAN + 6000, verdict="cannot_judge", score=None), frame=frame()))
    ring.close()
    return place


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        found = {one.name: tar.extractfile(one) for one in tar}
        return {name: file.read() for name, file in found.items() if file is not None}


def test_the_file_has_the_entries_a_table_and_a_page(folder: Path, tmp_path: Path) -> None:
    exported = export(entries(folder), folder=folder, output=tmp_path / "night.tar")
    assert (exported.entries, exported.gone, exported.altered) == (4, 0, 0)
    assert exported.size == (tmp_path / "night.tar").stat().st_size
    found = contents(tmp_path / "night.tar")
    kept = {f"{TOP}/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    assert {name: content for name, content in found.items() if "/index." not in name} == kept
    rows = list(csv.DictReader(io.StringIO(found[f"{TOP}/index.csv"].decode())))
    assert [row["number"] for row in rows] == ["4", "3", "2", "1"]
    assert rows[2]["trigger"] == EVIL
    for row in rows:
        picture = found.get(f"{TOP}/{row['folder']}/frame.png")
        assert (picture is None) == (row["frame_sha256"] == "")


def test_the_page_shows_pictures_that_are_there_and_runs_nothing(folder: Path, tmp_path: Path) -> None:
    export(entries(folder), folder=folder, output=tmp_path / "night.tar")
    found = contents(tmp_path / "night.tar")

    class Seen(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: set[str] = set()
            self.targets: list[str] = []
            self.text = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.add(tag)
            self.targets += [value for name, value in attrs if name in ("href", "src") and value]

        def handle_data(self, data: str) -> None:
            self.text += data

    seen = Seen()
    seen.feed(found[f"{TOP}/index.html"].decode())
    assert "script" not in seen.tags and EVIL in seen.text
    assert len(seen.targets) == 6 and all(f"{TOP}/{target}" in found for target in seen.targets)


def test_the_same_entries_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        export(entries(folder), folder=folder, output=tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert {int(one.mtime - BEGAN) for one in tar if "/index." not in one.name and one.mtime} == {
            0,
            4000,
            5000,
            6000,
        }
    export(entries(folder, limit=1), folder=folder, output=tmp_path / "a.tar")  # replaces its own
    assert len(contents(tmp_path / "a.tar")) == 4


def test_what_is_removed_meanwhile_is_counted(folder: Path, tmp_path: Path) -> None:
    def some() -> Iterator[Entry]:
        for number, entry in enumerate(entries(folder)):
            if number == 2:
                for file in (folder / entry.id).iterdir():
                    file.unlink()
            yield entry

    exported = export(some(), folder=folder, output=tmp_path / "night.tar")
    assert (exported.entries, exported.gone) == (3, 1)


def test_an_altered_frame_is_counted(folder: Path, tmp_path: Path) -> None:
    (entry,) = entries(folder, cameras=["c" * 64])
    assert entry.frame is not None
    entry.frame.write_bytes(b"another")
    assert export(entries(folder), folder=folder, output=tmp_path / "night.tar").altered == 1


def test_other_files_are_not_replaced(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(b"mine")
    with pytest.raises(UsageError):
        export(entries(folder), folder=folder, output=other)
    with pytest.raises(UsageError):
        export(entries(folder), folder=folder, output=folder / "night.tar")
    assert other.read_bytes() == b"mine"


def test_a_full_disk_is_said_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    with stopping(place, at=1, error=full(), only=SPACE), pytest.raises(DataError):
        export(entries(folder), folder=folder, output=place / "night.tar")
    assert list(place.iterdir()) == []
