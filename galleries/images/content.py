"""The format of an image file, known by its first bytes; the suffix of its name is not asked."""

from __future__ import annotations

from collections.abc import Callable

from spade_edge.galleries.images import avif, bmp, gif, jpeg, jpeg2000, npy, png, pnm, tiff, webp
from spade_edge.galleries.images.anatomy import Anatomy, CutOffError, UnreadError

_LONGEST = 16  # bytes of a beginning

_KINDS: tuple[tuple[tuple[bytes, ...], Callable[[bytes], Anatomy]], ...] = (
    ((png.START,), png.walk),
    ((jpeg.START,), jpeg.walk),
    ((bmp.START,), bmp.walk),
    (tuple(tiff.STARTS), tiff.walk),
    (gif.STARTS, gif.walk),
    ((jpeg2000.BOXED, jpeg2000.BARE), jpeg2000.walk),
    ((npy.START,), npy.walk),
    (pnm.STARTS, pnm.walk),
)
_UNREAD = {
    b"PK\x03\x04": "an archive of arrays or files; save each array by itself, with numpy.save",
    b"8BPS": "a Photoshop file; save it as PNG or TIFF",
    b"v/1\x01": "an OpenEXR file; save it as PNG with 8 or 16 bits",
    b"#?R": "a Radiance HDR file; save it as PNG with 8 or 16 bits",
    b"\xff\x0a": "a JPEG XL file; convert it to PNG or JPEG",
    b"\0\0\0\x0cJXL ": "a JPEG XL file; convert it to PNG or JPEG",
    b"P7": "a PAM file; save it as PPM or PNG",
    b"PF": "a PFM file with floating-point numbers; save it as PNG with 8 or 16 bits",
    b"Pf": "a PFM file with floating-point numbers; save it as PNG with 8 or 16 bits",
    b"%PDF": "a PDF; save its pictures as PNG",
    b"<svg": "an SVG drawing; render it to PNG",
    b"<?xml": "XML, perhaps an SVG drawing; render it to PNG",
    b"\x59\xa6\x6a\x95": "a Sun raster file; save it as PNG",
}


_NAMES = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "JPEG 2000", "NumPy file", "PBM, PGM or PPM")


class UnknownError(Exception):
    """Bytes that are no kind of picture."""


def kind(raw: bytes) -> str:
    """The name of the format that these bytes begin with, for messages."""
    for name, (starts, _) in zip(_NAMES, _KINDS, strict=True):
        if raw.startswith(starts):
            return name
    return "WebP" if webp.is_webp(raw) else "AVIF" if raw[4:8] == b"ftyp" else "file"


def examine(raw: bytes) -> Anatomy:
    """What an image file says about its picture.

    Args:
        raw: everything that the file holds, or holds so far.

    Raises:
        CutOffError: the bytes end before the picture does, or its beginning is not written yet.
        DamagedError: they contradict each other.
        UnreadError: a known kind that is not read.
        UnknownError: no kind of picture.
    """
    for starts, walk in _KINDS:
        if raw.startswith(starts):
            return walk(raw)
    if webp.is_webp(raw):
        return webp.walk(raw)
    if raw[4:8] == b"ftyp":
        return avif.walk(raw)
    for start, what in _UNREAD.items():
        if raw.startswith(start):
            raise UnreadError(what)
    if not any(raw[:_LONGEST]):
        raise CutOffError("it begins with zeros, as where nothing has been written yet" if raw else "it has no bytes")
    if len(raw) < _LONGEST and any(start.startswith(raw) for starts, _ in _KINDS for start in starts):
        raise CutOffError(f"it has only {len(raw)} bytes")
    if len(raw) < _LONGEST and (b"RIFF".startswith(raw[:4]) or b"ftyp".startswith(raw[4:8])):
        raise CutOffError(f"it has only {len(raw)} bytes")
    raise UnknownError
