"""Heat maps, overlays and explanations of frames, written by a thread of its own beside the scoring."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import FrameResult
from spade_edge.runtime.bundle.bundle import Bundle

WAITING = 8  # frames that may wait for the disk


@dataclass(frozen=True)
class Folders:
    """Where to write; None for nothing.

    Attributes:
        heatmaps: each heat map as float32 .npy, raw.
        overlays: frames under their heat maps, as .png.
        explain: frames beside the good parts that they look like, as .png.
    """

    heatmaps: Path | None = None
    overlays: Path | None = None
    explain: Path | None = None

    def given(self) -> tuple[Path, ...]:
        """Those that are to be written to."""
        return tuple(folder for folder in (self.heatmaps, self.overlays, self.explain) if folder is not None)


@dataclass(frozen=True, eq=False)
class Work:
    """One frame to make pictures of."""

    name: str | int
    frame: NDArray[np.uint8]
    result: FrameResult


class Pictures:
    """Writes what `folders` asks for.

    Args:
        bundle: that frames are scored with.
        folders: where to write.
        wait: whether scoring waits for a slow disk; otherwise pictures are left out and counted.
        strict: whether a disk that refuses ends the run; otherwise it is said once, and pictures are left out.
    """

    def __init__(self, bundle: Bundle, folders: Folders, *, wait: bool, strict: bool) -> None:
        self.bundle = bundle
        self.folders = folders
        self.wait = wait
        self.strict = strict
        self._queue: Queue[Work | None] = Queue(WAITING)
        self._refused = self._unwritten = 0  # each counted by one thread
        self._failure: Exception | None = None
        self._thread = Thread(target=self._run, name="pictures", daemon=True)

    @property
    def left_out(self) -> int:
        """Frames without their pictures."""
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
        """Hand over a scored frame, which must not change any more.

        Raises:
            OSError: a former one could not be written, and that is not to be borne.
        """
        self._raise()
        if self.folders.given():
            try:
                self._queue.put(Work(name, frame, result), block=self.wait)
            except Full:
                self._refused += 1

    def _raise(self) -> None:
        if self._failure is not None and self.strict:
            raise self._failure

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            if self._failure is not None and self.strict:
                continue  # until somebody asks
            try:
                self._write(work)
            except Exception as problem:
                self._unwritten += 1
                if self._failure is None and not self.strict:
                    print(f"pictures are left out: {problem}", file=sys.stderr, flush=True)
                self._failure = problem

    def _write(self, work: Work) -> None:
        if self.folders.heatmaps is not None:
            np.save(_path(self.folders.heatmaps, work.name, ".npy"), work.result.heatmap, allow_pickle=False)
        if self.folders.overlays is not None:
            from spade_edge.tools.drawing.overlay import overlay

            picture = overlay(work.frame, work.result, pixel_threshold=self.bundle.manifest.threshold.pixel)
            _write_png(_path(self.folders.overlays, work.name, ".png"), picture)
        if self.folders.explain is not None:
            from spade_edge.tools.drawing.explanation import explanation

            picture = explanation(self.bundle, work.frame, work.result)
            _write_png(_path(self.folders.explain, work.name, ".png"), picture)


def _path(folder: Path, name: str | int, suffix: str) -> Path:
    path = folder / Path(f"{name:06d}" if isinstance(name, int) else name).with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    import cv2

    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
