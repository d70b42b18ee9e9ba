"""Zeros in H.264 and H.265 where none can be, as in a part of a file that was never written.

These formats have no checksums, and decoders can go through zeros without a word. But coded units never contain three
zeros in a row: an encoder puts 03 behind two of them (ITU-T H.264 and H.265, 7.4.1 and 7.4.2).
"""

from __future__ import annotations

import re

_ZEROS = re.compile(rb"\0\0\0(?!\0*(?:\x01|\Z))")  # before 00 00 01, which begins a unit, and at the end they may stand
_LENGTHS = {"h264": 4, "hevc": 21}  # the byte of a container's description that tells how long lengths are
_VERSION = 1  # of a description; elsewhere zeros begin a start code


def length_bytes(codec: str, description: bytes | None) -> int:
    """Bytes of the length before each unit, by the description that a container stores; 0 for start codes in place."""
    at = _LENGTHS[codec]
    if description and description[0] == _VERSION and len(description) > at:
        return (description[at] & 3) + 1
    return 0


def has_impossible_zeros(packet: bytes, lengths: int) -> bool:
    """Whether a packet has zeros within a unit, or units that do not fill it.

    Args:
        packet: of H.264 or H.265.
        lengths: bytes of the length before each unit; 0 if each begins with a start code.
    """
    if not lengths:
        return _ZEROS.search(packet) is not None
    at = 0
    while at + lengths <= len(packet):
        start = at + lengths
        at = start + int.from_bytes(packet[at:start], "big")
        if at == start or at > len(packet) or b"\0\0\0" in packet[start:at]:
            return True
    return at != len(packet)
