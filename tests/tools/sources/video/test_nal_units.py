"""Zeros in H.264 and H.265, in packets written by hand."""

from __future__ import annotations

import pytest

from spade_edge.tools.sources.video.nal_units import has_impossible_zeros, length_bytes

UNIT = b"\x26\x01\x00\x00\x03\x00\x80\x07"  # with an emulation prevention byte
HOLE = b"\x26\x01\x55\x00\x00\x00\x80\x07"


def with_length(*units: bytes, bytes_of_length: int = 4) -> bytes:
    return b"".join(len(unit).to_bytes(bytes_of_length, "big") + unit for unit in units)


@pytest.mark.parametrize(
    ("packet", "lengths", "damaged"),
    [
        (with_length(UNIT), 4, False),
        (with_length(UNIT, UNIT * 40), 4, False),
        (with_length(UNIT, bytes_of_length=2), 2, False),
        (with_length(UNIT, HOLE), 4, True),
        (with_length(HOLE, UNIT), 4, True),
        (with_length(UNIT)[:-1], 4, True),
        (with_length(UNIT) + bytes(8), 4, True),
        (with_length(UNIT) + b"\0", 4, True),
        (b"\0\0\0\x01" + UNIT + b"\0\0\x01" + UNIT, 0, False),
        (b"\0\0\0\x01" + UNIT + b"\0\0\0\0\x01" + UNIT, 0, False),
        (b"\0\0\0\x01" + UNIT + bytes(9), 0, False),  # zeros may follow the last unit
        (b"\0\0\0\x01" + UNIT + b"\0\0\x01" + HOLE, 0, True),
        (b"\0\0\0\x01" + UNIT + bytes(90) + b"\x80\x41", 0, True),
    ],
)
def test_three_zeros_within_a_unit_are_damage(packet: bytes, lengths: int, damaged: bool) -> None:
    assert has_impossible_zeros(packet, lengths) == damaged


def test_the_description_of_the_container_tells_the_bytes_of_a_length() -> None:
    assert length_bytes("hevc", b"\x01" + bytes(20) + b"\xff") == 4
    assert length_bytes("hevc", b"\x01" + bytes(20) + b"\xfd") == 2
    assert length_bytes("h264", b"\x01\x64\0\x0a\xff\xe1") == 4
    for description in (b"\0\0\0\x01\x67\x64", b"", None):
        assert length_bytes("h264", description) == length_bytes("hevc", description) == 0
