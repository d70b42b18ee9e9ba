"""Anomaly maps, overlays and explanations of frames, written to disk by a thread beside the scoring."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import FrameResult
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.drawing.png import is_png_of_ours, write_png
from spade_edge.tools.memory import shortage
from spade_edge.tools.output import check_replaceable, replacing
from spade_edge.tools.scoring.heatmap_file import is_heatmap_of_ours, write_heatmap
from spade_edge.tools.scoring.picture_names import picture_path

log = logging.getLogger(__name__)

WAITING = 8  # frames that may wait for the disk
HEATMAP, PICTURE = ".npy", ".png"
MARKS = {HEATMAP: is_heatmap_of_ours, PICTURE: is_png_of_ours}


@dataclass(frozen=True)
class Folders:
    """The folders to write to; None writes nothing of that kind.

    Attributes:
        heatmaps: anomaly maps as raw float32 .npy.
        overlays: frames under their anomaly maps, as .png.
        explain: frames beside the good parts that they resemble most, as .png.
    """

    heatmaps: Path | None = None
    overlays: Path | None = None
    explain: Path | None = None

    def given(self) -> dict[Path, str]:
        """The folders that are not None, with the suffix of the files that are written there."""
        suffixes = ((self.heatmaps, HEATMAP), (self.overlays, PICTURE), (self.explain, PICTURE))
        return {folder: suffix for folder, suffix in suffixes if folder is not None}


@dataclass(frozen=True, eq=False)
class ScoredFrame:
    """A frame and its result.

    Attributes:
        name: path relative to the source, or a running number.
        frame: (H, W, 3) uint8 BGR or (H, W) uint8 grey.
        result: of scoring the frame.
        bundle: that it was scored with.
    """

    name: str | int
    frame: NDArray[np.uint8]
    result: FrameResult
    bundle: Bundle


Write = Callable[[ScoredFrame], None]


class Pictures:
    """Writes pictures of scored frames in a thread of its own, while it is entered.

    Args:
        write: writes the pictures of one frame; see `PictureWriter`.
        wait: whether scoring waits for a slow disk; otherwise the pictures of some frames are left out and counted.

    Attributes:
        failed: number of frames whose pictures could not be written. The first failure is logged, and scoring goes on.
    """

    def __init__(self, write: Write, *, wait: bool) -> None:
        self.wait = wait
        self.failed = 0
        self._write = write
        self._queue: Queue[ScoredFrame | None] = Queue(WAITING)
        self._refused = 0  # this and `failed` are each counted by one thread only
        self._thread = Thread(target=self._run, name="pictures", daemon=True)

    @property
    def left_out(self) -> int:
        """Number of frames whose pictures were left out, for whatever reason."""
        return self._refused + self.failed

    def __enter__(self) -> Pictures:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()

    def add(self, scored: ScoredFrame) -> None:
        """Hand over a scored frame. Its memory must not change afterwards."""
        try:
            self._queue.put(scored, block=self.wait)
        except Full:
            self._refused += 1

    def _run(self) -> None:
        while (scored := self._queue.get()) is not None:
            try:
                self._write(scored)
            except Exception as problem:
                if not self.failed:
                    log.warning("pictures of frame %s are left out: %s", scored.name, shortage(problem) or problem)
                self.failed += 1


@dataclass(frozen=True)
class PictureWriter:
    """Writes the pictures of a frame into folders.

    Attributes:
        folders: where to write.
    """

    folders: Folders

    def __call__(self, scored: ScoredFrame) -> None:
        """Write the pictures of one frame; folders are made as needed.

        Raises:
            UsageError: something that spade-edge did not write has the name of a picture.
            DataError: a file cannot be written, or the frame's name leads out of the folder.
        """
        frame, result = scored.frame, scored.result
        if self.folders.heatmaps is not None:
            with _replacing(self.folders.heatmaps, scored.name, HEATMAP) as file:
                write_heatmap(file, result.heatmap)
        if self.folders.overlays is not None:
            from spade_edge.tools.drawing.overlay import overlay

            picture = overlay(frame, result, pixel_threshold=result.pixel_threshold)
            with _replacing(self.folders.overlays, scored.name, PICTURE) as file:
                write_png(file, picture)
        if self.folders.explain is not None:
            from spade_edge.tools.drawing.explanation import explanation

            scored.bundle.mapped.check()
            picture = explanation(scored.bundle, frame, result)
            with _replacing(self.folders.explain, scored.name, PICTURE) as file:
                write_png(file, picture)


@contextmanager
def _replacing(folder: Path, name: str | int, suffix: str) -> Iterator[BinaryIO]:
    path = picture_path(folder, name, suffix)
    check_replaceable(path, MARKS[suffix])
    with replacing(path) as file:
        yield file
