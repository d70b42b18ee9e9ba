"""What `spade-edge score` prints on stderr."""

from __future__ import annotations

from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD
from spade_edge.tools.cli.opening import runs_on
from spade_edge.tools.scoring.tally import Tally
from spade_edge.tools.sources import Source


def new_generation(bundle: Bundle) -> str:
    """That another generation judges from the next line on."""
    threshold = bundle.manifest.threshold.score
    return f"{bundle.path}: from here on the generation {bundle.digest[:SHORT]} judges, threshold {threshold:.4g}"


def summary(scorer: Scorer, source: Source, tally: Tally, *, dropped: int, left_out: int, drift: str = "") -> str:
    """The summary of a run in one line.

    Args:
        scorer: that scored the frames.
        source: of the frames.
        tally: of the run.
        dropped: number of frames that a live source left out.
        left_out: number of frames whose pictures were not written.
        drift: how parts look different, or looked; empty if they do not.
    """
    threshold = scorer.bundle.manifest.threshold
    frames = tally.verdicts.total()
    counts = ", ".join(f"{tally.verdicts[verdict]} {verdict}" for verdict in (GOOD, DEFECT, CANNOT_JUDGE))
    parts = [f"{frames} frame{'' if frames == 1 else 's'}: {counts}"]
    if source.live:
        parts.append(f"{dropped} dropped")
    if source.endless:
        parts.append(f"{tally.stops} stops or stalls")
    if left_out:
        parts.append(f"pictures of {left_out} left out")
    if drift:
        parts.append(drift)
    if tally.milliseconds:
        times = tally.milliseconds
        p50, p99 = times.percentile(0.5), times.percentile(0.99)
        parts.append(f"p50 {p50:.0f}, p99 {p99:.0f}, max {times.largest:.0f} ms per frame")
    parts.append(f"on {runs_on(scorer.session)}")
    parts.append(f"threshold {threshold.score:.4g}, {threshold.basis}: {threshold.rate:.2%} of good frames rejected")
    return "; ".join(parts)
