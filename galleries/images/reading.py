"""Image files as frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import npy, png, pnm, tiff
from spade_edge.galleries.images.anatomy import UPRIGHT, CutOffError, DamagedError, UnreadError
from spade_edge.galleries.images.colours import blue_first
from spade_edge.galleries.images.decoding import decode as decode_with_opencv
from spade_edge.galleries.images.depth import highest_bits, is_of_8_bits, scaled
from spade_edge.galleries.images.notices import say_once
from spade_edge.galleries.images.opening import Whole, examined, open_image
from spade_edge.galleries.images.transparency import composited
from spade_edge.runtime import DataError, DeviceError


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file as a frame, with what the file says about it.

    Attributes:
        frame: (H, W, 3) uint8 BGR or (H, W) uint8 grey.
        depth: bits of a stored number, 8 or 16. A picture of 8 bits that was saved with 16 has 8.
        brightest: the largest stored number, before it was scaled to 8 bits; transparent pixels do not count.
        turned: whether the picture was turned or mirrored, because the file says how the camera was held.
        known_range: whether the file itself says which number is white, so that it need not be guessed.
    """

    frame: NDArray[np.uint8]
    depth: int
    brightest: int
    turned: bool = False
    known_range: bool = False


def read_image(path: Path, *, bits: int | None = None) -> NDArray[np.uint8]:
    """The frame of `read_picture`: (H, W, 3) uint8 BGR or (H, W) uint8 grey."""
    return read_picture(path, bits=bits).frame


def read_picture(path: Path, *, bits: int | None = None) -> Picture:
    """Read an image file. Its format is known by its content.

    The picture is turned as its EXIF orientation says. Transparent pixels get one neutral colour. What is cut off or
    damaged is refused, as far as the format tells: PNG has checksums, while damage inside a WebP, JPEG 2000 or LZW
    stream can go unnoticed.

    Args:
        path: the file; with "#2" behind its name, the second page of a TIFF.
        bits: that the camera uses of the 16 bits of a stored number, where the file does not say which number is white;
            None for all. The highest 8 are kept.

    Raises:
        DataError: the file is missing, empty, damaged or of an unknown format.
        DeviceError: the format needs OpenCV, which is not installed.
    """
    return _picture(open_image(path), bits)


def picture_of(raw: bytes, name: str) -> Picture:
    """A picture that is in memory, such as a frame of Motion JPEG, as `read_picture` reads a file.

    Args:
        raw: the bytes of the file.
        name: stands for the path in messages.

    Raises:
        DataError, DeviceError: as for `read_picture`.
    """
    return _picture(examined(raw, Path(name)), None)


def decode(raw: bytes, path: Path) -> NDArray[np.generic]:
    """The numbers of an image file as they are stored, of any type: (H, W) or (H, W, channels), colours as BGR or BGRA.

    The picture is turned as its EXIF orientation says.

    Args:
        raw: its content.
        path: names it in messages.

    Raises:
        DataError: the file is damaged or of an unknown format.
        DeviceError: the format needs OpenCV, which is not installed.
    """
    file = examined(raw, path)
    return _turned(_stored(file), file.anatomy.orientation)


def _stored(file: Whole) -> NDArray[np.generic]:
    """The stored numbers, not turned: (H, W) or (H, W, channels), colours as BGR or BGRA.

    Raises:
        DataError: the file is damaged, or this OpenCV cannot read its kind.
        DeviceError: OpenCV is not installed.
    """
    kind, raw = file.anatomy.kind, file.raw
    try:
        if kind == "NumPy file":
            return npy.array(raw)
        if kind in pnm.KINDS:
            return pnm.samples(raw)
        if file.page is not None:
            found = tiff.samples(raw, file.page)
            if found is not None:
                return blue_first(found) if found.ndim == 3 and found.shape[2] > 2 else found
            raw = tiff.single(raw, file.page)
        return decode_with_opencv(raw, file.anatomy)
    except ModuleNotFoundError:
        raise DeviceError(
            f"{file.path}: reading a {kind} needs OpenCV: pip install 'spade-edge[camera]'; "
            f"without it .npy, .pgm, .ppm and simple .tif can be read"
        ) from None
    except (CutOffError, DamagedError, UnreadError) as problem:
        raise file.refusal(problem) from None


