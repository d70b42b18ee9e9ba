"""Scoring with the network running ahead: the same records in the same order, and no wait for a silent camera."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from fake_gpu import CPU, CUDA, Machine
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import DeviceError, FrameError, FrameResult, Scorer
from spade_edge.tools.scoring.record import record
from spade_edge.tools.scoring.scored import Scored, score_shots
from spade_edge.tools.scoring.tally import Tally
from spade_edge.tools.sources import Shot
from spade_edge.tools.sources.acquisition import ALL, Acquisition

Frames = Callable[..., NDArray[np.uint8]]
LONG = 60  # seconds; no test waits so long unless something is wrong


@pytest.fixture
def scorers(edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> tuple[Scorer, Scorer]:
    """The same bundle on the CPU and on a GPU that computes the same."""
    on_cpu = Scorer.open(edge.path)
    Machine().install(monkeypatch, tmp_path)
    on_gpu = Scorer.open(edge.path, providers="cuda")
    assert (on_cpu.session.provider, on_gpu.session.provider) == (CPU, CUDA)
    return on_cpu, on_gpu


def shots_of(part: Frames) -> list[Shot]:
    """Good and defective frames, faults and news first, last and in a row, and frames that cannot be scored."""
    frames = [part(seed, flaw=seed % 3 == 0) for seed in range(7)]
    kinds: list[NDArray[Any] | str | None] = [
        "lost", frames[0], frames[1].astype(np.float64), frames[2], "lost", None, frames[3], frames[4], frames[5],
        frames[5][:0], frames[6].astype(np.int16), frames[6], "lost",
    ]  # fmt: skip
    shots = []
    for number, kind in enumerate(kinds):
        if kind is None:
            shots.append(Shot(None, None, "stopped", time=number))
        elif isinstance(kind, str):
            shots.append(Shot(number, None, kind, time=number))
        else:
            shots.append(Shot(number, kind, time=number, part=str(number), dropped=number))
    return shots


def records(scorer: Scorer, shots: Iterable[Shot]) -> list[dict[str, Any]]:
    """What is printed, without times and provider; the source may end with an error."""
    found = []
    with Acquisition(shots, keep=ALL) as acquired:
        try:
            for scored in score_shots(scorer, acquired):
                fields = record(scored, live=True)
                found.append({name: value for name, value in fields.items() if not name.startswith(("milli", "provi"))})
        except DeviceError as problem:
            found.append({"error": str(problem)})
    return found


def test_running_ahead_gives_the_same_records_in_the_same_order(scorers: tuple[Scorer, Scorer], part: Frames) -> None:
    on_cpu, on_gpu = scorers
    shots = shots_of(part)
    expected = records(on_cpu, shots)
    assert [line["frame"] for line in expected] == [shot.name for shot in shots]
    assert [line["score"] is None for line in expected].count(True) == 7
    assert records(on_gpu, shots) == expected
    for some in (shots[:1], shots[1:2], shots[2:3], []):
        assert records(on_gpu, some) == records(on_cpu, some)


def test_every_line_has_the_thresholds_and_p_and_an_unreadable_frame_has_no_p(
    scorers: tuple[Scorer, Scorer], part: Frames
) -> None:
    scorer, manifest = scorers[0], scorers[0].bundle.manifest
    lines = records(scorer, shots_of(part))
    assert {line["verdict"] for line in lines} == {"good", "defect", "cannot_judge"}
    for line in lines:
        names = list(line)
        assert names.index("score") < names.index("p") < names.index("verdict") < names.index("regions")
        assert line["threshold"] == manifest.threshold.score and line["pixel_threshold"] == manifest.threshold.pixel
        if line["score"] is None:
            assert line["p"] is None and line["verdict"] == "cannot_judge" and line["reason"]
        else:
            over = [image.score >= line["score"] for image in manifest.images]
            assert line["p"] == (sum(over) + 1) / (len(over) + 1)
    assert len({line["p"] for line in lines}) > 2  # none, that of a defect, and others


def test_the_stream_is_used_on_a_gpu_only(
    scorers: tuple[Scorer, Scorer], part: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = []
    plain = Scorer.stream

    def counted(scorer: Scorer, frames: Iterable[NDArray[np.uint8]]) -> Iterator[FrameResult]:
        streams.append(scorer.session.provider)
        return plain(scorer, frames)

    monkeypatch.setattr(Scorer, "stream", counted)
    for scorer in scorers:
        records(scorer, [Shot(number, part(number)) for number in range(3)])
    assert streams == [CUDA]


def test_a_source_that_fails_has_its_frames_scored_first(scorers: tuple[Scorer, Scorer], part: Frames) -> None:
    def failing() -> Iterator[Shot]:
        yield Shot(0, part(0), time=0)
        yield Shot(1, part(1), time=1)
        raise DeviceError("camera 0: unplugged")

    expected = records(scorers[0], failing())
    assert len(expected) == 3 and expected[2] == {"error": "camera 0: unplugged"}
    assert records(scorers[1], failing()) == expected


def test_results_and_faults_do_not_wait_for_the_next_frame(scorers: tuple[Scorer, Scorer], part: Frames) -> None:
    seen = threading.Semaphore(0)

    def one_by_one() -> Iterator[Shot]:
        """Gives the next shot only when the one before has been reported."""
        for number in range(4):
            yield Shot(number, part(number)) if number % 2 == 0 else Shot(number, None, "lost")
            assert seen.acquire(timeout=LONG)

    with Acquisition(one_by_one(), keep=ALL) as acquired:
        names = []
        for scored in score_shots(scorers[1], acquired):
            names.append(scored.shot.name)
            seen.release()
    assert names == [0, 1, 2, 3]


def test_leaving_early_does_not_wait_for_a_silent_camera(scorers: tuple[Scorer, Scorer], part: Frames) -> None:
    ended = threading.Event()

    def silent() -> Iterator[Shot]:
        yield Shot(0, part(0))
        ended.wait(LONG)

    with Acquisition(silent(), keep=ALL, ended=ended) as acquired:
        for scored in score_shots(scorers[1], acquired):
            assert scored.result is not None
            break
    assert ended.is_set()


def test_a_tally_counts_verdicts_stops_and_times(scorers: tuple[Scorer, Scorer], part: Frames) -> None:
    tally = Tally()
    assert not tally and tally.good
    frame, bundle = part(0), scorers[0].bundle
    tally.add(Scored(Shot(0, frame), scorers[0](frame), bundle=bundle))
    assert tally and tally.good and len(tally.milliseconds) == 1
    tally.add(Scored(Shot(1, None, "lost"), None, "lost", bundle=bundle))
    assert not tally.good and dict(tally.verdicts) == {"good": 1, "cannot_judge": 1} and tally.stops == 0
    tally.add(Scored(Shot(None, None, "stopped"), None, "stopped", bundle=bundle))
    assert tally.stops == 1 and tally.verdicts.total() == 2
    with pytest.raises(FrameError):
        scorers[0](frame[:0])
