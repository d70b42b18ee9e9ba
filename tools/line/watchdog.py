"""Says once when a part of the line hangs, and when it answers again."""

from __future__ import annotations

import logging

from spade_edge.tools.line.state import HUNG, LineState

log = logging.getLogger(__name__)


class Watchdog:
    """Compares each state of the line with the one before. What is troubled has said so itself; what hangs cannot."""

    def __init__(self) -> None:
        self._hung: set[str] = set()

    def look(self, state: LineState) -> None:
        """Log what hangs since the last look, and what answers again."""
        parts = [(f"camera {camera.name}", camera.health) for camera in state.cameras]
        parts += [(f"output {output.name}", output.health) for output in state.outputs]
        hung = {part: health.words for part, health in parts if health.state == HUNG}
        for part, words in hung.items():
            if part not in self._hung:
                log.warning("%s hangs: %s", part, words)
        for part in self._hung - hung.keys():
            log.warning("%s answers again", part)
        self._hung = set(hung)
