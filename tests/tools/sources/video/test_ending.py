"""Whether a video file is cut off, from bytes written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from spade_edge.tools.sources.video.ending import shortfall


def riff(length: int, *, said: int | None = None) -> bytes:
    return b"RIFF" + (length if said is None else said).to_bytes(4, "little") + b"AVI " + bytes(length - 4)


def box(kind: bytes, length: int, *, long: bool = False) -> bytes:
    head = (1).to_bytes(4, "big") + kind + length.to_bytes(8, "big") if long else length.to_bytes(4, "big") + kind
    return head + bytes(length - len(head))


def matroska(length: int, *, size: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\x84" + bytes(4) + b"\x18\x53\x80\x67" + size + bytes(length)


WHOLE = {
    "avi": riff(100),
    "odd avi without padding": riff(101),
    "avi in two parts": riff(100) + riff(60),
    "avi in two parts, the first odd": riff(101) + b"\0" + riff(60),
    "avi left open": riff(100, said=0),
    "avi and bytes behind": riff(100) + bytes(9),
    "mp4": box(b"ftyp", 24) + box(b"moov", 50) + box(b"mdat", 70),
    "mov": box(b"wide", 8) + box(b"mdat", 90, long=True) + box(b"moov", 50),
    "mp4 up to the end": box(b"ftyp", 24) + box(b"moov", 50) + (0).to_bytes(4, "big") + b"mdat" + bytes(40),
    "mp4 and padding": box(b"ftyp", 24) + box(b"moov", 50) + box(b"mdat", 70) + bytes(20),
    "fragments": box(b"ftyp", 24) + box(b"moof", 50) + box(b"mdat", 70),
    "matroska": matroska(300, size=b"\x41\x2c"),
    "matroska left open": matroska(300, size=b"\x01" + b"\xff" * 7),
    "mpeg-ts": b"\x47" + bytes(187),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_lacks_nothing(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_bytes(WHOLE[kind])
    assert shortfall(path) == ""


@pytest.mark.parametrize("kind", ["avi", "avi in two parts, the first odd", "mp4", "mov", "fragments", "matroska"])
@pytest.mark.parametrize("lost", [1, 30])
def test_a_file_that_is_cut_off_says_by_how_much(kind: str, lost: int, tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_bytes(WHOLE[kind][:-lost])
    assert shortfall(path) == f"expected {len(WHOLE[kind])} bytes, found {len(WHOLE[kind]) - lost}: the file is cut off"


def test_an_mp4_without_its_index_was_not_closed(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_bytes(box(b"ftyp", 24) + box(b"mdat", 70))
    assert "expected an index, found none" in shortfall(path)
