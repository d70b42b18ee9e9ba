"""Image files as frames."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.depth import highest_bits
from spade_edge.galleries.images.formats import LARGEST
from spade_edge.runtime import DataError, DeviceError

TAIL = 1024  # bytes at the end of a file that must contain its end marker; some cameras append data


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file as a frame, with what the file says about it.

    Attributes:
        frame: (H, W, 3) uint8 BGR or (H, W) uint8 grey.
        depth: bits of a stored number: 8 or 16.
        brightest: the largest stored number, before it was scaled to 8 bits.
    """

    frame: NDArray[np.uint8]
    depth: int
    brightest: int


def read_image(path: Path, *, bits: int | None = None) -> NDArray[np.uint8]:
    """The frame of `read_picture`: (H, W, 3) uint8 BGR or (H, W) uint8 grey."""
    return read_picture(path, bits=bits).frame


def read_picture(path: Path, *, bits: int | None = None) -> Picture:
    """Read an image file.

    An alpha channel is dropped. EXIF rotation is ignored, because the frames of a line camera have none. Truncated
    files are refused; damage inside a JPEG can go unnoticed.

    Args:
        path: the file.
        bits: that the camera uses of the 16 bits of a stored number; None for all. The highest 8 are kept.

    Raises:
        DataError: the file is missing, empty, damaged or of an unknown format.
        DeviceError: the format needs OpenCV, which is not installed.
    """
    raw = read_bytes(path)
    if path.suffix.lower() in (".pgm", ".ppm"):
        header = re.match(rb"P([56])\s(?:\s*#[^\n]*\n)*\s*(\d{1,6})\s+(\d{1,6})\s+255\s", raw)
        if header is not None:
            return _picture(_decode_pnm(raw, header, path), path, bits)
    return _picture(decode(raw, path), path, bits)


def read_bytes(path: Path) -> bytes:
    """The content of an image file, not empty and of at most `LARGEST` bytes.

    Raises:
        DataError: there is no such file.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe or device might never end
            raise DataError(f"{path}: expected an image file, found a folder, pipe or device")
        size = path.stat().st_size
        if not 0 < size <= LARGEST:
            raise DataError(f"{path}: expected an image of at most {LARGEST >> 30} GB, found {size} bytes")
        return path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path}: expected an image file, found: {problem.strerror}") from None


def decode(raw: bytes, path: Path) -> NDArray[np.generic]:
    """The numbers of an image file as they are stored, of any type: (H, W) or (H, W, channels), colours as BGR or BGRA.

    Args:
        raw: its content.
        path: names it in messages; its suffix tells .npy files.

    Raises:
        DataError: the file is damaged or of an unknown format.
        DeviceError: the format needs OpenCV, which is not installed.
    """
    if path.suffix.lower() == ".npy":
        return _decode_npy(raw, path)
    for start, end in ((b"\x89PNG", b"IEND"), (b"\xff\xd8", b"\xff\xd9")):
        # Decoders fill the missing part of a truncated JPEG with grey.
        if raw.startswith(start) and end not in raw[-TAIL:]:
            raise DataError(
                f"{path}: expected a whole image, found {len(raw)} bytes without an end marker; is it truncated?"
            )
    try:
        import cv2
    except ModuleNotFoundError:
        raise DeviceError(
            f"{path}: reading this {path.suffix} file needs OpenCV: pip install 'spade-edge[camera]'; "
            f"without it .npy and 8-bit binary .pgm and .ppm can be read"
        ) from None
    try:
        image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{path}: expected an image, found {len(raw)} bytes that OpenCV cannot decode; is it damaged?")
    return np.asarray(image)


def _decode_npy(raw: bytes, path: Path) -> NDArray[np.generic]:
    try:
        image = np.load(io.BytesIO(raw), allow_pickle=False)
    except Exception as problem:  # a hostile header can make numpy raise anything
        raise DataError(f"{path}: expected a .npy array, numpy says: {problem}") from None
    if not isinstance(image, np.ndarray):
        raise DataError(f"{path}: expected a .npy array, found an archive of arrays")
    return image


def _decode_pnm(raw: bytes, header: re.Match[bytes], path: Path) -> NDArray[np.uint8]:
    width, height, channels = int(header[2]), int(header[3]), 1 if header[1] == b"5" else 3
    if len(raw) - header.end() != width * height * channels or not width * height:
        raise DataError(
            f"{path}: expected {width * height * channels} bytes of pixels, found {len(raw) - header.end()}"
        )
    pixels = np.frombuffer(raw, np.uint8, offset=header.end()).reshape(height, width, channels)
    return pixels[:, :, 0] if channels == 1 else pixels[:, :, ::-1]


def _picture(image: NDArray[np.generic], path: Path, bits: int | None) -> Picture:
    found = f"found {'x'.join(map(str, image.shape))} {image.dtype}"
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: expected 8 or 16 bits per channel, {found}")
    if image.ndim == 3 and image.shape[2] in (2, 4):  # the last channel is transparency
        image = image[:, :, 0] if image.shape[2] == 2 else image[:, :, :3]
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise DataError(f"{path}: expected a grey or colour image, {found}")
    brightest = int(image.max())
    if image.dtype == np.uint8:
        return Picture(image.astype(np.uint8, copy=False), 8, brightest)
    return Picture(highest_bits(image.astype(np.uint16, copy=False), bits, str(path)), 16, brightest)
