"""Changes of bundles in a process of their own: one at a time, bounded, with the words of the command."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_line import until
from kept_parts import keep, slightly_over
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.galleries.generation import generations
from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.line.page.changes import (
    DONE,
    FAILED,
    PREVIEW,
    RUNNING,
    TEACH,
    THRESHOLD,
    UNDO,
    Change,
    Changes,
    Task,
    generation_of,
)

Part = Callable[..., NDArray[np.uint8]]
TELLS = "import json, os, sys; print(json.dumps([os.getpriority(0, 0), os.getcwd(), sys.argv[1:], dict(os.environ)]))"


@pytest.fixture
def bundle(edge: Built, tmp_path: Path) -> Path:
    return Path(shutil.copytree(edge.path, tmp_path / "bolt.spade"))


@pytest.fixture
def made() -> Iterator[Callable[..., Changes]]:
    all_made: list[Changes] = []

    def make(script: str | None = None, **fields: float) -> Changes:
        command = {} if script is None else {"command": (sys.executable, "-c", script)}
        all_made.append(Changes(**command, **fields))  # type: ignore[arg-type]
        return all_made[-1]

    yield make
    for one in all_made:
        one.end()


def ended(changes: Changes) -> Change:
    until(lambda: changes.last is not None and changes.last.state != RUNNING)
    assert changes.last is not None
    return changes.last


def threshold(bundle: Path, **fields: object) -> Task:
    return replace(Task(THRESHOLD, "bolt", bundle, rate=0.125), **fields)  # type: ignore[arg-type]


def test_a_command_runs_apart_at_low_priority_without_a_shell(
    made: Callable[..., Changes], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd")
    changes = made(TELLS)
    changes.start(threshold(bundle, reason="--score=1; $(reboot) \x00\u202e".replace("\x00", "")))
    change = ended(changes)
    assert change.state == DONE
    nice, folder, arguments, environment = change.outcome
    assert nice == 19 and folder == "/" and "NOTIFY_SOCKET" not in environment and environment["OMP_NUM_THREADS"] == "1"
    assert arguments[:3] == ["threshold", "--bundle", str(bundle)] and "--false-rejects=0.125" in arguments
    assert arguments[-1].startswith("--reason=page: --score=1; $(reboot)")


def test_one_at_a_time(made: Callable[..., Changes], bundle: Path) -> None:
    changes = made("import time; time.sleep(60)")
    changes.start(threshold(bundle))
    with pytest.raises(UsageError):
        changes.start(threshold(bundle))
    changes.end()
    assert ended(changes).state == FAILED
    with pytest.raises(UsageError):  # the page is closed
        changes.start(threshold(bundle))


def test_a_command_that_hangs_is_stopped_with_its_children(made: Callable[..., Changes], bundle: Path) -> None:
    script = "import subprocess, sys; c = subprocess.Popen(['sleep', '60']); print(c.pid, file=sys.stderr); c.wait()"
    for lasts in (1.0, 4.0, 16.0):  # a busy machine needs more until the child has begun
        changes = made(script, lasts=lasts)
        changes.start(threshold(bundle))
        change = ended(changes)
        assert change.state == FAILED
        if change.said:
            break
    assert change.said
    child = int(change.said[0])

    def gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{child}/stat").read_text().split()[2] == "Z"

    until(gone)
    assert made(TELLS).start(threshold(bundle)).state == RUNNING


def test_a_refusal_is_the_line_of_the_command(made: Callable[..., Changes], bundle: Path) -> None:
    changes = made("import sys; print('spade-edge: expected \\x1b[31m a good part', file=sys.stderr); sys.exit(3)")
    changes.start(threshold(bundle))
    change = ended(changes)
    assert (change.state, change.words) == (FAILED, "expected ?[31m a good part")


def test_a_command_that_prints_too_much_costs_no_memory(made: Callable[..., Changes], bundle: Path) -> None:
    script = "import sys; [(print('x' * 9999), print('y' * 9999, file=sys.stderr)) for _ in range(2000)]"
    changes = made(script)
    changes.start(threshold(bundle))
    change = ended(changes)
    assert change.state == FAILED and len(json.dumps(change.to_json())) < 50_000


def test_a_bundle_that_is_not_there_is_a_data_error(made: Callable[..., Changes], tmp_path: Path) -> None:
    with pytest.raises(DataError):
        made().start(threshold(tmp_path / "none"))


def test_teaching_in_with_preview_and_undo(
    made: Callable[..., Changes], bundle: Path, part: Part, tmp_path: Path
) -> None:
    first = generation_of(bundle)
    entry, others = keep(tmp_path / "evidence", bundle, [slightly_over(bundle, part), part(0), part(1)])
    task = Task(PREVIEW, "bolt", bundle, entry=entry, recent=(entry, *others), reason="glare")
    changes = made()
    with pytest.raises(UsageError):  # without a preview
        changes.start(replace(task, kind=TEACH), after=1)
    changes.start(task)
    preview = ended(changes)
    assert (preview.state, preview.words) == (DONE, "") and generation_of(bundle) == first
    effect = preview.to_json()["effect"]
    assert effect["before"] == effect["after"] == Manifest.read(bundle).threshold.score and effect["taught"] == 1
    assert effect["recent"] == {
        "parts": 3,
        "changed": [{"trigger": entry.decision["trigger"], "before": "defect", "after": "good"}],
    }
    with pytest.raises(UsageError):  # the preview of another part
        changes.start(replace(task, kind=TEACH, entry=others[0]), after=preview.number)
    with pytest.raises(UsageError):
        changes.start(replace(task, kind=TEACH), after=preview.number + 1)
    changes.start(replace(task, kind=TEACH), after=preview.number)
    assert ended(changes).state == DONE
    now = generations(bundle)[-1]
    assert (now.who, now.reason, now.verb, now.in_force) == ("page", "glare", "add", True)
    assert now.names[0].endswith("_top_1.png") and not now.names[0].startswith("/")
    with pytest.raises(UsageError):  # the bundle has changed since
        changes.start(replace(task, kind=TEACH), after=preview.number)
    changes.start(Task(UNDO, "bolt", bundle, reason="quality wants to see it"))
    taken_back = ended(changes)
    assert taken_back.state == DONE and generation_of(bundle) == first
    effect = taken_back.to_json()["effect"]
    assert effect["generation"] == 1 and effect["after"] == Manifest.read(bundle).threshold.score


def test_a_frame_that_is_not_the_one_that_was_judged_is_refused(
    made: Callable[..., Changes], bundle: Path, part: Part, tmp_path: Path
) -> None:
    entry, (other,) = keep(tmp_path / "evidence", bundle, [part(0), part(1)])
    assert entry.frame is not None and other.frame is not None
    shutil.copy(other.frame, entry.frame)
    changes = made(TELLS)
    changes.start(Task(PREVIEW, "bolt", bundle, entry=entry))
    assert ended(changes).state == FAILED
    entry.frame.unlink()
    changes.start(Task(PREVIEW, "bolt", bundle, entry=entry))
    assert ended(changes).state == FAILED


def test_what_an_undo_would_do_is_told_also_after_another_undo(bundle: Path) -> None:
    from spade_edge.galleries import set_threshold, undo
    from spade_edge.tools.line.page.site import _undo_view

    assert _undo_view(generations(bundle))["parent"] is None
    for score in (2.0, 3.0):
        set_threshold(bundle, score=score, reason=f"to {score}")
    for number in (3, 2):
        told = _undo_view(generations(bundle))
        assert (told["number"], told["parent"], told["verb"]) == (number, number - 1, "threshold")
        assert generation_of(bundle).startswith(told["manifest"]) and told["reason"] == f"to {number}.0"
        assert undo(bundle).number == told["parent"]
    assert _undo_view(generations(bundle))["parent"] is None
