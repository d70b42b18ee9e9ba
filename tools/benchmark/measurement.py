"""The time of a frame by stage, compared with the bare network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import Scorer
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN

BLOCK = 10  # frames are scored and the bare network is run in alternating blocks of this length


@dataclass(frozen=True)
class Times:
    """Percentiles of durations, in milliseconds."""

    p50: float
    p90: float
    p99: float
    largest: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Times:
        """The percentiles of one or more durations."""
        p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99)).tolist()
        return cls(p50, p90, p99, max(milliseconds))


@dataclass(frozen=True)
class Measured:
    """Frames compared with the bare network.

    Attributes:
        frames: number of frames scored.
        frame: from frame to result.
        network: the network alone, from views to levels.
        stages: median milliseconds per frame by stage.
        ratio: median of a frame, divided by the median of the network alone.
        spread: p99 / p50 of frames, divided by p99 / p50 of the network alone.
        batch: milliseconds per frame if `batch` frames are scored together; None if not asked for.
    """

    frames: int
    frame: Times
    network: Times
    stages: dict[str, float]
    ratio: float
    spread: float
    batch: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields that `spade-edge bench --json` prints."""
        return asdict(self)


def measure(scorer: Scorer, frames: Sequence[NDArray[np.uint8]], *, count: int, batch: int | None = None) -> Measured:
    """Score `count` frames and run the bare network as often, in alternating blocks, after a few frames of warm-up.

    Args:
        scorer: whose time is measured.
        frames: (H, W, 3) uint8 BGR or (H, W) uint8 grey; they are repeated as often as needed.
        count: number of frames to score.
        batch: also score so many frames together; None to leave this out.
    """
    for frame in frames[:3]:
        scorer(frame)
    views = [scorer.preprocessor(frame) for frame in frames[:BLOCK]]
    stages: dict[str, list[float]] = {}
    total, alone = [], []
    for start in range(0, count, BLOCK):
        numbers = range(start, min(start + BLOCK, count))
        for i in numbers:
            alone.append(_milliseconds(partial(_network, scorer, views[i % len(views)])))
        for i in numbers:
            begin = perf_counter()
            result = scorer(frames[i % len(frames)])
            total.append(1000 * (perf_counter() - begin))
            for stage, time in result.milliseconds.items():
                stages.setdefault(stage, []).append(time)
    together = None
    if batch is not None:
        some = [frames[i % len(frames)] for i in range(batch)]
        scorer.batch(some)
        together = float(np.median([_milliseconds(partial(scorer.batch, some)) for _ in range(5)])) / batch
    whole, network = Times.of(total), Times.of(alone)
    return Measured(
        frames=count,
        frame=whole,
        network=network,
        stages={stage: float(np.median(times)) for stage, times in stages.items() if stage != "total"},
        ratio=whole.p50 / network.p50,
        spread=whole.p99 / whole.p50 / (network.p99 / network.p50),
        batch=together,
    )


def _network(scorer: Scorer, views: NDArray[np.float32]) -> None:
    """Run the network on the views of a frame, grouped as in scoring."""
    for first in range(0, len(views), VIEWS_PER_RUN):
        scorer.session(views[first : first + VIEWS_PER_RUN])


def _milliseconds(run: Callable[[], Any]) -> float:
    start = perf_counter()
    run()
    return 1000 * (perf_counter() - start)
