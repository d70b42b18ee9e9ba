"""Boxes, of which JPEG 2000 and AVIF files consist: length, kind, content."""

from __future__ import annotations

from collections.abc import Iterator

from spade_edge.galleries.images.anatomy import CutOffError, DamagedError


def boxes(raw: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each box between two places, and where its content begins and ends.

    Raises:
        CutOffError: the bytes end within a box.
        DamagedError: a box is longer than what it is in, or shorter than its own header.
    """
    at = start
    while at + 8 <= end:
        length, kind, header = int.from_bytes(raw[at : at + 4], "big"), raw[at + 4 : at + 8], 8
        if length == 1:
            length, header = int.from_bytes(raw[at + 8 : at + 16], "big"), 16
        elif length == 0:  # up to the end
            length = end - at
        if length < header:
            raise DamagedError(f"no box begins at byte {at}")
        if at + length > end:
            raise (CutOffError if end == len(raw) else DamagedError)(
                f"its {len(raw)} bytes end within a box, which ends at {at + length}"
            )
        yield kind, at + header, at + length
        at += length
