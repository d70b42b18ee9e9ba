"""Detects a frozen camera: its frames are identical bit for bit, which the noise of a working sensor rules out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spade_edge.tools.sources.shot import Shot


def mark_frozen(shots: Iterable[Shot], *, limit: int) -> Iterator[Shot]:
    """Turn frames into faults from the `limit`th identical frame on, until a different one comes.

    Args:
        shots: of one source; their frames must not change afterwards. Faults and news are passed on.
        limit: how many identical frames count as frozen, from 2.
    """
    last, alike = None, 0
    for shot in shots:
        if shot.frame is None:
            yield shot
            continue
        alike = alike + 1 if last is not None and _identical(last, shot.frame) else 1
        last = shot.frame
        if alike < limit:
            yield shot
        else:
            yield replace(shot, frame=None, fault=f"{alike} identical frames: the camera is frozen")


def _identical(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two frames are equal; comparing the first row is enough for most that are not."""
    return np.array_equal(one[:1], other[:1]) and np.array_equal(one, other)
