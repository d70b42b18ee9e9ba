"""Parts of a file that were never written, or were lost: zeros in place of pixels.

Programs that copy files often reserve the whole size first, and disks and cards lose whole blocks. Formats with
checksums notice. In the others, zeros look like black.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.anatomy import Anatomy, Rows

SECTOR = 512  # bytes; lost blocks begin and end at multiples of it
LEAST = 8  # numbers in the neighbouring row that are compared
BRIGHT = 4  # what is brighter differs clearly from zero
MOST = 0.9  # of these numbers are brighter
BLACK = 0.002  # of the other pixels may be 0; in pictures with more, black belongs to the scene


def lost_code(raw: bytes, anatomy: Anatomy) -> str | None:
    """Where zeros stand in place of compressed pixels, in words; None where there are only a few.

    Args:
        raw: the file.
        anatomy: of it.
    """
    for coded in anatomy.coded:
        at = raw.find(bytes(coded.zeros), coded.start, coded.end)
        if at >= 0:
            return f"there are only zeros from byte {at} on, where compressed pixels should be"
    return None


def lost_rows(raw: bytes, anatomy: Anatomy) -> str | None:
    """Where zeros stand in place of uncompressed pixels, in words; None where everything may be a picture.

    Black areas of a picture are made of rows that are black from edge to edge, or have black above them or below. A
    run of zeros that is longer than a row, and begins or ends in the middle of one, right beside a row that is bright
    there, is no picture. The same is true of a shorter run that fills whole sectors of the disk. Where more of the
    picture is black, as in masks, nothing can be told.

    Args:
        raw: the file.
        anatomy: of it.
    """
    for rows in anatomy.rows:
        if rows.sample in (1, 2):
            found = _lost_in_rows(raw, rows)
            if found is not None:
                return found
    return None


def hole(descriptor: int, raw: bytes, anatomy: Anatomy) -> str | None:
    """Where a file has a part that was never written, in words; None without such a part, or where disks do not tell.

    Some disks also store zeros that were written as holes. These have zeros around them as well, because pictures do
    not keep to blocks of a disk.

    Args:
        descriptor: of the open file.
        raw: its content.
        anatomy: of it.
    """
    if anatomy.checked or not hasattr(os, "SEEK_HOLE"):
        return None
    at = 0
    while True:
        try:
            start = os.lseek(descriptor, at, os.SEEK_HOLE)
            if start >= anatomy.end:
                return None
            at = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError:  # no data behind the hole, or a disk that cannot tell
            at = len(raw)
        if start >= anatomy.end or any(raw[start:at]):
            return None
        if (start and raw[start - 1]) or (at < anatomy.end and raw[at]):
            return f"its bytes {start} to {min(at, anatomy.end)} have never been written"
        if at >= len(raw):
            return None


def _lost_in_rows(raw: bytes, rows: Rows) -> str | None:
    end = rows.offset + (rows.count - 1) * rows.stride + rows.used
    pattern = bytes(min(rows.used + 1, SECTOR))
    content = np.frombuffer(raw, np.uint8, end - rows.offset, rows.offset)
    at, lost, black = rows.offset, [], 0
    while black <= BLACK * len(content):
        start = raw.find(pattern, at, end)  # which skips by the pattern's length
        if start < 0:
            break
        at = rows.offset + _nonzero(content, start - rows.offset + len(pattern))
        if _is_lost(content, rows, start, at):
            lost.append((start, at))
        else:
            black += at - start
    if not lost or black > BLACK * len(content) or _black_elsewhere(content, rows, lost) > BLACK:
        return None
    row, byte = divmod(lost[0][0] - rows.offset, rows.stride)
    size = sum(at - start for start, at in lost)
    return f"{size:,} bytes of pixels are 0, from byte {byte} of stored row {row + 1} on"


def _black_elsewhere(content: NDArray[np.uint8], rows: Rows, lost: list[tuple[int, int]]) -> float:
    """The fraction of pixels that are 0, apart from runs that may be lost."""
    whole = content[: len(content) // rows.stride * rows.stride].reshape(-1, rows.stride)[:, : rows.used]
    pixels = whole.reshape(len(whole), -1, rows.pixel).any(axis=2)
    dark = float(pixels.size - np.count_nonzero(pixels))
    gone = sum(at - start for start, at in lost) / rows.stride * pixels.shape[1]
    return max(0.0, dark - gone) / max(1.0, pixels.size - gone)


def _nonzero(content: NDArray[np.uint8], at: int) -> int:
    """The first place from here on that is not 0; the end if there is none."""
    step = 1 << 12
    while at < len(content):
        piece = content[at : at + step] != 0
        first = int(piece.argmax())
        if piece[first]:
            return at + first
        at, step = at + step, min(2 * step, 1 << 20)
    return len(content)


def _is_lost(content: NDArray[np.uint8], rows: Rows, start: int, end: int) -> bool:
    """Whether the zeros between two places of the file are no picture."""
    if end - start <= rows.used and (start % SECTOR or end % SECTOR):
        return False
    first, left = divmod(start - rows.offset, rows.stride)
    last, right = divmod(end - rows.offset, rows.stride)
    if 0 < left < rows.used and first > 0:
        until = min(rows.used, left + end - start)
        if _bright(content, rows, first - 1, left, until):
            return True
    if 0 < right <= rows.used and last + 1 < rows.count:
        return _bright(content, rows, last + 1, max(0, right - (end - start)), right)
    return False


def _bright(content: NDArray[np.uint8], rows: Rows, row: int, left: int, right: int) -> bool:
    """Whether nearly all numbers in a part of a row are clearly brighter than 0."""
    left, right = -(-left // rows.sample), right // rows.sample  # whole numbers
    if right - left < LEAST:
        return False
    begin = row * rows.stride
    numbers = content[begin + left * rows.sample : begin + right * rows.sample].reshape(-1, rows.sample)
    # Either byte of two may be the high one; a number is brighter if the high one is not 0, or the low one is bright.
    bright = (numbers > BRIGHT).any(axis=1) if rows.sample == 1 else numbers.any(axis=1)
    return float(bright.mean()) >= MOST
