"""Opening an image file: its bytes, and what they say about the picture, if it is whole."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from spade_edge.galleries.images import content, tiff
from spade_edge.galleries.images.anatomy import Anatomy, CutOffError, DamagedError, UnreadError
from spade_edge.galleries.images.formats import LARGEST
from spade_edge.galleries.images.notices import say_once
from spade_edge.galleries.images.unwritten import hole, lost_code, lost_rows
from spade_edge.runtime import DataError

_PAGE = re.compile(r"(.+)#([1-9]\d{0,5})")
_COPY = "copy or record it again"


@dataclass(frozen=True, eq=False)
class Whole:
    """An image file that is whole, as far as its bytes tell.

    Attributes:
        path: names it in messages.
        raw: its bytes; of a page that `tiff.samples` reads, an object that returns slices of them.
        anatomy: of the picture that is wanted.
        page: that is wanted of a TIFF; None for the other kinds.
    """

    path: Path
    raw: Any
    anatomy: Anatomy
    page: tiff.Page | None = None

    def refusal(self, problem: CutOffError | DamagedError | UnreadError) -> DataError:
        """What is wrong with the file, if something shows only while it is decoded."""
        return _refusal(self.path, self.anatomy.kind, problem)


def open_image(path: Path) -> Whole:
    """Read a file, and look whether it is whole.

    Args:
        path: the file; with "#2" behind its name, the second page of a TIFF.

    Raises:
        DataError: the file is missing, empty, too large, cut off, damaged or of an unknown kind, or a part of it was
            never written.
    """
    place, number = _split(path)
    try:
        with _opened(place) as file:
            if number is not None:
                return _open_page(path, file, number)
            raw = file.read()
            whole = examined(raw, path)
            found = hole(file.fileno(), raw, whole.anatomy) or lost_rows(raw, whole.anatomy)
    except OSError as problem:
        raise _unopened(path, problem) from None
    if found is not None:
        raise whole.refusal(DamagedError(found))
    if whole.anatomy.frames > 1:
        say_once("several", path, f"{path}: of its several {'pages' if whole.page else 'pictures'}, the first is read")
    return whole


def examined(raw: bytes, path: Path) -> Whole:
    """What the bytes of a file say about its picture.

    Args:
        raw: the file.
        path: names it in messages.

    Raises:
        DataError: it is cut off, damaged, too large or of an unknown kind.
    """
    try:
        anatomy = content.examine(raw)
        page = tiff.pages(raw)[0] if anatomy.kind == "TIFF" else None
    except content.UnknownError:
        raise DataError(
            f"{path}: expected an image, found {len(raw):,} bytes that begin like no kind of image that is read"
        ) from None
    except (CutOffError, DamagedError, UnreadError) as problem:
        raise _refusal(path, content.kind(raw), problem) from None
    _check_bytes(path, anatomy)
    whole = Whole(path, raw, anatomy, page)
    lost = lost_code(raw, anatomy)
    if lost is not None:
        raise whole.refusal(DamagedError(lost))
    return whole


def read_bytes(path: Path) -> bytes:
    """The content of an image file, not empty and of at most `LARGEST` bytes.

    Raises:
        DataError: there is no such file.
    """
    try:
        with _opened(path) as file:
            return file.read()
    except OSError as problem:
        raise _unopened(path, problem) from None


def pages(path: Path) -> tuple[Path, ...]:
    """The pages of a TIFF, each as a path that `open_image` accepts: "stack.tif#1", "stack.tif#2" and so on.

    Only directories are read, no pixels. The path itself stands for a file with one page, for one of another kind, and
    for one that cannot be read. Previews and masks of a page are no pages.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return (path,)
    try:
        with _opened(path) as file:
            slices: Any = _Slices(file)
            count = len(tiff.pages(slices)) if slices[:4] in tiff.STARTS else 1
    except (OSError, DataError, CutOffError, DamagedError, UnreadError):
        return (path,)
    return tuple(path.with_name(f"{path.name}#{number}") for number in range(1, count + 1)) if count > 1 else (path,)


def file_of(path: Path) -> Path:
    """The file that a path of `pages` is in."""
    return _split(path)[0]


def _split(path: Path) -> tuple[Path, int | None]:
    """The file, and the number of the page behind its name, if no file of that very name exists."""
    match = _PAGE.fullmatch(path.name)
    if match is None or os.path.lexists(path):
        return path, None
    file = path.with_name(match[1])
    return (file, int(match[2])) if file.is_file() else (path, None)


def _opened(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file():  # reading a pipe or device might never end
        raise DataError(f"{path}: expected an image file, found a folder, pipe or device")
    file = path.open("rb")
    size = os.fstat(file.fileno()).st_size
    if not 0 < size <= LARGEST:
        file.close()
        raise DataError(f"{path}: expected an image of at most {LARGEST >> 30} GB, found {size:,} bytes")
    return file


def _unopened(path: Path, problem: OSError) -> DataError:
    return DataError(f"{path}: expected an image file, found: {problem.strerror}")


def _open_page(path: Path, file: BinaryIO, number: int) -> Whole:
    """Open a page. Of a long TIFF, only this page is read, if its pixels are not compressed or only by deflate."""
    slices: Any = _Slices(file)
    if slices[:4] not in tiff.STARTS:
        raise DataError(f"{path}: expected a TIFF with pages, found another kind of file")
    try:
        found = tiff.pages(slices)
        if number > len(found):
            raise DataError(f"{path}: expected a page from 1 to {len(found)}, found {number}")
        page = found[number - 1]
        anatomy = tiff.describe(slices, page)
        _check_bytes(path, anatomy)
        start, end = tiff.extent(page) if tiff.is_read_here(page) else (0, len(slices))
        raw = slices[start:end]
        moved = _moved(anatomy, -start)
        lost = lost_code(raw, moved) or lost_rows(raw, moved)
        if lost is not None:
            raise DamagedError(lost)
    except (CutOffError, DamagedError, UnreadError) as problem:
        raise _refusal(path, "TIFF", problem) from None
    return Whole(path, _Excerpt(raw, start) if start else raw, anatomy, page)


def _moved(anatomy: Anatomy, by: int) -> Anatomy:
    rows = tuple(replace(rows, offset=rows.offset + by) for rows in anatomy.rows)
    coded = tuple(replace(coded, start=coded.start + by, end=coded.end + by) for coded in anatomy.coded)
    return replace(anatomy, rows=rows, coded=coded)


def _check_bytes(path: Path, anatomy: Anatomy) -> None:
    """Refuse a picture of a few bytes that would fill the memory, before it is decoded."""
    if anatomy.width * anatomy.height * anatomy.pixel_bytes > LARGEST:
        raise DataError(
            f"{path}: expected a picture of at most {LARGEST >> 30} GB of pixels, found {anatomy.width:,}x"
            f"{anatomy.height:,} pixels"
        )


def _refusal(path: Path, kind: str, problem: CutOffError | DamagedError | UnreadError) -> DataError:
    if isinstance(problem, UnreadError):
        return DataError(f"{path}: expected an image of a kind that is read, found {problem}")
    state = f"a cut-off {kind}" if isinstance(problem, CutOffError) else f"a damaged {kind}"
    return DataError(f"{path}: expected a whole image, found {state}: {problem}; {_COPY}")


class _Slices:
    """The bytes of an open file, read as they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(0, stop - start))


@dataclass(frozen=True)
class _Excerpt:
    """A part of a file, whose bytes keep their places."""

    part: bytes
    start: int

    def __getitem__(self, place: slice) -> bytes:
        return self.part[place.start - self.start : place.stop - self.start]
