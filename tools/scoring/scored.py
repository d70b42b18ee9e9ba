"""Scoring the shots of a source in their order, with the network running ahead where that helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import FrameError, FrameResult, Scorer
from spade_edge.runtime.network.provider import CUDA, EXECUTION_PROVIDERS, TENSORRT
from spade_edge.tools.memory import shortage
from spade_edge.tools.sources.acquisition import Acquisition
from spade_edge.tools.sources.shot import Shot

ON_GPU = (EXECUTION_PROVIDERS[CUDA], EXECUTION_PROVIDERS[TENSORRT])


@dataclass(frozen=True, eq=False)
class Scored:
    """A shot and what scoring it gave.

    Attributes:
        shot: the shot.
        result: the result; None if there is no frame, or it cannot be scored.
        fault: why there is no result; empty if there is one.
    """

    shot: Shot
    result: FrameResult | None
    fault: str = ""


def score_shots(scorer: Scorer, shots: Acquisition) -> Iterator[Scored]:
    """Score shots as they come, in their order.

    If the network runs on a GPU, it works on a frame while the previous one is matched (`Scorer.stream`). On the CPU
    both would compete for the same cores, so frames are scored one at a time. The results are the same.

    Args:
        scorer: of the bundle.
        shots: an acquisition that has been entered.

    Raises:
        SpadeError: the source ends with an error, or the model or bundle fails.
    """
    return _ahead(scorer, shots) if scorer.session.provider in ON_GPU else _one_at_a_time(scorer, shots)


def _one_at_a_time(scorer: Scorer, shots: Iterable[Shot]) -> Iterator[Scored]:
    for shot in shots:
        if shot.frame is None:
            yield Scored(shot, None, shot.fault)
            continue
        try:
            result = scorer(shot.frame)
        except FrameError as problem:
            yield Scored(shot, None, str(problem))
        except Exception as problem:
            if not (lack := shortage(problem)):
                raise
            yield Scored(shot, None, _too_large(shot, lack))
        else:
            yield Scored(shot, result)


def _ahead(scorer: Scorer, shots: Acquisition) -> Iterator[Scored]:
    """Score runs of frames as streams. A shot without a frame ends a stream, so that it is reported at once."""
    reading = _Reading(iter(shots))
    try:
        while not reading.finished:
            stream = scorer.stream(reading.frames())
            try:
                for result in stream:
                    yield Scored(reading.waiting.pop(0), result)
            except FrameError as problem:  # of the last frame that was read; those before it have been scored
                yield Scored(reading.waiting.pop(), None, str(problem))
            except Exception as problem:
                if not (lack := shortage(problem)):
                    raise
                while reading.waiting:  # of any of them: the network is ahead of the matching
                    shot = reading.waiting.pop(0)
                    yield Scored(shot, None, _too_large(shot, lack))
            if reading.other is not None:
                yield Scored(reading.other, None, reading.other.fault)
            if reading.failure is not None:
                raise reading.failure
    except GeneratorExit:
        shots.end()  # otherwise the end of the stream would wait for the next frame of a silent camera
        raise


def _too_large(shot: Shot, lack: str) -> str:
    size = "" if shot.frame is None else f" of {shot.frame.shape[1]}x{shot.frame.shape[0]} pixels"
    return f"{lack}; expected a machine that can hold a frame{size}"


@dataclass(eq=False)
class _Reading:
    """Shots as runs of frames. A background thread reads them while the caller works on earlier ones.

    Attributes:
        shots: what is read.
        waiting: shots whose frames were read, but not yet scored.
        other: the shot without a frame that ended the current run; None if there was none.
        failure: the error with which the source ended.
        finished: whether the source has ended.
    """

    shots: Iterator[Shot]
    waiting: list[Shot] = field(default_factory=list)
    other: Shot | None = None
    failure: Exception | None = None
    finished: bool = False

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """The frames up to the next shot without one."""
        self.other = None
        while True:
            try:
                shot = next(self.shots)
            except StopIteration:
                self.finished = True
                return
            except Exception as problem:  # raised by the caller, after the results of the frames before
                self.failure, self.finished = problem, True
                return
            if shot.frame is None:
                self.other = shot
                return
            self.waiting.append(shot)
            yield shot.frame
