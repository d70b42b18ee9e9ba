"""How to read a source."""

from __future__ import annotations

from dataclasses import dataclass

from spade_edge.runtime import UsageError

REOPEN = 10
STALL = 5.0
FROZEN = 5


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

    Raises:
        UsageError: the options contradict each other.
    """

    reopen: float | None = None
    stall: float | None = None
    frozen: int | None = None
    raw: tuple[int, int, int] | None = None
    linescan: int | None = None
    line_overlap: int | None = None
    follow_links: bool | None = None

    def __post_init__(self) -> None:
        if self.frozen == 1:
            raise UsageError("--frozen 1: expected 0 for never, or at least 2 identical frames")
        if self.line_overlap is not None and self.linescan is None:
            raise UsageError("--line-overlap: expected --linescan LINES beside it, found none")
        if self.linescan is not None and self.line_overlap is not None and self.line_overlap >= self.linescan:
            raise UsageError(
                f"--line-overlap {self.line_overlap}: expected fewer lines than the {self.linescan} of a strip"
            )

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
