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

from spade_edge.galleries.images import bmp, jpeg, jpeg2000, png, tiff, webp
from spade_edge.galleries.images.anatomy import DamagedError
from spade_edge.galleries.images.opening import examined, file_of, read_bytes
from spade_edge.galleries.images.palette import indexed
from spade_edge.galleries.images.reading import decode
from spade_edge.runtime import DataError

MIDDLE = 128  # of a lossy mask: what is as bright or brighter is marked
PLATEAU = 5  # pixels: so many of middle grey in both directions are no blurred edge
BETWEEN = (64, 192)  # middle grey
_PAGE = re.compile(r"#(\d+)$")


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read an image file as a mask: (H, W) bool, true where it is marked.

    Raises:
        DataError: as for `read_image`; or what is marked cannot be known for certain.
        DeviceError: as for `read_image`.
    """
    raw = _one_picture(path)
    try:
        found = indexed(raw)
    except DamagedError as problem:
        raise examined(raw, path).refusal(problem) from None
    if found is not None:
        numbers = decode(found.raw, path)
        numbers = (numbers if numbers.ndim == 2 else numbers[:, :, 0]) // found.scale
        marked = _marked_entries(numbers, found.palette, path)[numbers]
    elif is_lossy(raw):
        marked = _bright(_channels(decode(raw, path), path), path)
    else:
        marked = _marked(_channels(_with_opacity(raw, path), path), path)
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
    if raw[:4] in tiff.STARTS:
        return tiff.is_lossy(tiff.pages(raw)[0])
    return (
        raw.startswith((jpeg.START, jpeg2000.BOXED, jpeg2000.BARE))
        or raw[4:8] == b"ftyp"
        or (webp.is_webp(raw) and b"VP8L" not in raw[12:4096])
    )


def _one_picture(path: Path) -> bytes:
    """The content of a file that is whole, with the page that is wanted as its first.

    Raises:
        DataError: it is not whole, or it has several pages or pictures and none was named.
    """
    file = file_of(path)
    raw = read_bytes(file)
    count = examined(raw, path).anatomy.frames
    if file != path and (page := _PAGE.search(path.name)) is not None:
        found = tiff.pages(raw) if raw[:4] in tiff.STARTS else []
        if int(page[1]) > len(found):
            raise DataError(f"{path}: expected a page of a TIFF from 1 to {len(found)}, found {page[1]}")
        return tiff.single(raw, found[int(page[1]) - 1])
    if count > 1:
        raise DataError(
            f"{path}: expected a mask of one picture, found {count}; save the one that belongs to the image"
        )
    return raw


def _with_opacity(raw: bytes, path: Path) -> NDArray[Any]:
    """The numbers of the file, with opacity as the last channel, also where decoders drop it.

    Raises:
        DataError: the file is damaged, or has opacity that cannot be read.
    """
    pixels = decode(raw, path)
    if raw.startswith(bmp.START) and pixels.ndim == 3 and struct.unpack_from("<H", raw, 28)[0] == 32:
        return _bmp_of_32_bits(raw, pixels)
    if raw[:4] in tiff.STARTS and pixels.ndim == 2 and tiff.channels(tiff.pages(raw)[0]) == 2:
        raise DataError(f"{path}: expected a TIFF with grey or colours, found grey with opacity; save it as PNG")
    if raw.startswith(png.START) and pixels.ndim == 2 and (clear := png.see_through(raw)) is not None:
        return np.dstack([pixels, pixels != clear])
    return pixels


def _bmp_of_32_bits(raw: bytes, decoded: NDArray[Any]) -> NDArray[Any]:
    """The fourth byte of each pixel is its opacity, which OpenCV drops; where all are 0, it is only padding."""
    at, (height, width) = struct.unpack_from("<I", raw, 10)[0], decoded.shape[:2]
    pixels = np.frombuffer(raw, np.uint8, 4 * height * width, at).reshape(height, width, 4)
    if struct.unpack_from("<i", raw, 22)[0] > 0:  # from the bottom to the top
        pixels = pixels[::-1]
    return pixels if pixels[:, :, 3].any() else pixels[:, :, :3]


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
