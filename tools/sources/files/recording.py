"""Recorded frames: image files, a video, or a stack of frames in one .npy file. No frame is dropped."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import file_of, find_images, name_of, pages
from spade_edge.galleries.images.formats import LARGEST, SUFFIXES, VIDEO_SUFFIXES
from spade_edge.galleries.images.like_good import ANY, Reading
from spade_edge.runtime import DataError
from spade_edge.tools.sources.files.image_shot import image_shot
from spade_edge.tools.sources.shot import Shot
from spade_edge.tools.sources.video.decoding import DecodedVideo, OpeningError, ReadingError, is_installed
from spade_edge.tools.sources.video.ending import shortfall
from spade_edge.tools.sources.video.through_opencv import CapturedVideo, capture, warn_of_damage


@dataclass(frozen=True)
class ImageFiles:
    """Image files, in the order of their names.

    Attributes:
        folder: the folder that names are relative to.
        paths: the files, and pages of files.
        nested: whether everything below the folder belongs to the source.
        reading: how their numbers are understood.
    """

    folder: Path
    paths: tuple[Path, ...]
    nested: bool
    reading: Reading = ANY

    def names(self) -> tuple[str, ...]:
        return tuple(name_of(path, self.folder) for path in self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Shot]:
        for path in self.paths:
            yield image_shot(path, self.folder, self.reading)


@dataclass(frozen=True)
class Video:
    """Every frame of a video file."""

    path: Path
    nested = False

    @property
    def folder(self) -> Path:
        return self.path.parent

    def names(self) -> tuple[str, ...]:
        return ()

    def __iter__(self) -> Iterator[Shot]:
        missing = self._missing()
        video = self._opened(missing)
        number, ending = 0, missing
        try:
            for found in video:
                yield Shot(number, None, f"{self.path}: {found}") if isinstance(found, str) else Shot(number, found)
                number += 1
        except ReadingError as problem:
            ending = missing or f"expected a video that can be read to its end, found: {problem}"
        finally:
            video.close()
        if number == 0:
            raise DataError(f"{self.path}: expected a video, found no frame in it{f': {missing}' if missing else ''}")
        if ending:
            yield Shot(number, None, f"{self.path}: {ending}; the video ends early")

    def _missing(self) -> str:
        try:
            return shortfall(self.path)
        except OSError as problem:
            raise DataError(f"{self.path}: expected a video, found: {problem.strerror}") from None

    def _opened(self, missing: str) -> DecodedVideo | CapturedVideo:
        """The video through PyAV, or through OpenCV where PyAV is not installed.

        Raises:
            DataError: it cannot be opened.
        """
        if is_installed():
            try:
                return DecodedVideo(str(self.path))
            except OpeningError as problem:
                fault = missing or f"expected a video, found a file that cannot be opened as one: {problem}"
                raise DataError(f"{self.path}: {fault}") from None
        captured = capture(str(self.path))
        if captured is None:
            raise DataError(f"{self.path}: {missing or 'expected a video, found a file that OpenCV cannot open'}")
        warn_of_damage(captured, str(self.path))
        return captured


@dataclass(frozen=True, eq=False)
class Stack:
    """The frames of a .npy file.

    Attributes:
        path: the file.
        frames: (N, H, W, 3) BGR, (N, H, W, 1) or (N, H, W) grey, uint8 or uint16, memory-mapped. Its numbers are read
            from the file instead, because a process is killed that reads mapped numbers which the file has lost.
        offset: of the first frame in the file, in bytes.
        reading: how its numbers are understood.
    """

    path: Path
    frames: NDArray[np.generic]
    offset: int
    reading: Reading = ANY
    nested = False

    @property
    def folder(self) -> Path:
        return self.path.parent

    def names(self) -> tuple[str, ...]:
        return ()

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Shot]:
        for number in range(len(self.frames)):
            frame = self._frame(number)
            if frame is None:
                yield Shot(
                    number, None, f"{self.path}: expected {len(self.frames)} frames, found its end before this one"
                )
                continue
            try:
                yield Shot(number, self.reading.array(frame, str(self.path)))
            except DataError as problem:
                yield Shot(number, None, str(problem))

    def _frame(self, number: int) -> NDArray[np.generic] | None:
        """A frame; None if the file has become too short."""
        if not self.frames.flags.c_contiguous:  # the numbers of a frame lie all over the file
            return np.array(self.frames[number])
        shape = self.frames.shape[1:]
        size = math.prod(shape) * self.frames.itemsize
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset + number * size)
                raw = file.read(size)
        except OSError:
            return None
        return np.frombuffer(raw, self.frames.dtype).reshape(shape) if len(raw) == size else None

    @classmethod
    def of(cls, path: Path, *, reading: Reading) -> Stack | None:
        """The stack in a .npy file; None if the file holds a single image, or is not a .npy file.

        Raises:
            DataError: the array has more than one frame, but a shape or dtype that cannot be scored.
        """
        try:
            frames = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception:  # numpy can raise anything on a bad header; reading the image reports it
            return None
        if not isinstance(frames, np.memmap) or frames.ndim < 3 or (frames.ndim == 3 and frames.shape[2] <= 4):
            return None
        found = f"{'x'.join(map(str, frames.shape))} {frames.dtype}"
        if (
            frames.dtype not in (np.uint8, np.uint16)
            or frames.ndim > 4
            or (frames.ndim == 4 and frames.shape[3] not in (1, 3))
        ):
            raise DataError(f"{path}: expected uint8 or uint16 of shape (N, H, W) or (N, H, W, 3), found {found}")
        if 0 in frames.shape:
            raise DataError(f"{path}: expected frames, found an empty array of shape {found}")
        if math.prod(frames.shape[1:]) * frames.itemsize > LARGEST:
            raise DataError(f"{path}: expected frames of at most {LARGEST >> 30} GB each, found {found}")
        return cls(path, frames, frames.offset, reading)


def open_recording(path: Path, *, follow_links: bool = False, reading: Reading = ANY) -> ImageFiles | Video | Stack:
    """Open the frames at a path: a folder of images, an image, a video or a stack.

    Args:
        path: of a folder or file, or of one page of a TIFF, such as "stack.tif#2".
        follow_links: whether links to folders are followed, as for `find_images`.
        reading: how the numbers of image files are understood.

    Raises:
        DataError: nothing is there, the folder has no images, or the file is of another kind.
    """
    if path.is_dir():
        return ImageFiles(path, find_images(path, follow_links=follow_links), nested=True, reading=reading)
    file = file_of(path)
    if not file.is_file():
        found = "another kind of file" if os.path.lexists(path) else "nothing"
        raise DataError(f"{path}: expected a folder, an image or a video file, found {found}")
    suffix = file.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return Video(path)
    if suffix in SUFFIXES:
        stack = Stack.of(path, reading=reading) if suffix == ".npy" else None
        paths = pages(path) if file == path else (path,)
        return stack or ImageFiles(path.parent, paths, nested=False, reading=reading)
    raise DataError(
        f"{path}: expected an image ({', '.join(SUFFIXES)}) or a video ({', '.join(VIDEO_SUFFIXES)}), "
        f"found {path.suffix or 'no suffix'}"
    )
