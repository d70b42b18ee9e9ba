"""Opens a source, and puts its parts together.

    files           frames ─────────────→ strips ────────────→ acquisition (all)
    stdin           frames ─────────────→ strips → freeze ───→ acquisition (all)
    watched folder  frames ─────────────→ strips → freeze ───→ acquisition (all)
    camera          connect → reopening → strips → freeze ───→ acquisition (newest)

Strips are made only with the option `linescan`, and before any frame may be dropped: a strip has no gap.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import UsageError
from spade_edge.runtime.geometry.frame import RGB
from spade_edge.tools.sources.acquisition import ALL, NEWEST, Acquisition
from spade_edge.tools.sources.address import looks_like_address, printable
from spade_edge.tools.sources.cameras import network, opencv_camera
from spade_edge.tools.sources.cameras.camera import Camera, Connect
from spade_edge.tools.sources.cameras.reopening import reopening
from spade_edge.tools.sources.files.recording import open_recording
from spade_edge.tools.sources.files.stream import pnm_frames, raw_frames
from spade_edge.tools.sources.files.watched_folder import WatchedFolder
from spade_edge.tools.sources.freeze import mark_frozen
from spade_edge.tools.sources.linescan import strips
from spade_edge.tools.sources.options import SourceOptions
from spade_edge.tools.sources.shot import Shot

log = logging.getLogger(__name__)

STDIN, WATCH, GENICAM = "-", "watch:", "genicam:"


@dataclass(frozen=True, eq=False)
class Source:
    """An open source. It can be read once, in one of two ways.

        for shot in source:                     # reads each frame when it is asked for; nothing is dropped
            ...
        with source.acquire() as shots:         # a thread reads ahead; a camera drops frames not taken in time
            for shot in shots:
                ...

    Attributes:
        shots: an iterable of `Shot`, in the order in which the frames come.
        folder: the folder of the files; None if the source is not made of files.
        nested: whether everything below the folder belongs to the source.
        names: names of all frames, where they are known beforehand; else empty.
        live: whether `acquire` drops frames that are not taken in time: true for cameras.
        endless: whether the source goes on until it is ended: true for cameras, watched folders and stdin.
        stall: seconds without a frame after which `acquire` reports it; 0 for never.
        ended: set this event to end the source.
    """

    shots: Iterable[Shot]
    folder: Path | None = None
    nested: bool = False
    names: tuple[str, ...] = ()
    live: bool = False
    endless: bool = False
    stall: float = 0.0
    ended: Event = field(default_factory=Event)

    def __iter__(self) -> Iterator[Shot]:
        """Read each shot when it is asked for.

        Raises:
            DataError: a video cannot be opened, or a stream has no frames.
            DeviceError: a camera cannot be opened, or does not come back.
        """
        return iter(self.shots)

    def acquire(self) -> Acquisition:
        """Read shots in a separate thread, so that neither the camera nor the work on frames waits for the other.

        Returns:
            a context manager and an iterator of `Shot`. Its `dropped` counts the frames left out so far, and `end()`
            ends it. It raises what iterating over the source would raise.
        """
        return Acquisition(self.shots, keep=NEWEST if self.live else ALL, stall=self.stall, ended=self.ended)


def open_source(source: str | Path | Camera | Connect, *, options: SourceOptions | None = None) -> Source:
    """Open files, a watched folder, stdin or a camera. A camera is opened when its first frame is asked for.

    Args:
        source: one of
            - a text as on the command line (`spade-edge score --help`): a file or folder, `watch:DIR`, `-` for stdin,
              `0` or `/dev/video0`, `rtsp://…`, `csi://0`, a GStreamer pipeline, `genicam:SERIAL`;
            - a `Path`, which is always a file or folder;
            - an open camera of your own: an object with `read` and `close`, see `Camera`. The source ends when the
              camera stops;
            - a function or class that opens a camera of your own. It is called again whenever the camera has stopped.
        options: how to read the source; None for the defaults.

    Returns:
        the source, an iterable of `Shot`. Frames are (H, W, 3) uint8 BGR or (H, W) uint8 grey; 16-bit files are
        reduced to 8 bits. A frame that cannot be read is a shot with a fault, and the source goes on.

    Raises:
        DataError: the file or folder does not exist, or contains no images.
        DeviceError: this machine lacks a package or driver that the camera needs.
        UsageError: the source is of an unknown kind, or an option does not fit it.
    """
    options = options or SourceOptions()
    if isinstance(source, Path):
        return _files(source, options)
    if not isinstance(source, str):
        return _own_camera(source, options)
    if source == STDIN:
        return _stdin(options)
    options.refuse("raw", source=source, instead=f"the source {STDIN}")
    if source == WATCH:
        raise UsageError(f"{WATCH}: expected a folder, as in {WATCH}incoming, found none")
    if source.startswith(WATCH):
        return _watched_folder(Path(source.removeprefix(WATCH)), options)
    if source.startswith(GENICAM):
        from spade_edge.tools.sources.cameras import genicam

        return _camera(lambda: genicam.connect(source), label=source, tries=options.tries, options=options)
    if opencv_camera.is_camera(source):
        connect = opencv_camera.connector(source)
        return _camera(connect, label=printable(source), tries=options.tries, options=options)
    if network.is_network_address(source):
        return _camera(network.connector(source), label=printable(source), tries=options.tries, options=options)
    if looks_like_address(source) and not os.path.lexists(source):
        raise UsageError(
            f"{printable(source)}: expected rtsp://, http://, udp://, tcp:// or csi://, found another kind of address"
        )
    return _files(Path(source), options)


def _files(path: Path, options: SourceOptions) -> Source:
    options.refuse("raw", source=str(path), instead=f"the source {STDIN}")
    options.refuse("reopen", "stall", "frozen", source=str(path), instead="a camera or a watched folder")
    if not path.is_dir():
        options.refuse("follow_links", source=str(path), instead="a folder")
    recording = open_recording(path, follow_links=bool(options.follow_links), reading=options.reading)
    names = recording.names() if options.linescan is None else ()
    return Source(_assembled(recording, options), folder=recording.folder, nested=recording.nested, names=names)


def _stdin(options: SourceOptions) -> Source:
    options.refuse("reopen", source="stdin", instead="a camera or a watched folder")
    options.refuse("follow_links", source="stdin", instead="a folder")
    if os.isatty(0):
        raise UsageError("-: expected frames on stdin, found a terminal; pipe them in")
    # Unbuffered: a thread that still waits in a buffered read would keep Python from exiting.
    stream = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  (for the rest of the process)
    if options.raw is None:
        frames = pnm_frames(stream)
    else:
        height, width, channels = options.raw
        frames = raw_frames(stream, height=height, width=width, channels=channels)
    # The writer of a stream is unknown: silence and repeated frames are faults only if the user says so.
    shots = _checked(_assembled(frames, options), options.frozen or 0)
    return Source(shots, endless=True, stall=options.stall or 0.0)


def _watched_folder(folder: Path, options: SourceOptions) -> Source:
    ended = Event()
    watched = WatchedFolder(
        folder,
        tries=options.tries,
        pause=ended.wait,
        follow_links=bool(options.follow_links),
        reading=options.reading,
    )
    if watched.left_out:
        log.warning("%s%s: left out %d images that were there before", WATCH, folder, watched.left_out)
    shots = _checked(_assembled(watched, options), options.alike)
    return Source(shots, folder=folder, nested=True, endless=True, stall=options.silence, ended=ended)


def _own_camera(camera: Camera | Connect, options: SourceOptions) -> Source:
    kind = camera if isinstance(camera, type) else type(camera)
    label = getattr(camera, "__name__", kind.__name__)
    options.refuse("raw", source=label, instead=f"the source {STDIN}")
    if not isinstance(camera, type) and hasattr(camera, "read") and hasattr(camera, "close"):
        options.refuse("reopen", source=f"an open {label}", instead="a function that opens the camera")
        return _camera(lambda: camera, label=label, tries=0, options=options)
    if callable(camera):
        return _camera(camera, label=label, tries=options.tries, options=options)
    raise UsageError(f"expected a path, an address, or a camera with the methods read and close, found {label}")


def _camera(connect: Connect, *, label: str, tries: float, options: SourceOptions) -> Source:
    options.refuse("follow_links", source=label, instead="a folder")
    ended = Event()
    frames = reopening(connect, label=label, tries=tries, pause=ended.wait)
    shots = _checked(_assembled(frames, options), options.alike)
    return Source(shots, live=True, endless=True, stall=options.silence, ended=ended)


def _assembled(shots: Iterable[Shot], options: SourceOptions) -> Iterable[Shot]:
    if options.channels == RGB:
        shots = (replace(shot, frame=_swapped(shot.frame)) for shot in shots)
    if options.linescan is None:
        return shots
    return strips(shots, lines=options.linescan, overlap=options.line_overlap or 0)


def _swapped(frame: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    """A frame in the order RGB as BGR; a grey one, and one that cannot be scored, stays as it is."""
    if frame is None or frame.ndim != 3 or frame.shape[2] != 3:
        return frame
    return np.ascontiguousarray(frame[:, :, ::-1])


def _checked(shots: Iterable[Shot], limit: int) -> Iterable[Shot]:
    return mark_frozen(shots, limit=limit) if limit else shots
