"""OpenCV's decoders: what they print is no line on stderr, but tells whether a file is damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.anatomy import Anatomy, DamagedError, UnreadError
from spade_edge.runtime.kernels.captured import captured_stderr, write_back

# Many webcams leave up to ten bytes between the last block and the marker behind it; reports of them are common, and
# their pictures are fine. After damage, usually more remain.
HARMLESS = 16
ERRORS = 2  # of OpenCV's log levels: errors are printed, warnings are not
_OPTIONAL = {
    "AVIF": ".avif",
    "GIF": ".gif",
    "JPEG 2000": ".jp2",
    "WebP": ".webp",
    "TIFF": ".tif",
}  # by how it was built

_DECODERS = re.compile(
    r"libpng |libjpeg|Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|Inconsistent progression|"
    r"Unknown Adobe color|Warning: unknown JFIF|Application transferred too|"
    r"imdecode|>|.*(?:grfmt_|loadsave\.cpp|bitstrm\.cpp|OpenJPEG|TIFF)"
)
_DAMAGE = re.compile(
    r"Corrupt JPEG data: (?!bad ICC)|Premature end of JPEG|Invalid SOS parameters|Inconsistent progression|"
    r".*TIFF_Error "
)
_MEMORY = re.compile(r"Failed to allocate \d+ bytes|[Ii]nsufficient memory|[Oo]ut of memory")
_REST = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd[0-79]$")


def decode(raw: bytes, anatomy: Anatomy) -> NDArray[np.generic]:
    """The stored numbers of an image file: (H, W) or (H, W, channels), colours as BGR or BGRA, not turned.

    Args:
        raw: the file.
        anatomy: of it.

    Raises:
        ModuleNotFoundError: OpenCV is not installed.
        DamagedError: the decoder finds damage.
        MemoryError: memory does not suffice for the picture.
        UnreadError: this OpenCV was built without a decoder for it.
    """
    import cv2

    image, raised = None, ""
    with captured_stderr() as said, _errors_printed(cv2):
        try:
            image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as problem:
            raised = str(problem)
    lines = said.decode("utf-8", "replace").splitlines()
    lack = next((line for line in (*lines, raised) if _MEMORY.search(line)), None)
    if image is None and lack is not None:  # which is no fault of the file
        raise MemoryError(f"{anatomy.width}x{anatomy.height} pixels: {lack}")
    others = (line for line in lines if line and not _DECODERS.match(line))
    write_back("".join(f"{line}\n" for line in others).encode("utf-8", "replace"))
    complaint = next((line for line in lines if _DAMAGE.match(line) and not _is_harmless(line)), None)
    unknown = anatomy.kind in _OPTIONAL and not _can_write(cv2, _OPTIONAL[anatomy.kind])
    if image is None and (unknown or (anatomy.frames > 1 and complaint is None)):
        raise UnreadError(
            f"{anatomy.kind}{' with several pictures' if anatomy.frames > 1 else ''}, which the installed OpenCV "
            f"{cv2.__version__} cannot read; install a newer opencv-python-headless, or convert it to PNG"
        )
    if complaint is not None:
        raise DamagedError(f"its decoder says: {_plain(complaint)}")
    if image is None:
        raise DamagedError("OpenCV cannot decode it; if other programs show it, save it as PNG")
    if image.shape[:2] != (anatomy.height, anatomy.width):
        raise DamagedError(
            f"its header says {anatomy.width}x{anatomy.height} pixels, and {image.shape[1]}x{image.shape[0]} come out"
        )
    return np.asarray(image)


def _is_harmless(line: str) -> bool:
    rest = _REST.match(line)
    return rest is not None and int(rest[1]) <= HARMLESS


def _plain(line: str) -> str:
    """A decoder's line without OpenCV's place in its source."""
    return re.sub(r"^\[[^\]]*\] global \S+ \S+ ", "", line).strip()


def _can_write(cv2: ModuleType, suffix: str) -> bool:
    """Whether OpenCV was built with a library for files of this kind; those that it writes, it reads."""
    try:
        return bool(cv2.haveImageWriter("x" + suffix))
    except cv2.error:
        return False


def log_of(cv2: ModuleType) -> Any:
    """Where OpenCV has `getLogLevel` and `setLogLevel`: version 4 itself, version 5 in a module of it."""
    return cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging


@contextmanager
def _errors_printed(cv2: ModuleType) -> Iterator[None]:
    """Let OpenCV print errors, which are caught, even where it was told to be silent."""
    logging = log_of(cv2)
    before = logging.getLogLevel()
    logging.setLogLevel(ERRORS)
    try:
        yield
    finally:
        logging.setLogLevel(before)
