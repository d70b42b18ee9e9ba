"""Drift in a run: said once when it begins and once when it ends, and kept in a file that never ends a run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import FrameResult, Scorer, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.scoring.line_drift import LineDrift
from spade_edge.tools.scoring.record import record
from spade_edge.tools.scoring.scored import Scored
from spade_edge.tools.sources import Shot

Frames = Callable[..., NDArray[np.uint8]]
NOON = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC


@pytest.fixture(scope="module")
def scorer(edge: Built) -> Scorer:
    return Scorer.open(edge.path)


@pytest.fixture(scope="module")
def judged(scorer: Scorer, part: Frames) -> FrameResult:
    result = scorer(part(2))
    assert result.verdict == "good"
    return result


class Line:
    """Scored shots of a line, a minute apart."""

    def __init__(self, bundle: Bundle, result: FrameResult) -> None:
        self.bundle, self.result, self.time = bundle, result, NOON

    def shots(self, count: int, *, light: float = 1.0) -> Iterator[Scored]:
        condition = dict(self.result.condition)
        condition["brightness"] *= light
        for _ in range(count):
            self.time += 60
            shot = Shot(0, np.zeros((2, 2), np.uint8), time=self.time)
            yield Scored(shot, replace(self.result, condition=condition), bundle=self.bundle)


@pytest.fixture
def line(scorer: Scorer, judged: FrameResult) -> Line:
    return Line(scorer.bundle, judged)


def test_drift_is_said_when_it_begins_and_when_it_ends_and_its_lines_have_it(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    drift = LineDrift(line.bundle)
    with caplog.at_level(logging.WARNING):
        for scored in line.shots(100):
            assert "drift" not in record(scored, live=False, drift=drift.add(scored))
        assert drift.summary == ""
        records = [record(scored, live=False, drift=drift.add(scored)) for scored in line.shots(30, light=1.1)]
        heard = ["drift" in fields for fields in records]
        assert heard == [False] * heard.index(True) + [True] * (30 - heard.index(True)) and heard.index(True) < 12
        last = json.loads(json.dumps(records[-1]))["drift"]
        assert last["since"] == "2026-09-21T15:54:20.000+00:00" and last["words"] == "brightness +10 %"
        assert [change["quantity"] for change in last["changes"]] == ["brightness"]
        assert drift.add(Scored(Shot(None, None, "stopped"), None, "stopped", bundle=line.bundle)) is None
        said = "parts look different since 2026-09-21 15:54 UTC: brightness +10 %"
        assert drift.summary == said and caplog.messages == [said]
        times = [scored.shot.time for scored in line.shots(100) if drift.add(scored) is None]
    assert 60 < len(times) < 95
    ended = datetime.fromtimestamp(times[0], timezone.utc).strftime("%H:%M")
    assert caplog.messages[1:] == [drift.summary]
    assert drift.summary.startswith("parts looked different from 2026-09-21 15:54 UTC: brightness")
    assert drift.summary.endswith(f", until 2026-09-21 {ended} UTC")


def test_a_run_goes_on_from_the_file_of_the_run_before(line: Line, tmp_path: Path) -> None:
    file = tmp_path / "new" / "drift.json"
    first = LineDrift(line.bundle, file=file)
    for scored in line.shots(100):
        first.add(scored)
    first.keep()
    second = LineDrift(line.bundle, file=file)
    assert any(second.add(scored) for scored in line.shots(12, light=1.1))
    # Written when drift began, so that a run that is killed now is continued, too.
    third = LineDrift(line.bundle, file=file)
    assert third.add(next(line.shots(1, light=1.1))) is not None
    assert sorted(path.name for path in file.parent.iterdir()) == ["drift.json"]


def test_the_state_is_written_every_minute(line: Line, tmp_path: Path) -> None:
    now, file = [0.0], tmp_path / "drift.json"
    drift = LineDrift(line.bundle, file=file, clock=lambda: now[0])
    for seconds, written in ((59.0, False), (60.0, True), (119.0, False), (120.0, True)):
        now[0] = seconds
        drift.add(next(line.shots(1)))
        assert file.exists() == written
        file.unlink(missing_ok=True)


def other_bundle(text: str) -> str:
    state = json.loads(text)
    state["bases"]["light"] = "0" * 64
    return json.dumps(state)


@pytest.mark.parametrize(
    "spoil",
    [lambda text: "", lambda text: "\0" * len(text), lambda text: text[:-100], other_bundle,
     lambda text: text + " " * (5 << 20), lambda text: text.replace('"reference": [', '"reference": [1e400, ')],
    ids=["empty", "zeros", "cut", "of another bundle", "too large", "infinity"],
)  # fmt: skip
def test_a_state_that_cannot_be_used_is_named_and_begun_anew(
    line: Line, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[str], str]
) -> None:
    file = tmp_path / "drift.json"
    LineDrift(line.bundle, file=file).keep()
    whole = file.read_text()
    file.write_text(spoil(whole))
    with caplog.at_level(logging.WARNING):
        drift = LineDrift(line.bundle, file=file)
    (message,) = caplog.messages
    assert str(file) in message and "\n" not in message and "Traceback" not in message
    drift.keep()
    assert file.read_text() == whole


@pytest.mark.parametrize("kind", ["text", "folder", "link", "pipe"])
def test_what_spade_edge_did_not_write_is_not_replaced(line: Line, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "drift.json"
    if kind == "text":
        file.write_text('{"mine": 1}')
    elif kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(file)
    with pytest.raises(UsageError):
        LineDrift(line.bundle, file=file)


def test_a_state_that_cannot_be_written_ends_nothing_and_is_said_once(
    line: Line, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    drift = LineDrift(line.bundle, file=tmp_path / "file" / "drift.json")
    with caplog.at_level(logging.WARNING):
        for scored in line.shots(100):
            drift.add(scored)
        heard = [drift.add(scored) for scored in line.shots(12, light=1.1)]
        drift.keep()
    assert heard[-1] is not None
    assert sum("not kept" in message for message in caplog.messages) == 1


def test_another_generation_is_followed(line: Line, judged: FrameResult) -> None:
    drift = LineDrift(line.bundle)
    usual = [replace(judged, p=0.5)] * 100
    for result in usual:
        drift.add(Scored(Shot(0, None, time=NOON), result, bundle=line.bundle))
    first, *others = line.bundle.manifest.images
    images = (replace(first, score=first.score + 1), *others)
    taught: Any = replace(line.bundle, manifest=replace(line.bundle.manifest, images=images))
    for _ in range(50):  # p has another meaning now, and is learned anew
        assert drift.add(Scored(Shot(0, None, time=NOON), replace(judged, p=0.01), bundle=taught)) is None
    line.bundle = taught
    assert any(drift.add(scored) for scored in line.shots(12, light=1.1))
