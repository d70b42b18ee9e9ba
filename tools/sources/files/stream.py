"""Frames from a stream of bytes, such as stdin. No frame is dropped.

ffmpeg -i rtsp://… -f image2pipe -c:v ppm - | spade-edge score --bundle part.spade -
capture-tool --bgr | spade-edge score --bundle part.spade --raw 1920x1080 -
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from spade_edge.galleries.images.pnm import read_header
from spade_edge.runtime import DataError
from spade_edge.tools.sources.shot import Shot

EMPTY = "expected frames on stdin, found an empty stream; does the program that writes to the pipe work?"


class Stream(Protocol):
    """A file opened for reading bytes."""

    def read(self, size: int, /) -> bytes | None: ...

    def readinto(self, buffer: memoryview, /) -> int | None: ...


def raw_frames(stream: Stream, *, height: int, width: int, channels: int) -> Iterator[Shot]:
    """Read frames without headers, row by row.

    Args:
        stream: the source of the bytes.
        height: of each frame, in pixels.
        width: of each frame, in pixels.
        channels: 1 for grey, 3 for BGR.

    Raises:
        DataError: the stream is empty.
    """
    number, size = 0, height * width * channels
    shape = (height, width) if channels == 1 else (height, width, channels)
    while True:
        pixels = bytearray(size)
        found = _fill(stream, pixels)
        if found < size:
            break
        yield Shot(number, np.frombuffer(pixels, np.uint8).reshape(shape))
        number += 1
    if found:
        fault = (
            f"expected {size} bytes of a frame of {width}x{height}x{channels}, found {found} at the end of the stream"
        )
        yield Shot(number, None, f"{fault}; is --raw right?")
    elif number == 0:
        raise DataError(EMPTY)


def pnm_frames(stream: Stream) -> Iterator[Shot]:
    """Read binary PGM and PPM images; their sizes may differ.

    Raises:
        DataError: the stream is empty, or has something else in place of a header: no later frame can be found.
    """
    number = 0
    while True:
        try:
            header = read_header(stream.read)
        except EOFError:
            yield Shot(number, None, "expected a PGM or PPM frame, found the end of the stream within its header")
            return
        if header is None:
            break
        pixels = bytearray(header.size)
        found = _fill(stream, pixels)
        if found < header.size:
            fault = f"expected {header.size} bytes of a frame of {header.width}x{header.height}"
            yield Shot(number, None, f"{fault}, found {found} at the end of the stream", part=header.part)
            return
        yield Shot(number, header.frame(pixels), part=header.part)
        number += 1
    if number == 0:
        raise DataError(EMPTY)


def _fill(stream: Stream, buffer: bytearray) -> int:
    """Read until the buffer is full or the stream ends; returns the number of bytes read."""
    found, rest = 0, memoryview(buffer)
    while found < len(buffer):
        count = stream.readinto(rest[found:])
        if not count:
            break
        found += count
    return found
