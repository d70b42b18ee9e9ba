"""Image files as frames. No other module decodes them. OpenCV is needed for all but .npy and 8-bit .pgm and .ppm."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, DeviceError

WITHOUT_OPENCV = (".npy", ".pgm", ".ppm")
WITH_OPENCV = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SUFFIXES = WITH_OPENCV + WITHOUT_OPENCV
LARGEST = 2 << 30  # bytes
TAIL = 1024  # bytes at the end of a file that must contain its end marker; some cameras append data


def find_images(folder: Path) -> tuple[Path, ...]:
    """All image files in a folder and its subfolders, sorted by name; links are followed, hidden files are left out.

    Raises:
        DataError: the folder does not exist, it or a subfolder cannot be read, or it holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of images, found {'a file' if folder.exists() else 'nothing'}")

    def refuse(problem: OSError) -> None:
        raise DataError(f"{problem.filename}: expected a folder that can be read, found: {problem.strerror}")

    found, seen = [], set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name) for name in files if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        ]
    if not found:
        raise DataError(f"{folder}: expected images ({', '.join(SUFFIXES)}), found none")
    return tuple(sorted(found))


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as a frame.

    16-bit images are divided by 257, so 65535 becomes 255. An alpha channel is dropped. EXIF rotation is ignored,
    because the frames of a line camera have none. Truncated files are refused; damage inside a JPEG can go unnoticed.

    Returns:
        (H, W, 3) uint8 BGR or (H, W) uint8 grey.

    Raises:
        DataError: the file is missing, empty, damaged or of an unknown format.
        DeviceError: the format needs OpenCV, which is not installed.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe or device might never end
            raise DataError(f"{path}: expected an image file, found a folder, pipe or device")
        size = path.stat().st_size
        if not 0 < size <= LARGEST:
            raise DataError(f"{path}: expected an image of at most {LARGEST >> 30} GB, found {size} bytes")
        raw = path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path}: expected an image file, found: {problem.strerror}") from None
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _as_frame(_decode_npy(raw, path), path)
    if suffix in (".pgm", ".ppm"):
        header = re.match(rb"P([56])\s(?:\s*#[^\n]*\n)*\s*(\d{1,6})\s+(\d{1,6})\s+255\s", raw)
        if header is not None:
            return _decode_pnm(raw, header, path)
    return _as_frame(_decode(raw, path), path)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read an image file as a mask: (H, W) bool, true where any channel is not 0.

    Raises:
        DataError, DeviceError: as for `read_image`.
    """
    pixels = read_image(path) > 0
    return np.asarray(pixels if pixels.ndim == 2 else pixels.any(axis=2))


def _decode(raw: bytes, path: Path) -> NDArray[np.generic]:
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


def _as_frame(image: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    found = f"found {'x'.join(map(str, image.shape))} {image.dtype}"
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise DataError(f"{path}: expected 8 or 16 bits per channel, {found}")
    if image.ndim == 3 and image.shape[2] in (2, 4):  # the last channel is transparency
        image = image[:, :, 0] if image.shape[2] == 2 else image[:, :, :3]
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise DataError(f"{path}: expected a grey or colour image, {found}")
    return image.astype(np.uint8, copy=False)
