"""A frozen camera goes on delivering the same picture: identical bit for bit, which no living sensor ever does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spade_edge.tools.sources.shot import Shot


def frozen(shots: Iterable[Shot], *, limit: int) -> Iterator[Shot]:
    """Turn frames into faults from the one on that is the `limit`th of identical ones, until a differing one comes.

    Args:
        shots: of one source; their frames must not change afterwards. Faults and news between are passed on.
        limit: from 2.
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
    """Whether two frames agree in everything; the first row tells most apart."""
    return np.array_equal(one[:1], other[:1]) and np.array_equal(one, other)
