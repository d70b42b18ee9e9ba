"""Anomaly maps, overlays and explanations of frames, written to disk by a thread beside the scoring."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import FrameResult
from spade_edge.runtime.bundle.bundle import Bundle

log = logging.getLogger(__name__)

WAITING = 8  # frames that may wait for the disk


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

    def given(self) -> tuple[Path, ...]:
        """The folders that are not None."""
        return tuple(folder for folder in (self.heatmaps, self.overlays, self.explain) if folder is not None)


@dataclass(frozen=True, eq=False)
class ScoredFrame:
    """A frame and its result.

    Attributes:
        name: path relative to the source, or a running number.
        frame: (H, W, 3) uint8 BGR or (H, W) uint8 grey.
        result: of scoring the frame.
    """

    name: str | int
    frame: NDArray[np.uint8]
    result: FrameResult


Write = Callable[[ScoredFrame], None]


class Pictures:
    """Writes pictures of scored frames in a thread of its own, while it is entered.

    Args:
        write: writes the pictures of one frame; see `PictureWriter`.
        wait: whether scoring waits for a slow disk; otherwise the pictures of some frames are left out and counted.
        strict: whether a failed write ends the run; otherwise it is logged once, and pictures are left out.
    """

    def __init__(self, write: Write, *, wait: bool, strict: bool) -> None:
        self.wait = wait
        self.strict = strict
        self._write = write
        self._queue: Queue[ScoredFrame | None] = Queue(WAITING)
        self._refused = self._unwritten = 0  # each is counted by one thread only
        self._failure: Exception | None = None
        self._thread = Thread(target=self._run, name="pictures", daemon=True)

    @property
    def left_out(self) -> int:
        """Number of frames whose pictures were left out."""
        return self._refused + self._unwritten

    def __enter__(self) -> Pictures:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

    def add(self, name: str | int, frame: NDArray[np.uint8], result: FrameResult) -> None:
        """Hand over a scored frame. Its memory must not change afterwards.

        Raises:
            OSError: the pictures of an earlier frame could not be written, and the writer is strict.
        """
        self._raise()
        try:
            self._queue.put(ScoredFrame(name, frame, result), block=self.wait)
        except Full:
            self._refused += 1

    def _raise(self) -> None:
        if self._failure is not None and self.strict:
            raise self._failure

    def _run(self) -> None:
        while (scored := self._queue.get()) is not None:
            if self._failure is not None and self.strict:
                continue  # until `add` raises the failure
            try:
                self._write(scored)
            except Exception as problem:
                self._unwritten += 1
                if self._failure is None and not self.strict:
                    log.warning("pictures are left out: %s", problem)
                self._failure = problem


@dataclass(frozen=True)
class PictureWriter:
    """Writes the pictures of a frame into folders.

    Attributes:
        bundle: the bundle that frames are scored with.
        folders: where to write.
    """

    bundle: Bundle
    folders: Folders

    def __call__(self, scored: ScoredFrame) -> None:
        """Write the pictures of one frame; folders are made as needed.

        Raises:
            OSError: a file cannot be written.
        """
        if self.folders.heatmaps is not None:
            np.save(_path(self.folders.heatmaps, scored.name, ".npy"), scored.result.heatmap, allow_pickle=False)
        if self.folders.overlays is not None:
            from spade_edge.tools.drawing.overlay import overlay

            picture = overlay(scored.frame, scored.result, pixel_threshold=self.bundle.manifest.threshold.pixel)
            _write_png(_path(self.folders.overlays, scored.name, ".png"), picture)
        if self.folders.explain is not None:
            from spade_edge.tools.drawing.explanation import explanation

            picture = explanation(self.bundle, scored.frame, scored.result)
            _write_png(_path(self.folders.explain, scored.name, ".png"), picture)


def _path(folder: Path, name: str | int, suffix: str) -> Path:
    path = folder / Path(f"{name:06d}" if isinstance(name, int) else name).with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    import cv2

    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
