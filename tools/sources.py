"""Where frames come from: a folder, an image file or a video, as one iterator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import SUFFIXES, find_images, read_image
from spade_edge.runtime import DataError

VIDEO = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".ts", ".wmv")


@dataclass(frozen=True)
class Shot:
    """One frame of a source, or why there is none.

    Attributes:
        name: path relative to the source, with forward slashes, or a running number from 0.
        frame: (H, W, 3) uint8 BGR or (H, W) uint8 grey; None where it could not be read.
        fault: why not; empty where it could.
    """

    name: str | int
    frame: NDArray[np.uint8] | None
    fault: str = ""


@dataclass(frozen=True)
class Images:
    """Image files, in the order of their names.

    Attributes:
        folder: what names are relative to.
        paths: the files.
        nested: whether all that lies below the folder belongs to the source.
    """

    folder: Path
    paths: tuple[Path, ...]
    nested: bool

    def names(self) -> tuple[str, ...]:
        return tuple(path.relative_to(self.folder).as_posix() for path in self.paths)

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
        import cv2

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


def open_source(path: Path) -> Images | Video:
    """What a SOURCE argument stands for.

    Raises:
        DataError: nothing is there, or a folder without images.
    """
    if path.is_dir():
        return Images(path, find_images(path), nested=True)
    if not path.is_file():
        found = "something else" if os.path.lexists(path) else "nothing"
        raise DataError(f"{path}: expected a folder, an image or a video file, found {found}")
    if path.suffix.lower() in SUFFIXES:
        return Images(path.parent, (path,), nested=False)
    if path.suffix.lower() in VIDEO:
        return Video(path)
    raise DataError(
        f"{path}: expected an image ({', '.join(SUFFIXES)}) or a video ({', '.join(VIDEO)}), "
        f"found {path.suffix or 'no suffix'}"
    )
