"""The time of a frame by stage, compared with the bare network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import Scorer
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.result import GOOD
from spade_edge.tools.benchmark.camera_thread import CameraThread
from spade_edge.tools.benchmark.stages import Parts
from spade_edge.tools.benchmark.times import Late, Times

BLOCK = 10  # frames are scored and the bare network is run in alternating blocks of this length
PARTED = 3  # frames of each block whose parts are measured afterwards


@dataclass(frozen=True)
class Stage:
    """A stage of a frame, or a part of one.

    Attributes:
        times: in milliseconds.
        of_network: median, divided by the median of the network alone.
    """

    times: Times
    of_network: float


@dataclass(frozen=True)
class Beside:
    """Frames that were scored beside a camera thread.

    Attributes:
        frame: from frame to result.
        rate: frames a second that the camera was to deliver.
        delivered: frames a second that it did deliver.
        ratio: median of a frame, divided by the median of a frame without the camera.
    """

    frame: Times
    rate: float
    delivered: float
    ratio: float


@dataclass(frozen=True)
class Lateness:
    """Frames that would have been late.

    Attributes:
        deadline: milliseconds that a frame may take.
        without_camera: of the frames without a camera thread.
        beside_camera: of those beside one; None if there was none.
    """

    deadline: float
    without_camera: Late
    beside_camera: Late | None


@dataclass(frozen=True)
class Measured:
    """Frames compared with the bare network.

    Attributes:
        frames: number of frames scored.
        frame: from frame to result.
        network: the network alone, from views to levels.
        stages: median milliseconds per frame by stage.
        by_stage: the same stages in full, and the parts of them that `parts` told apart.
        ratio: median of a frame, divided by the median of the network alone.
        spread: p99 / p50 of frames, divided by p99 / p50 of the network alone; None if there are too few frames.
        batch: milliseconds per frame if `batch` frames are scored together; None if not asked for.
        camera: as many frames again beside a camera thread; None if not asked for.
        late: None if there was no deadline.
        not_good: of the frames, how many had another verdict than good; their regions take time.
    """

    frames: int
    frame: Times
    network: Times
    stages: dict[str, float]
    by_stage: dict[str, Stage]
    ratio: float
    spread: float | None
    batch: float | None
    camera: Beside | None
    late: Lateness | None
    not_good: int = 0

    def to_json(self) -> dict[str, Any]:
        """The fields that `spade-edge bench --json` prints."""
        return asdict(self)


def measure(
    scorer: Scorer,
    frames: Sequence[NDArray[np.uint8]],
    *,
    count: int,
    batch: int | None = None,
    camera: float | None = None,
    deadline: float | None = None,
    parts: Parts | None = None,
    after_block: Callable[[], None] = lambda: None,
) -> Measured:
    """Score `count` frames and run the bare network as often, in alternating blocks, after a few frames of warm-up.

    Args:
        scorer: whose time is measured.
        frames: (H, W, 3) uint8 BGR or (H, W) uint8 grey; they are repeated as often as needed.
        count: number of frames to score.
        batch: also score so many frames together; None to leave this out.
        camera: also score `count` frames beside a camera thread of so many frames a second, in blocks that alternate
            with the others; None to leave this out.
        deadline: also count the frames that take more milliseconds than this; None to leave this out.
        parts: measures the parts of stages, see `stages.parts_of`; called between the blocks for some of the frames.
        after_block: called right after each block of frames.
    """
    for frame in frames[:3]:
        scorer(frame)
    views = [scorer.preprocessor(frame) for frame in frames[:BLOCK]]
    alone: list[float] = []
    run = _Frames(scorer, frames)
    beside = _Frames(scorer, frames)
    of_parts: dict[str, list[float]] = {}

    def without_camera(numbers: range) -> None:
        run(numbers)
        after_block()

    def with_camera(numbers: range, thread: CameraThread) -> None:
        with thread.running():
            beside(numbers)
        after_block()

    with ExitStack() as stack:
        thread = None if camera is None else stack.enter_context(CameraThread(frames, rate=camera))
        for start in range(0, count, BLOCK):
            numbers = range(start, min(start + BLOCK, count))
            for i in numbers:
                alone.append(_milliseconds(partial(_network, scorer, views[i % len(views)])))
            ways = [without_camera]
            if thread is not None:
                ways.append(partial(with_camera, thread=thread))
            # Neither is always the one right after the network.
            for way in ways if start // BLOCK % 2 == 0 else ways[::-1]:
                way(numbers)
            if parts is not None:
                for i in numbers[:PARTED]:
                    for part, time in parts(frames[i % len(frames)]).items():
                        of_parts.setdefault(part, []).append(time)
    together = None
    if batch is not None:
        some = [frames[i % len(frames)] for i in range(batch)]
        scorer.batch(some)
        together = float(np.median([_milliseconds(partial(scorer.batch, some)) for _ in range(5)])) / batch
    whole, network = Times.of(run.total), Times.of(alone)
    by_stage = {name: Times.of(times) for name, times in (run.stages | of_parts).items()}
    spread = None
    if whole.p99 is not None and network.p99 is not None:
        spread = whole.p99 / whole.p50 / (network.p99 / network.p50)
    return Measured(
        frames=count,
        frame=whole,
        network=network,
        stages={name: by_stage[name].p50 for name in run.stages},
        by_stage={name: Stage(times, times.p50 / network.p50) for name, times in by_stage.items()},
        ratio=whole.p50 / network.p50,
        spread=spread,
        batch=together,
        camera=None if thread is None else _beside(beside.total, whole, thread),
        late=None if deadline is None else _lateness(deadline, run.total, beside.total),
        not_good=run.not_good,
    )


class _Frames:
    """Scores frames and keeps their times, in milliseconds."""

    def __init__(self, scorer: Scorer, frames: Sequence[NDArray[np.uint8]]) -> None:
        self._scorer, self._frames = scorer, frames
        self.total: list[float] = []
        self.stages: dict[str, list[float]] = {}
        self.not_good = 0

    def __call__(self, numbers: range) -> None:
        for i in numbers:
            begin = perf_counter()
            result = self._scorer(self._frames[i % len(self._frames)])
            self.total.append(1000 * (perf_counter() - begin))
            self.not_good += result.verdict != GOOD
            for stage, time in result.milliseconds.items():
                if stage != "total":
                    self.stages.setdefault(stage, []).append(time)


def _beside(total: Sequence[float], without: Times, thread: CameraThread) -> Beside:
    times = Times.of(total)
    return Beside(times, thread.rate, thread.delivered / thread.seconds, times.p50 / without.p50)


def _lateness(deadline: float, total: Sequence[float], beside: Sequence[float]) -> Lateness:
    late = Late.of(total, deadline=deadline)
    return Lateness(deadline, late, Late.of(beside, deadline=deadline) if beside else None)


def _network(scorer: Scorer, views: NDArray[np.float32]) -> None:
    """Run the network on the views of a frame, grouped as in scoring; its features stay where frames leave them."""
    network = scorer.session if scorer.device is None else scorer.device.session.resident
    for first in range(0, len(views), VIEWS_PER_RUN):
        network(views[first : first + VIEWS_PER_RUN])


def _milliseconds(run: Callable[[], Any]) -> float:
    start = perf_counter()
    run()
    return 1000 * (perf_counter() - start)
