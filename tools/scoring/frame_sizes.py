"""Frames whose size keeps changing: each new size takes time that the user may not expect."""

from __future__ import annotations

import logging

from spade_edge.runtime.preprocessing.preprocessor import SIZES
from spade_edge.tools.scoring.scored import Scored

log = logging.getLogger(__name__)

MANY = SIZES  # for which the preprocessor keeps what it has prepared


class FrameSizes:
    """Says once if frames come in more sizes than the preprocessor keeps prepared."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, ...]] = set()
        self._said = False

    def add(self, scored: Scored) -> None:
        """Take note of a scored shot. One without a result is ignored."""
        if self._said or scored.result is None or scored.shot.frame is None:
            return
        self._seen.add(scored.shot.frame.shape)
        if len(self._seen) > MANY:
            self._said = True
            log.warning(
                "frames come in more than %d sizes: each new one has to be prepared first, which takes time; if time "
                "matters, crop or pad the frames to one size",
                MANY,
            )
