"""Scoring the shots of a source in their order, with the network running ahead where that helps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import FollowingScorer, FrameError, FrameResult, Scorer
from spade_edge.runtime.bundle.bundle import Bundle
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
        bundle: that judged the frame; where there is no result, the one in force.
    """

    shot: Shot
    result: FrameResult | None
    fault: str = ""
    bundle: Bundle = field(kw_only=True)


Newest = Callable[[], Scorer]  # the scorer of the generation in force; asked between two frames


def score_shots(scorer: Scorer | FollowingScorer, shots: Acquisition) -> Iterator[Scored]:
    """Score shots as they come, in their order.

    If the network runs on a GPU, it works on a frame while the previous one is matched (`Scorer.stream`). On the CPU
    both would compete for the same cores, so frames are scored one at a time. The results are the same.

    Args:
        scorer: of the bundle; one that follows it takes a new generation between two frames.
        shots: an acquisition that has been entered.

    Raises:
        SpadeError: the source ends with an error, or the model or bundle fails.
    """
    newest: Newest = scorer.newest if isinstance(scorer, FollowingScorer) else lambda: scorer
    return _ahead(newest, shots) if newest().session.provider in ON_GPU else _one_at_a_time(newest, shots)


def _one_at_a_time(newest: Newest, shots: Iterable[Shot]) -> Iterator[Scored]:
    for shot in shots:
        scorer = newest()
        bundle = scorer.bundle
        if shot.frame is None:
            yield Scored(shot, None, shot.fault, bundle=bundle)
            continue
        try:
            result = scorer(shot.frame)
        except FrameError as problem:
            yield Scored(shot, None, str(problem), bundle=bundle)
        except Exception as problem:
            if not (lack := shortage(problem)):
                raise
            yield Scored(shot, None, _too_large(shot, lack), bundle=bundle)
        else:
            yield Scored(shot, result, bundle=bundle)


def _ahead(newest: Newest, shots: Acquisition) -> Iterator[Scored]:
    """Score runs of frames as streams.

    A shot without a frame ends a stream, so that it is reported at once, and so does a new generation of the bundle.
    """
    reading = _Reading(iter(shots), newest)
    try:
        while not reading.finished:
            scorer = newest()
            bundle = scorer.bundle
            stream = scorer.stream(reading.frames(scorer))
            try:
                for result in stream:
                    yield Scored(reading.waiting.pop(0), result, bundle=bundle)
            except FrameError as problem:  # of the last frame that was read; those before it have been scored
                yield Scored(reading.waiting.pop(), None, str(problem), bundle=bundle)
            except Exception as problem:
                if not (lack := shortage(problem)):
                    raise
                while reading.waiting:  # of any of them: the network is ahead of the matching
                    shot = reading.waiting.pop(0)
                    yield Scored(shot, None, _too_large(shot, lack), bundle=bundle)
            if reading.other is not None:
                yield Scored(reading.other, None, reading.other.fault, bundle=bundle)
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
        newest: the scorer of the generation in force.
        waiting: shots whose frames were read, but not yet scored.
        next: the shot that was read last, if a newer generation is to score it.
        other: the shot without a frame that ended the current run; None if there was none.
        failure: the error with which the source ended.
        finished: whether the source has ended.
    """

    shots: Iterator[Shot]
    newest: Newest
    waiting: list[Shot] = field(default_factory=list)
    next: Shot | None = None
    other: Shot | None = None
    failure: Exception | None = None
    finished: bool = False

    def frames(self, scorer: Scorer) -> Iterator[NDArray[np.uint8]]:
        """The frames up to the next shot without one, or up to the next generation after the scorer's."""
        self.other = None
        while True:
            try:
                shot, self.next = self.next or next(self.shots), None
            except StopIteration:
                self.finished = True
                return
            except Exception as problem:  # raised by the caller, after the results of the frames before
                self.failure, self.finished = problem, True
                return
            if shot.frame is None:
                self.other = shot
                return
            if self.newest() is not scorer:
                self.next = shot
                return
            self.waiting.append(shot)
            yield shot.frame
