"""What a SOURCE argument stands for, and how its parts are put together.

    files, stdin    frames ─────────────→ strips ─┬──────────→ acquisition (all)
    watched folder  watch ──────────────→ strips ─→ frozen ──→ acquisition (all)
    camera          connect → reopening → strips ─→ frozen ──→ acquisition (newest)

Strips only with --linescan, and before anything may be left out: a strip has no gap.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from spade_edge.runtime import UsageError
from spade_edge.tools.sources.cameras.acquisition import ALL, NEWEST, Acquisition
from spade_edge.tools.sources.cameras.camera import connector, is_camera, label_of
from spade_edge.tools.sources.cameras.device import Connect
from spade_edge.tools.sources.cameras.frozen import frozen
from spade_edge.tools.sources.cameras.linescan import strips
from spade_edge.tools.sources.cameras.reopening import reopening
from spade_edge.tools.sources.files.files import find_files
from spade_edge.tools.sources.files.stream import pnm_frames, raw_frames
from spade_edge.tools.sources.files.watch import Watch
from spade_edge.tools.sources.options import Options
from spade_edge.tools.sources.shot import Shot

STDIN, WATCH, GENICAM = "-", "watch:", "genicam:"


@dataclass(frozen=True, eq=False)
class Source:
    """Shots from wherever; they can be gone through once, straight or beside other work.

    Attributes:
        shots: one after the other.
        folder: where its files lie, if they are files.
        nested: whether all that lies below the folder belongs to the source.
        names: of all its frames, where they are known beforehand.
        live: whether frames are left out if they are not taken in time.
        endless: whether it goes on until somebody ends it.
        stall: seconds without a frame that are reported; 0 for never.
        ended: set it to end the source.
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
        """Read each shot when it is asked for."""
        return iter(self.shots)

    def acquire(self) -> Acquisition:
        """Read shots in a thread of their own, beside the work on them."""
        return Acquisition(self.shots, keep=NEWEST if self.live else ALL, stall=self.stall, ended=self.ended)


def open_source(source: str | Path, *, options: Options | None = None) -> Source:
    """Find out what a SOURCE stands for; a camera is opened when its first frame is asked for.

    Args:
        source: as on the command line, see `spade-edge score --help`; a Path is always a file or folder.
        options: how to read it; None for the defaults.

    Raises:
        DataError: nothing is there, or a folder without images.
        DeviceError: this machine lacks what a camera needs.
        UsageError: the options do not fit it, or it is of no known kind.
    """
    options = options or Options()
    if isinstance(source, Path):
        return _files(source, options)
    if source == STDIN:
        return _stdin(options)
    options.refuse("raw", source=source, instead=f"the source {STDIN}")
    if source == WATCH:
        raise UsageError(f"{WATCH}: expected a folder, as in {WATCH}incoming, found none")
    if source.startswith(WATCH):
        return _watch(Path(source.removeprefix(WATCH)), options)
    if source.startswith(GENICAM):
        from spade_edge.tools.sources.cameras import genicam

        return _camera(lambda: genicam.connect(source), source, options)
    if is_camera(source):
        return _camera(connector(source), label_of(source), options)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        raise UsageError(
            f"{source}: expected rtsp://, http://, udp://, tcp:// or csi://, found another kind of address"
        )
    return _files(Path(source), options)


def _files(path: Path, options: Options) -> Source:
    options.refuse("raw", source=str(path), instead=f"the source {STDIN}")
    options.refuse("reopen", "stall", "frozen", source=str(path), instead="a camera or a watched folder")
    files = find_files(path)
    names = files.names() if options.linescan is None else ()
    return Source(_assembled(files, options), folder=files.folder, nested=files.nested, names=names)


def _stdin(options: Options) -> Source:
    options.refuse("reopen", source="stdin", instead="a camera or a watched folder")
    if os.isatty(0):
        raise UsageError("-: expected frames on stdin, found a terminal; pipe them in")
    # Without a buffer: a thread that still waits in one would keep Python from ending.
    stream = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  (for the rest of the process)
    if options.raw is None:
        frames = pnm_frames(stream)
    else:
        height, width, channels = options.raw
        frames = raw_frames(stream, height=height, width=width, channels=channels)
    # Nobody knows who writes on the other side: silence and repetition are no faults unless the user says so.
    shots = _checked(_assembled(frames, options), options.frozen or 0)
    return Source(shots, endless=True, stall=options.stall or 0.0)


def _watch(folder: Path, options: Options) -> Source:
    ended = Event()
    watch = Watch(folder, tries=options.tries, pause=ended.wait)
    if watch.left_out:
        print(f"{WATCH}{folder}: left out {watch.left_out} images that were there before", file=sys.stderr, flush=True)
    shots = _checked(_assembled(watch, options), options.alike)
    return Source(shots, folder=folder, nested=True, endless=True, stall=options.silence, ended=ended)


def _camera(connect: Connect, label: str, options: Options) -> Source:
    ended = Event()
    frames = reopening(connect, label=label, tries=options.tries, pause=ended.wait)
    shots = _checked(_assembled(frames, options), options.alike)
    return Source(shots, live=True, endless=True, stall=options.silence, ended=ended)


def _assembled(shots: Iterable[Shot], options: Options) -> Iterable[Shot]:
    if options.linescan is None:
        return shots
    return strips(shots, lines=options.linescan, overlap=options.line_overlap or 0)


def _checked(shots: Iterable[Shot], limit: int) -> Iterable[Shot]:
    return frozen(shots, limit=limit) if limit else shots
