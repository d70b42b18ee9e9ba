"""What the command line may say about a source; None where it says nothing."""

from __future__ import annotations

from dataclasses import dataclass

from spade_edge.runtime import UsageError

REOPEN = 10
STALL = 5.0
FROZEN = 5


@dataclass(frozen=True)
class Options:
    """How to read a source.

    Attributes:
        reopen: how often to try to get a stopped source back; math.inf for ever.
        stall: seconds without a frame that are reported; 0 for never.
        frozen: identical frames that count as a frozen camera; 0 for never.
        raw: (height, width, channels) of headerless frames on stdin.
        linescan: lines of a strip.
        line_overlap: lines that a strip has in common with the one before.
    """

    reopen: float | None = None
    stall: float | None = None
    frozen: int | None = None
    raw: tuple[int, int, int] | None = None
    linescan: int | None = None
    line_overlap: int | None = None

    def __post_init__(self) -> None:
        if self.frozen == 1:
            raise UsageError("--frozen 1: expected 0 for never or at least 2 identical frames")
        if self.line_overlap is not None and self.linescan is None:
            raise UsageError("--line-overlap: expected --linescan LINES beside it, found none")
        if self.linescan is not None and self.line_overlap is not None and self.line_overlap >= self.linescan:
            raise UsageError(
                f"--line-overlap {self.line_overlap}: expected fewer lines than the {self.linescan} of a strip"
            )

    @property
    def tries(self) -> float:
        """`reopen`, or what cameras and watched folders get."""
        return REOPEN if self.reopen is None else self.reopen

    @property
    def silence(self) -> float:
        """`stall`, or what cameras and watched folders get."""
        return STALL if self.stall is None else self.stall

    @property
    def alike(self) -> int:
        """`frozen`, or what cameras and watched folders get."""
        return FROZEN if self.frozen is None else self.frozen

    def refuse(self, *names: str, source: str, instead: str) -> None:
        """Refuse options that were given and do not fit the source.

        Raises:
            UsageError: one of them was.
        """
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')}: expected {instead}, found {source}")
