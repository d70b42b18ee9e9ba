"""How to read a source."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spade_edge.galleries.images.like_good import Reading
from spade_edge.runtime import UsageError
from spade_edge.runtime.geometry.frame import check_channels
from spade_edge.runtime.geometry.view import LARGEST_SIDE

REOPEN = 10
STALL = 5.0
FROZEN = 5
MOST = 1_000_000  # attempts or frames
LONGEST = 1_000_000.0  # seconds that the threads of Python can wait on every system


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source. None leaves the choice to the source; an option that does not fit it is refused.

    Attributes:
        reopen: for cameras and watched folders: how often to try to open one that has stopped, 0.5 to 30 s apart;
            math.inf never gives up. Default 10.
        stall: for live sources: seconds without a frame after which one shot reports it; 0 for never. Default 5 for
            cameras and watched folders, 0 for stdin.
        frozen: for live sources: how many frames, identical bit for bit, count as a frozen camera; from 2, or 0 for
            never. Default 5 for cameras and watched folders, 0 for stdin.
        raw: for stdin: (height, width, channels) of frames without headers, 3 channels in the order BGR or 1 of grey.
            By default, stdin is read as PGM and PPM images.
        linescan: frames are blocks of lines; assemble strips of so many lines from them.
        line_overlap: lines that a strip shares with the one before; fewer than `linescan`. Default 0.
        follow_links: for folders: whether links to folders inside are followed, each folder once. Default false.
        bits: for image files and .npy stacks: how many of the 16 bits of a stored number the camera uses, 8 to 16; the
            highest 8 of them are kept. Default 16.
        depth: for image files and .npy stacks: bits that a stored number must have, 8 or 16; files with others are
            faults. By default both are read.
        channels: order of the channels of the source's frames, "bgr" or "rgb". Image files, videos and cameras are read
            as BGR; "rgb" is for .npy files, raw pixels and cameras of your own that have the other order.

    Raises:
        UsageError: the options contradict each other, or a number is out of range.
    """

    reopen: float | None = None
    stall: float | None = None
    frozen: int | None = None
    raw: tuple[int, int, int] | None = None
    linescan: int | None = None
    line_overlap: int | None = None
    follow_links: bool | None = None
    bits: int | None = None
    depth: int | None = None
    channels: str | None = None

    def __post_init__(self) -> None:
        for name, least, most in (
            ("reopen", 0, MOST),
            ("stall", 0, LONGEST),
            ("frozen", 0, MOST),
            ("linescan", 1, LARGEST_SIDE),
            ("bits", 8, 16),
            ("line_overlap", 0, LARGEST_SIDE),
        ):
            value = getattr(self, name)
            forever = name == "reopen" and value == math.inf
            if value is not None and not forever and not least <= value <= most:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option}: expected a number from {least} to {most:g}, found {value:g}")
        if self.raw is not None:
            height, width, channels = self.raw
            if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE and channels in (1, 3)):
                raise UsageError(
                    f"--raw: expected sides from 1 to {LARGEST_SIDE} and 1 or 3 channels, "
                    f"found {width}x{height}x{channels}"
                )
        if self.depth not in (None, 8, 16):
            raise UsageError(f"expected a depth of 8 or 16 bits, found {self.depth}")
        if self.channels is not None:
            check_channels(self.channels)
        if self.frozen == 1:
            raise UsageError("--frozen 1: expected 0 for never, or at least 2 identical frames")
        if self.line_overlap is not None and self.linescan is None:
            raise UsageError("--line-overlap: expected --linescan LINES beside it, found none")
        if self.linescan is not None and self.line_overlap is not None and self.line_overlap >= self.linescan:
            raise UsageError(
                f"--line-overlap {self.line_overlap}: expected fewer lines than the {self.linescan} of a strip"
            )

    @property
    def reading(self) -> Reading:
        """How the numbers of image files are understood."""
        return Reading(bits=self.bits, depth=self.depth)

    @property
    def tries(self) -> float:
        """`reopen`, or the default of cameras and watched folders."""
        return REOPEN if self.reopen is None else self.reopen

    @property
    def silence(self) -> float:
        """`stall`, or the default of cameras and watched folders."""
        return STALL if self.stall is None else self.stall

    @property
    def alike(self) -> int:
        """`frozen`, or the default of cameras and watched folders."""
        return FROZEN if self.frozen is None else self.frozen

    def refuse(self, *names: str, source: str, instead: str) -> None:
        """Refuse options that were given and do not fit the source.

        Raises:
            UsageError: one of these options was given.
        """
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')}: expected {instead}, found {source}")
