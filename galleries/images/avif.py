"""AVIF: boxes; one describes the pictures and says where in the file their parts lie. HEIC is built in the same way."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from spade_edge.galleries.images.anatomy import UPRIGHT, Anatomy, CutOffError, DamagedError, UnreadError, check_size
from spade_edge.galleries.images.boxes import boxes

_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_PARTS = {b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"uuid"}  # anything else is no part of the picture
# EXIF's orientation by the number of quarter turns to the left: without a mirror, and with a mirror behind the turn
# that exchanges top and bottom (0) or left and right (1).
_TURNED = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


def walk(raw: bytes) -> Anatomy:
    """Find the main picture, and look whether all parts are there.

    Raises:
        CutOffError: the bytes end before the picture does.
        DamagedError: boxes contradict each other, or there is no picture.
        UnreadError: another format that is built of such boxes.
    """
    end, meta, parts = 0, (0, 0), set()
    for kind, start, last in _parts(raw):
        parts.add(kind)
        end = last
        if kind == b"ftyp":
            brands = {raw[at : at + 4] for at in (start, *range(start + 8, last - 3, 4))}
            if not brands & _AVIF:
                name = "HEIC picture" if brands & _HEIC else "video"
                raise UnreadError(f"a {name}, which is not read as an image; convert it to PNG or JPEG")
        elif kind == b"meta":
            meta = (start + 4, last)
    if not {b"meta", b"mdat"} <= parts:
        raise CutOffError(f"its {len(raw)} bytes end before {'any pixels' if b'meta' in parts else 'its description'}")
    try:
        return _picture(raw, *meta, end=end, frames=2 if b"moov" in parts else 1)
    except (struct.error, IndexError):
        raise DamagedError("its description ends too early") from None


def _parts(raw: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of the file, up to what is none of its parts."""
    at = 0
    seen: set[bytes] = set()
    while at + 8 <= len(raw) and raw[at + 4 : at + 8] in _PARTS:
        try:
            kind, start, at = next(boxes(raw, at, len(raw)))
        except (CutOffError, DamagedError):
            if {b"meta", b"mdat"} <= seen:  # what follows the picture only looks like a box
                return
            raise
        seen.add(kind)
        yield kind, start, at


def _picture(raw: bytes, start: int, end_of_meta: int, *, end: int, frames: int) -> Anatomy:
    described = {kind: (first, last) for kind, first, last in boxes(raw, start, end_of_meta)}
    if b"pitm" not in described or b"iprp" not in described:
        raise DamagedError("its description names no picture")
    at = described[b"pitm"][0]
    (item,) = struct.unpack_from(">I" if raw[at] else ">H", raw, at + 4)
    shared: list[tuple[bytes, int]] = []
    chosen: list[int] = []
    for kind, first, last in boxes(raw, *described[b"iprp"]):
        if kind == b"ipco":
            shared = [(inner, place) for inner, place, _ in boxes(raw, first, last)]
        elif kind == b"ipma":
            chosen += _chosen(raw, first, item)
    own = dict(shared[number - 1] for number in chosen if 0 < number <= len(shared))
    if b"ispe" not in own:
        raise DamagedError("its description has no size")
    width, height = struct.unpack_from(">II", raw, own[b"ispe"] + 4)
    check_size("AVIF", width, height)
    bits = 8
    if b"av1C" in own and raw[own[b"av1C"] + 2] & 0x40:
        bits = 12 if raw[own[b"av1C"] + 2] & 0x20 else 10
    turns = raw[own[b"irot"]] & 3 if b"irot" in own else 0
    mirror = raw[own[b"imir"]] & 1 if b"imir" in own else None
    return Anatomy(
        "AVIF",
        width,
        height,
        pixel_bytes=4 if bits == 8 else 8,
        end=end,
        orientation=_TURNED[mirror][turns] if turns or mirror is not None else UPRIGHT,
        frames=frames,
        largest=None if bits == 8 else (1 << bits) - 1,
        transparent=True,
    )


def _chosen(raw: bytes, at: int, item: int) -> list[int]:
    """The numbers, from 1, of the properties that a picture has."""
    version, wide = raw[at], raw[at + 3] & 1
    (entries,) = struct.unpack_from(">I", raw, at + 4)
    at += 8
    for _ in range(entries):
        (number,) = struct.unpack_from(">I" if version else ">H", raw, at)
        at += 4 if version else 2
        count, at = raw[at], at + 1
        if number == item:
            if wide:
                return [one & 0x7FFF for one in struct.unpack_from(f">{count}H", raw, at)]
            return [one & 0x7F for one in raw[at : at + count]]
        at += count * (2 if wide else 1)
    return []