def _turned(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The picture upright, from one of EXIF's eight orientations."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image if orientation == UPRIGHT else np.ascontiguousarray(image)


def _picture(file: Whole, bits: int | None) -> Picture:
    path, anatomy = file.path, file.anatomy
    image = _stored(file)
    colours, alpha = _channels(image, file)
    found = f"found {'x'.join(map(str, image.shape))} {image.dtype}"
    if colours.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"{path}: expected whole numbers from 0 with 8 or 16 bits per channel, {found}; save it with 8 or 16 bits"
        )
    if colours.ndim == 3 and colours.shape[0] == 3 and colours.shape[2] not in (1, 3):
        raise DataError(
            f"{path}: expected height, width, channels, {found}: the channels come first; save "
            f"array.transpose(1, 2, 0), with blue, green, red"
        )
    if colours.ndim not in (2, 3) or (colours.ndim == 3 and colours.shape[2] != 3) or 0 in colours.shape:
        raise DataError(f"{path}: expected a grey or colour image, {found}")
    visible = colours if alpha is None or alpha.all() else colours[alpha > 0]
    brightest = int(visible.max(initial=0))
    full = np.iinfo(colours.dtype).max
    if alpha is not None:
        largest = anatomy.largest or (full if bits is None or colours.dtype == np.uint8 else (1 << bits) - 1)
        opaque = largest if alpha.max() <= largest else full
        multiplied = file.page is not None and (
            tiff.alpha_kind(file.page) == tiff.MULTIPLIED
            or (not tiff.is_read_here(file.page) and colours.dtype == np.uint8)  # OpenCV multiplies them itself
        )
        colours = composited(colours, alpha, largest=largest, opaque=int(opaque), multiplied=multiplied)
    if anatomy.largest is not None:
        frame = scaled(colours, anatomy.largest)
    elif colours.dtype == np.uint8:
        frame = colours.astype(np.uint8, copy=False)
    else:
        frame = highest_bits(colours.astype(np.uint16, copy=False), bits, str(path))
    if anatomy.orientation != UPRIGHT:
        frame = _turned(frame, anatomy.orientation)
        say_once("turned", path, f"{path}: turned as its EXIF orientation says")
    return Picture(
        np.ascontiguousarray(frame),
        8 if colours.dtype == np.uint8 or (bits is None and is_of_8_bits(colours, brightest)) else 16,
        brightest,
        turned=anatomy.orientation != UPRIGHT,
        known_range=anatomy.largest is not None,
    )


def _channels(image: NDArray[Any], file: Whole) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Colours, and alpha where some pixels may be transparent."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    alpha = None
    if image.ndim == 3 and image.shape[2] in (2, 4) and image.shape[0] != 3:
        image, alpha = image[:, :, :-1], image[:, :, -1]
        if image.shape[2] == 1 or file.anatomy.grey:
            image = image[:, :, 0]
    elif file.anatomy.kind == "PNG" and (value := png.see_through(file.raw)) is not None:
        alpha = np.where(image == value, 0, np.iinfo(image.dtype).max).astype(image.dtype)
    elif file.anatomy.kind == "TIFF" and file.anatomy.transparent and image.ndim == 2:
        raise DataError(
            f"{file.path}: expected a TIFF with grey or colours, found grey with an alpha channel that OpenCV drops; "
            f"save it as PNG"
        )
    used = file.anatomy.transparent or file.anatomy.kind == "NumPy file"
    if alpha is not None and file.anatomy.kind == "BMP" and not alpha.any():
        used = False  # the fourth byte of these pixels is only padding
    return image, alpha if used or (alpha is not None and file.anatomy.kind == "PNG") else None
