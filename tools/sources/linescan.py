"""Assembles strips from the blocks of lines of a line-scan camera."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import FrameError
from spade_edge.runtime.geometry.frame import checked
from spade_edge.tools.sources.shot import Shot


class LineBuffer:
    """The latest lines, in memory of a fixed size.

    Args:
        block: the first lines, (n, W) or (n, W, 3) uint8.
        lines: how many to keep.
    """

    def __init__(self, block: NDArray[np.uint8], *, lines: int) -> None:
        # Twice as many rows as are kept, so that lines move to the front only when all rows are full.
        self.rows = np.empty((2 * lines, *block.shape[1:]), np.uint8)
        self.lines = lines
        self.end = 0

    def __len__(self) -> int:
        return min(self.end, self.lines)

    def fits(self, block: NDArray[np.uint8]) -> bool:
        """Whether the block has the width and the channels of the lines in the buffer."""
        return block.shape[1:] == self.rows.shape[1:]

    def add(self, block: NDArray[np.uint8]) -> None:
        """Append lines, at most as many as the buffer keeps."""
        if self.end + len(block) > len(self.rows):
            kept = len(self)
            self.rows[:kept] = self.rows[self.end - kept : self.end]
            self.end = kept
        self.rows[self.end : self.end + len(block)] = block
        self.end += len(block)

    def strip(self) -> NDArray[np.uint8]:
        """A copy of the lines that are kept."""
        return self.rows[self.end - len(self) : self.end].copy()


def strips(shots: Iterable[Shot], *, lines: int, overlap: int = 0) -> Iterator[Shot]:
    """Assemble blocks of lines into numbered strips, each with the time and part of its last block.

    A fault or news is passed on, and the lines before it are discarded, because a strip has no gap. A change of width
    is a fault, too. Lines left at the end give a last strip that overlaps the one before by more than `overlap`.

    Args:
        shots: their frames are blocks of one or more lines, (n, W) or (n, W, 3) uint8.
        lines: number of lines of a strip.
        overlap: lines that a strip shares with the one before; fewer than `lines`.
    """
    number = 0
    latest: LineBuffer | None = None
    due = fresh = 0  # lines from one strip to the next, and how many of them have come
    shot = None
    for shot in shots:
        fault, block = shot.fault, shot.frame
        if block is not None:
            try:
                checked(block)
            except FrameError as problem:
                fault, block = str(problem), None
        if block is None:
            yield replace(shot, name=None if shot.news else number, frame=None, fault=fault)
            number += not shot.news
            latest = None
            continue
        if latest is not None and not latest.fits(block):
            fault = f"expected lines {_described(latest.rows)}, found {_described(block)}: a new strip begins"
            yield replace(shot, name=number, frame=None, fault=fault)
            number += 1
            latest = None
        if latest is None:
            latest, due, fresh = LineBuffer(block, lines=lines), lines, 0
        while len(block):
            next_lines, block = block[: due - fresh], block[due - fresh :]
            latest.add(next_lines)
            fresh += len(next_lines)
            if fresh == due:
                yield replace(shot, name=number, frame=latest.strip())
                number += 1
                due, fresh = lines - overlap, 0
    if shot is not None and latest is not None and fresh:
        if len(latest) == lines:
            yield replace(shot, name=number, frame=latest.strip())
        else:
            yield replace(
                shot, name=number, frame=None, fault=f"expected {lines} lines, found {len(latest)} at the end"
            )


def _described(rows: NDArray[np.uint8]) -> str:
    return f"{rows.shape[1]} pixels wide with {1 if rows.ndim == 2 else rows.shape[2]} channels"
