"""Evidence of parts that a bundle has judged, as the service keeps it, for tests of the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sample_decisions import decision

from spade_edge.runtime import Scorer
from spade_edge.tools.line.configuration.options import EvidenceOptions
from spade_edge.tools.line.decision import Inspection
from spade_edge.tools.line.evidence.entry import Entry, entries
from spade_edge.tools.line.evidence.ring import EvidenceRing

Part = Callable[..., NDArray[np.uint8]]


def judged(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[Inspection]:
    """The inspections of some frames, some seconds ago, numbered from 1."""
    scorer = Scorer.open(bundle)
    made = []
    for number, frame in enumerate(frames, 1):
        result = scorer(frame)
        made.append(
            Inspection(
                decision(
                    number,
                    at=time.time() - 10 + number / 100,
                    verdict=result.verdict,
                    gate="pass" if result.verdict == "good" else "reject",
                    reason=result.reason,
                    score=result.score,
                    threshold=result.threshold,
                    p=result.p,
                    bundle=result.bundle,
                ),
                frame=frame,
                result=result,
            )
        )
    return made


def keep(folder: Path, bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> tuple[Entry, list[Entry]]:
    """The evidence of some frames: of the first one, and of the others."""
    ring = EvidenceRing(EvidenceOptions(folder=folder, good_share=1.0), line="press-3")
    ring.open()
    for inspection in judged(bundle, frames):
        ring.send(inspection)
    ring.close()
    found = sorted(entries(folder), key=lambda entry: int(entry.decision["number"]))
    return found[0], found[1:]


def slightly_over(bundle: Path, part: Part) -> NDArray[np.uint8]:
    """A good part that a bundle rejects, and that can be taught in."""
    scorer = Scorer.open(bundle)
    frames = [part(seed) for seed in range(100, 160)]
    rejects = [(scorer(frame).score, i) for i, frame in enumerate(frames) if scorer(frame).verdict == "defect"]
    return frames[min(rejects)[1]]
