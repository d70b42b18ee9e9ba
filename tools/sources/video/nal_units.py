"""Zeros in H.265 where none can be, as in a part of a file that was never written.

H.265 has no checksums, and its decoders go through zeros without a word. But its coded units never contain three zeros
in a row: an encoder puts 03 behind two of them (ITU-T H.265, 7.4.2).
"""

from __future__ import annotations

import re

_ZEROS = re.compile(rb"\0\0\0(?!\0*(?:\x01|\Z))")  # before 00 00 01, which begins a unit, and at the end they may stand
_HVCC, _LENGTHS = 1, 21  # version of the description, and the byte that tells how long lengths are


def length_bytes(description: bytes | None) -> int:
    """Bytes of the length before each unit, by the description that a container stores; 0 for start codes in place."""
    if description and description[0] == _HVCC and len(description) > _LENGTHS:
        return (description[_LENGTHS] & 3) + 1
    return 0


def has_impossible_zeros(packet: bytes, lengths: int) -> bool:
    """Whether a packet has zeros within a unit, or units that do not fill it.

    Args:
        packet: of H.265.
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
