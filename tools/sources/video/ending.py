"""Whether a video file is cut off, from the sizes that its container states."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"styp", b"sidx", b"uuid", b"meta")
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def shortfall(path: Path) -> str:
    """What is missing at the end of a video file: "" if nothing is, or if its format does not say.

    AVI, MP4 and MOV, Matroska and WebM state their sizes. MPEG streams end anywhere.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        file.seek(0)
        if start[:4] == b"RIFF":
            return _missing(_riff(file, size), size)
        if start[4:8] in BOXES:
            return _boxes(file, size)
        if start[:4] == EBML:
            return _missing(_matroska(file), size)
    return ""


def _missing(due: int, size: int) -> str:
    return f"expected {due} bytes, found {size}: the file is cut off" if due > size else ""


def _riff(file: BinaryIO, size: int) -> int:
    """Where the last RIFF chunk ends; long recordings have several."""
    end, odd = 0, 0
    while end + 8 <= size:
        file.seek(end)
        head = file.read(8)
        if head[:4] != b"RIFF":
            break
        length = int.from_bytes(head[4:], "little")
        if length in (0, 0xFFFFFFFF):  # left open by a recorder that streams
            return 0
        odd = length % 2
        end += 8 + length + odd
    return max(end - odd, min(end, size))  # the padding behind an odd length may be left out


def _boxes(file: BinaryIO, size: int) -> str:
    """MP4: boxes one after the other, each with its size; one of them is the index."""
    at, kinds = 0, set()
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        elif length == 0:  # up to the end of the file
            length = size - at
        if length < 8:  # no box: padding at the end
            break
        kinds.add(kind)
        at += length
    if kinds & {b"mdat", b"ftyp"} and not kinds & {b"moov", b"moof"}:
        return "expected an index, found none: the recording was not closed, or the file is cut off"
    return _missing(at, size)


def _matroska(file: BinaryIO) -> int:
    """Where the segment ends; 0 if it was left open."""
    file.seek(4)
    file.seek(_number(file) or 0, os.SEEK_CUR)
    if file.read(4) != SEGMENT:
        return 0
    length = _number(file)
    return 0 if length is None else file.tell() + length


def _number(file: BinaryIO) -> int | None:
    """A number of EBML: the leading zeros of its first byte tell how many bytes follow; None for "unknown"."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & ((0x80 >> more) - 1)]) + file.read(more), "big")
    return None if value == (1 << 7 * (more + 1)) - 1 else value
