"""Recorded frames: image files, a video, or a stack of frames in one .npy file. No frame is dropped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import find_images, name_of, read_image
from spade_edge.galleries.images.formats import SUFFIXES, VIDEO_SUFFIXES
from spade_edge.runtime import DataError
from spade_edge.tools.sources.opencv import opencv
from spade_edge.tools.sources.shot import Shot


@dataclass(frozen=True)
class ImageFiles:
    """Image files, in the order of their names.

    Attributes:
        folder: the folder that names are relative to.
        paths: the files.
        nested: whether everything below the folder belongs to the source.
    """

    folder: Path
    paths: tuple[Path, ...]
    nested: bool

    def names(self) -> tuple[str, ...]:
        return tuple(name_of(path, self.folder) for path in self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Shot]:
        for path, name in zip(self.paths, self.names(), strict=True):
            try:
                yield Shot(name, read_image(path))
            except DataError as problem:
                yield Shot(name, None, str(problem))


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
        cv2 = opencv()
        capture = cv2.VideoCapture(str(self.path))
        try:
            if not capture.isOpened():
                raise DataError(f"{self.path}: expected an image or video, found a file that OpenCV cannot open")
            number = 0
            while True:
                taken, frame = capture.read()
                if not taken:
                    break
                yield Shot(number, frame.astype(np.uint8, copy=False))
                number += 1
            promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            if number == 0:
                raise DataError(f"{self.path}: expected a video, found no frame in it")
            if number < promised:
                fault = f"{self.path}: expected {promised} frames, found {number}: the video ends early"
                yield Shot(number, None, fault)
        finally:
            capture.release()


@dataclass(frozen=True, eq=False)
class Stack:
    """The frames of a .npy file.

    Attributes:
        path: the file.
        frames: (N, H, W, 3) BGR, (N, H, W, 1) or (N, H, W) grey, uint8 or uint16, memory-mapped.
    """

    path: Path
    frames: NDArray[np.generic]
    nested = False

    @property
    def folder(self) -> Path:
        return self.path.parent

    def names(self) -> tuple[str, ...]:
        return ()

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Shot]:
        for number, frame in enumerate(self.frames):
            # 16 bits are reduced to 8 as in a single image file.
            yield Shot(number, (np.array(frame) if frame.dtype == np.uint8 else frame // 257).astype(np.uint8))

    @classmethod
    def of(cls, path: Path) -> Stack | None:
        """The stack in a .npy file; None if the file holds a single image, or is not a .npy file.

        Raises:
            DataError: the array has more than one frame, but a shape or dtype that cannot be scored.
        """
        try:
            frames = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception:  # numpy can raise anything on a bad header; reading the image reports it
            return None
        if not isinstance(frames, np.ndarray) or frames.ndim < 3 or (frames.ndim == 3 and frames.shape[2] <= 4):
            return None
        if (
            frames.dtype not in (np.uint8, np.uint16)
            or frames.ndim > 4
            or (frames.ndim == 4 and frames.shape[3] not in (1, 3))
        ):
            found = f"{'x'.join(map(str, frames.shape))} {frames.dtype}"
            raise DataError(f"{path}: expected uint8 or uint16 of shape (N, H, W) or (N, H, W, 3), found {found}")
        if 0 in frames.shape:
            raise DataError(f"{path}: expected frames, found an empty array of shape {frames.shape}")
        return cls(path, frames)


def open_recording(path: Path) -> ImageFiles | Video | Stack:
    """Open the frames at a path: a folder of images, an image, a video or a stack.

    Raises:
        DataError: nothing is there, the folder has no images, or the file is of another kind.
    """
    if path.is_dir():
        return ImageFiles(path, find_images(path), nested=True)
    if not path.is_file():
        found = "another kind of file" if os.path.lexists(path) else "nothing"
        raise DataError(f"{path}: expected a folder, an image or a video file, found {found}")
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return Video(path)
    if suffix in SUFFIXES:
        stack = Stack.of(path) if suffix == ".npy" else None
        return stack or ImageFiles(path.parent, (path,), nested=False)
    raise DataError(
        f"{path}: expected an image ({', '.join(SUFFIXES)}) or a video ({', '.join(VIDEO_SUFFIXES)}), "
        f"found {path.suffix or 'no suffix'}"
    )
