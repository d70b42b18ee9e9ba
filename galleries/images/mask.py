"""Image files as masks: which pixels somebody marked, however the program stored it.

A mask is read as it is stored: nothing is scaled to 8 bits, where labels such as 1 and 2 of 16 bits would vanish.

    grey, colour       marked where any channel is not 0, with any number of bits
    palette            number 0 is the background, whatever its colour
    opacity            what is transparent is not marked
    lossy formats      marked where a channel is at least 128; labels cannot be told from compression, and are refused
    .npy               bool, whole numbers from 0, or floats that are whole numbers
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.palette import TIFF, directories, indexed
from spade_edge.galleries.images.reading import decode, read_bytes
from spade_edge.runtime import DataError

MIDDLE = 128  # of a lossy mask: what is as bright or brighter is marked
PLATEAU = 5  # pixels: so many of middle grey in both directions are no blurred edge
BETWEEN = (64, 192)  # middle grey
_PNM = re.compile(rb"P([56])(?:\s|#[^\r\n]*[\r\n])+(\d{1,6})(?:\s|#[^\r\n]*[\r\n])+(\d{1,6})"
                  rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,5})\s")  # fmt: skip


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read an image file as a mask: (H, W) bool, true where it is marked.

    Raises:
        DataError: as for `read_image`; or what is marked cannot be known for certain.
        DeviceError: as for `read_image`.
    """
    raw = read_bytes(path)
    found = indexed(raw)
    if found is not None:
        numbers = decode(found.raw, path)
        numbers = (numbers if numbers.ndim == 2 else numbers[:, :, 0]) // found.scale
        marked = _marked_entries(numbers, found.palette, path)[numbers]
    elif is_lossy(raw):
        marked = _bright(_channels(decode(raw, path), path), path)
    else:
        marked = _marked(_channels(_stored(raw, path), path), path)
    return np.ascontiguousarray(marked)


def read_masks(paths: Sequence[Path]) -> NDArray[np.bool_]:
    """Read the masks of one image: (H, W) bool, true where any of them is marked.

    Args:
        paths: at least one.

    Raises:
        DataError: as for `read_mask`; or their sizes differ.
        DeviceError: as for `read_image`.
    """
    marked = read_mask(paths[0])
    for path in paths[1:]:
        another = read_mask(path)
        if another.shape != marked.shape:
            raise DataError(
                f"{path}: expected {marked.shape[1]}x{marked.shape[0]} pixels like {paths[0].name}, a mask of the same "
                f"image, found {another.shape[1]}x{another.shape[0]}"
            )
        marked = marked | another
    return marked


def looks_inverted(mask: NDArray[np.bool_]) -> bool:
    """Whether a mask marks more than half of the pixels and all four corners, as one with a white background does."""
    return bool(mask[[0, 0, -1, -1], [0, -1, 0, -1]].all() and 2 * np.count_nonzero(mask) > mask.size)


