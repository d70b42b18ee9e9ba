"""Image files as frames. The only module that decodes them; OpenCV is needed for all but .npy, .pgm and .ppm."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, DeviceError

WITHOUT_OPENCV = (".npy", ".pgm", ".ppm")
WITH_OPENCV = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SUFFIXES = WITH_OPENCV + WITHOUT_OPENCV
LARGEST = 2 << 30  # bytes


def find_images(folder: Path) -> tuple[Path, ...]:
    """All image files below a folder, nested ones too, in the order of their names; hidden ones are left out.

    Raises:
        DataError: the folder does not exist, cannot be read or holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of images, found {'a file' if folder.exists() else 'nothing'}")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise DataError(f"{folder}: expected images ({', '.join(SUFFIXES)}), found none")
    return tuple(found)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as a frame.

    Sixteen-bit images are divided by 257, so 65535 becomes 255; an alpha channel is dropped; EXIF rotation is ignored,
    as a camera on the line has none.

    Returns:
        (H, W, 3) uint8 BGR or (H, W) uint8 grey.

    Raises:
        DataError: the file is missing, empty, damaged or of another kind.
        DeviceError: the kind of file needs OpenCV, which is not installed.
    """
    try:
        size = path.stat().st_size
        if not 0 < size <= LARGEST:
            raise DataError(f"{path}: expected an image of at most {LARGEST >> 30} GB, found {size} bytes")
        raw = path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path}: expected an image file, found none ({problem.strerror})") from None
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _as_frame(_decode_npy(path), path)
    if suffix in (".pgm", ".ppm"):
        return _decode_pnm(raw, path)
    return _as_frame(_decode(raw, path), path)


def _decode(raw: bytes, path: Path) -> NDArray[np.generic]:
    try:
        import cv2
    except ImportError:
        raise DeviceError(
            f"{path}: reading {path.suffix or 'this'} files needs OpenCV: pip install 'spade-edge[camera]'; "
            f"without it {', '.join(WITHOUT_OPENCV)} can be read"
        ) from None
    try:
        image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{path}: expected an image, found {len(raw)} bytes that OpenCV cannot decode; is it damaged?")
    return image


def _decode_npy(path: Path) -> NDArray[np.generic]:
    try:
        image: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except Exception as problem:  # a hostile header can make numpy raise anything
        raise DataError(f"{path}: expected a .npy array, numpy says: {problem}") from None
    return image


def _decode_pnm(raw: bytes, path: Path) -> NDArray[np.uint8]:
    header = re.match(rb"P([56])\s(?:\s*#[^\n]*\n)*\s*(\d{1,6})\s+(\d{1,6})\s+255\s", raw)
    if header is None:
        raise DataError(f"{path}: expected a binary 8-bit PGM or PPM (P5 or P6, largest value 255), found another kind")
    width, height, channels = int(header[2]), int(header[3]), 1 if header[1] == b"5" else 3
    if len(raw) - header.end() != width * height * channels or not width * height:
        raise DataError(
            f"{path}: expected {width * height * channels} bytes of pixels, found {len(raw) - header.end()}"
        )
    pixels = np.frombuffer(raw, np.uint8, offset=header.end()).reshape(height, width, channels)
    return pixels[:, :, 0] if channels == 1 else pixels[:, :, ::-1]


def _as_frame(image: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    found = f"found {'x'.join(map(str, image.shape))} {image.dtype}"
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise DataError(f"{path}: expected 8 or 16 bits a channel, {found}")
    if image.ndim == 3 and image.shape[2] in (2, 4):  # the last channel is transparency
        image = image[:, :, 0] if image.shape[2] == 2 else image[:, :, :3]
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise DataError(f"{path}: expected a grey or colour image, {found}")
    return image.astype(np.uint8, copy=False)
