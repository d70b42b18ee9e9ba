"""Frames of another size than the good images, where that is no reason not to judge them."""

from __future__ import annotations

import logging

from spade_edge.runtime.result import CANNOT_JUDGE
from spade_edge.tools.scoring.scored import Scored

log = logging.getLogger(__name__)


class OtherSize:
    """Says once that frames have another size than the good images."""

    def __init__(self) -> None:
        self._said = False

    def add(self, scored: Scored) -> None:
        """Take note of a scored shot. One without a verdict on the part is ignored."""
        frame, result = scored.shot.frame, scored.result
        if self._said or frame is None or result is None or result.verdict == CANNOT_JUDGE:
            return
        hint = scored.bundle.manifest.format.hint((frame.shape[0], frame.shape[1]))
        if hint:
            self._said = True
            log.warning("%s", hint)