def is_lossy(raw: bytes) -> bool:
    """Whether this kind of file blurs the numbers it stores: JPEG, also in TIFF, JPEG 2000, AVIF, HEIC, most WebP."""
    if raw[:4] in TIFF:
        try:
            return any(tags[259].number in (6, 7, 33003, 34712) for tags in directories(raw) if 259 in tags)
        except struct.error:
            return False
    return (
        raw.startswith((b"\xff\xd8", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"))
        or raw[4:8] == b"ftyp"
        or (raw[:4] == b"RIFF" and b"VP8 " in raw[12:4096])
    )


def _stored(raw: bytes, path: Path) -> NDArray[np.generic]:
    """The numbers of the file, of any type: (H, W) or (H, W, channels)."""
    header = _PNM.match(raw)
    if header is not None:
        channels, width, height = (1 if header[1] == b"5" else 3), int(header[2]), int(header[3])
        kind = np.dtype("u1" if int(header[4]) < 256 else ">u2")
        size = width * height * channels * kind.itemsize
        if not 0 < size <= len(raw) - header.end():
            raise DataError(f"{path}: expected {size} bytes of pixels, found {len(raw) - header.end()}")
        pixels = np.frombuffer(raw, kind, width * height * channels, header.end())
        return pixels.reshape(height, width, channels)
    if raw.startswith(b"BM") and len(raw) > 54 and struct.unpack_from("<H", raw, 28)[0] == 32:
        return _bmp_of_32_bits(raw, decode(raw, path))
    if raw[:4] in TIFF:
        _refuse_grey_with_opacity(raw, path)
    return decode(raw, path)


def _bmp_of_32_bits(raw: bytes, decoded: NDArray[np.generic]) -> NDArray[np.generic]:
    """The fourth byte of each pixel is its opacity, which OpenCV drops; where all are 0, it is only padding."""
    at, (height, width) = struct.unpack_from("<I", raw, 10)[0], decoded.shape[:2]
    compression = struct.unpack_from("<I", raw, 30)[0]
    if compression not in (0, 3, 6) or len(raw) < at + 4 * height * width:
        return decoded
    pixels = np.frombuffer(raw, np.uint8, 4 * height * width, at).reshape(height, width, 4)
    if struct.unpack_from("<i", raw, 22)[0] > 0:  # from the bottom to the top
        pixels = pixels[::-1]
    return pixels if pixels[:, :, 3].any() else pixels[:, :, :3]


def _refuse_grey_with_opacity(raw: bytes, path: Path) -> None:
    try:
        tags = next(directories(raw), {})
    except struct.error:
        return
    if 277 in tags and tags[277].number == 2:  # samples per pixel; OpenCV drops the second one
        raise DataError(f"{path}: expected a TIFF with grey or colours, found grey with opacity; save it as PNG")


def _channels(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    """The numbers as (H, W, 1 to 4), checked."""
    found = f"found {'x'.join(map(str, pixels.shape))} {pixels.dtype}"
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or 0 in pixels.shape or pixels.dtype.kind not in "buif":
        raise DataError(f"{path}: expected a mask of numbers, height by width, {found}")
    if pixels.dtype.kind == "f" and not (pixels == np.floor(pixels)).all():  # NaN is none either
        raise DataError(
            f"{path}: expected a mask of whole numbers, 0 where nothing is marked, found fractions; compare it with a "
            f"limit first, and store the outcome"
        )
    if pixels.dtype.kind in "if" and (pixels < 0).any():
        raise DataError(
            f"{path}: expected a mask of numbers from 0, found {pixels.min():g}; store 0 for the background"
        )
    return pixels


def _marked(pixels: NDArray[Any], path: Path) -> NDArray[np.bool_]:
    coloured = pixels != 0
    if pixels.shape[2] in (1, 3):
        return np.asarray(coloured.any(axis=2))
    visible, content = coloured[:, :, -1], coloured[:, :, :-1].any(axis=2)
    if not visible.any() and content.any():
        raise DataError(
            f"{path}: expected a mask that can be seen, found every pixel transparent; save it without opacity"
        )
    if visible.all():
        return np.asarray(content)
    # Where only black, or nothing black, is visible, the opacity is the mask.
    both = (visible & content).any() and (visible & ~content).any()
    return np.asarray(visible & content if both else visible)


def _bright(pixels: NDArray[Any], path: Path) -> NDArray[np.bool_]:
    """What is bright in a mask that was compressed with losses; its edges are blurred."""
    import cv2

    remedy = "lossy compression blurs labels, so save the mask as PNG, or in black and white"
    visible: NDArray[np.bool_] | None = None
    if pixels.shape[2] in (2, 4):
        visible = np.asarray(pixels[:, :, -1] >= MIDDLE)
        pixels = pixels[:, :, :-1]
    if pixels.dtype != np.uint8:
        raise DataError(f"{path}: expected 8 bits in a lossy mask, found {pixels.dtype}; save the mask as PNG")
    bright = pixels.max(axis=2)
    if visible is not None and not visible.all():
        both = (bright[visible] >= MIDDLE).any() and (bright[visible] < MIDDLE).any()
        return np.asarray(visible & (bright >= MIDDLE) if both else visible)
    if 0 < bright.max() < MIDDLE:
        raise DataError(f"{path}: expected black and white, found nothing brighter than {bright.max()}; {remedy}")
    middle = ((bright >= BETWEEN[0]) & (bright < BETWEEN[1])).astype(np.uint8)
    if cv2.erode(middle, np.ones((PLATEAU, PLATEAU), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0).any():
        raise DataError(f"{path}: expected black and white, found areas of middle grey; {remedy}")
    return np.asarray(bright >= MIDDLE)


def _marked_entries(numbers: NDArray[Any], palette: NDArray[np.uint8], path: Path) -> NDArray[np.bool_]:
    """Which entries of the palette are marked: (256,) bool."""
    entries = np.zeros((256, 4), np.uint8)  # an entry that the palette lacks is black
    entries[:, 3] = 255
    entries[: len(palette)] = palette
    used = np.bincount(numbers.ravel(), minlength=256) > 0
    visible: NDArray[np.bool_] = entries[:, 3] > 0
    black: NDArray[np.bool_] = np.logical_not(entries[:, :3].any(axis=1))
    if (used & ~visible).any():
        seen = used & visible
        both = (seen & black).any() and (seen & ~black).any() and visible[0]
        return np.asarray(visible & ~black if both else visible)
    if not used[0] and (used & black).any():  # a picture whose colours were sorted into a palette
        return ~black
    if not black[0] and (used & black).any():
        red, green, blue = entries[0, :3].tolist()
        raise DataError(
            f"{path}: expected a palette whose entry 0 is the background, found that entry 0 is #{red:02x}{green:02x}"
            f"{blue:02x} while another one is black, so either may be; save the mask in grey, with 0 for the background"
        )
    return np.arange(256) != 0
