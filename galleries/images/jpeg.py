"""JPEG: segments that begin with a marker, FF and a number, up to the end marker FF D9.

A segment may contain a whole small picture with an end marker of its own, so segments are stepped over. The coded
data of a scan follow its header without a length. In them, FF stands only before 00, or in a restart marker; these are
numbered 0 to 7 in turn, and there is one for every so many blocks, if the file says how many.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from spade_edge.galleries.images.anatomy import UPRIGHT, Anatomy, Coded, CutOffError, DamagedError, check_size
from spade_edge.galleries.images.exif import orientation

START = b"\xff\xd8\xff"
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame: size and components
_ALONE = frozenset(range(0xD0, 0xD8)) | {0x01}  # markers without a segment
_END, _SCAN, _TABLES, _RESTARTS, _APP1, _START = 0xD9, 0xDA, 0xC4, 0xDD, 0xE1, 0xD8
_SEQUENTIAL = (0xC0, 0xC1)
_ZEROS = 64
_END_OF_BLOCK = 0x00  # the symbol of a block without further details
_SOME_DETAIL = 0x01  # the symbol with the shortest code in the tables of most cameras
_MARKER = re.compile(rb"\xff[^\x00\xff]")


@dataclass(frozen=True)
class _Frame:
    """Start of frame: size in pixels, bits of a sample, and the horizontal and vertical sampling of each component."""

    kind: int
    width: int
    height: int
    bits: int
    sampling: dict[int, tuple[int, int]]

    def blocks(self, components: bytes) -> int:
        """The number of units of coded data in a scan of these components: restart intervals are counted in them."""
        across, down = (max(factors[axis] for factors in self.sampling.values()) for axis in (0, 1))
        if len(components) > 1:  # interleaved
            return -(-self.width // (8 * across)) * -(-self.height // (8 * down))
        own = self.sampling[components[0]]
        width, height = -(-self.width * own[0] // across), -(-self.height * own[1] // down)
        return -(-width // 8) * -(-height // 8)


def walk(raw: bytes) -> Anatomy:
    """Step from segment to segment, and through the coded data of each scan.

    Raises:
        CutOffError: the bytes end before the end marker.
        DamagedError: segments contradict each other, or restart markers are missing or out of turn.
    """
    at, turn, interval = 2, UPRIGHT, 0
    frame: _Frame | None = None
    shortest: dict[int, int] = {}
    scans: list[Coded] = []
    while True:
        marker, segment, at = _segment(raw, at)
        if marker == _END:
            break
        if marker in _SIZES:
            frame = _frame(marker, segment)
        elif marker == _APP1 and turn == UPRIGHT and segment.startswith(b"Exif\0\0"):
            turn = orientation(segment)
        elif marker == _TABLES:
            shortest |= _shortest(segment)
        elif marker == _RESTARTS and len(segment) == 2:
            interval = int.from_bytes(segment, "big")
        elif marker == _SCAN:
            if frame is None:
                raise DamagedError(f"the scan at byte {at} comes before the size")
            start, at = at, _scan(raw, at, segment, frame, interval)
            scans.append(Coded(start, at, _ZEROS if _has_details(frame, segment, shortest) else 0))
    if frame is None or not scans:
        raise DamagedError("it ends before any pixels")
    return Anatomy(
        kind="JPEG",
        width=frame.width,
        height=frame.height,
        pixel_bytes=(3 if len(frame.sampling) > 1 else 1) * (1 if frame.bits <= 8 else 2),
        end=at,
        orientation=turn,
        coded=tuple(scan for scan in scans if scan.zeros),
    )


def _segment(raw: bytes, at: int) -> tuple[int, bytes, int]:
    """The next marker, its segment without the length, and where that ends.

    Raises:
        CutOffError, DamagedError: as for `walk`.
    """
    found = _MARKER.search(raw, at)
    if found is None:
        raise CutOffError(f"its {len(raw)} bytes end without an end marker")
    marker, at = found[0][-1], found.end()
    if marker == _END or marker in _ALONE:
        return marker, b"", at
    length = int.from_bytes(raw[at : at + 2], "big")
    if at + max(2, length) > len(raw):
        raise CutOffError(f"its {len(raw)} bytes end within a segment, or without an end marker")
    if marker == _START or length < 2:
        raise DamagedError(f"what stands at byte {found.start()} is no segment")
    return marker, raw[at + 2 : at + length], at + length


def _frame(kind: int, segment: bytes) -> _Frame:
    if len(segment) < 6 or len(segment) != 6 + 3 * segment[5] or not segment[5]:
        raise DamagedError("the segment with its size has a wrong length")
    bits, height, width = struct.unpack_from(">BHH", segment)
    sampling = {segment[at]: (segment[at + 1] >> 4, segment[at + 1] & 15) for at in range(6, len(segment), 3)}
    if not all(1 <= factor <= 4 for factors in sampling.values() for factor in factors):
        raise DamagedError("the segment with its size has sampling factors that do not exist")
    check_size("JPEG", width, height)
    return _Frame(kind, width, height, bits, sampling)


def _shortest(segment: bytes) -> dict[int, int]:
    """The symbol with the shortest code, which is all zeros, of each Huffman table for details in a segment."""
    found, at = {}, 0
    while at + 17 < len(segment):
        if segment[at] >> 4 == 1:
            found[segment[at] & 15] = segment[at + 17]
        at += 17 + sum(segment[at + 1 : at + 17])
    return found


def _has_details(frame: _Frame, header: bytes, shortest: dict[int, int]) -> bool:
    """Whether zeros in a scan would mean blocks in which every detail has the same strength, which no picture has.

    In pictures with large flat areas, zeros may mean blocks without details, and long runs of them occur.
    """
    tables = [selectors & 15 for selectors in header[2 : 2 + 2 * header[0] : 2]]
    return frame.kind in _SEQUENTIAL and any(shortest.get(one, _SOME_DETAIL) != _END_OF_BLOCK for one in tables)


def _scan(raw: bytes, at: int, header: bytes, frame: _Frame, interval: int) -> int:
    """Go through coded data; returns where the marker behind them begins.

    Raises:
        CutOffError, DamagedError: as for `walk`.
    """
    components = header[1 : 1 + 2 * header[0] : 2] if header else b""
    if not components or not set(components) <= set(frame.sampling):
        raise DamagedError(f"the header of the scan at byte {at} names components that do not exist")
    restarts = 0
    for found in _MARKER.finditer(raw, at):
        marker = found[0][-1]
        if not 0xD0 <= marker <= 0xD7:
            break
        if marker - 0xD0 != restarts % 8:
            raise DamagedError(
                f"restart marker {marker - 0xD0} stands in place of {restarts % 8} at byte {found.start()}"
            )
        restarts += 1
    else:
        raise CutOffError(f"its {len(raw)} bytes end within coded data, without an end marker")
    due = (frame.blocks(components) - 1) // interval if interval else restarts
    if restarts not in (due, due + 1):  # some encoders write one behind the last block
        raise DamagedError(
            f"the scan that ends at byte {found.start()} has {restarts} restart markers in place of {due}"
        )
    return found.start()
