"""Failed allocations, as each library reports them, become one line with figures."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import FrameResult, Scorer
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.memory import available, shortage


def failure_of_numpy() -> Exception:
    with pytest.raises(MemoryError) as failed:
        np.empty(1 << 60, np.uint8)
    return failed.value


def failure_of_opencv() -> Exception:
    # 16,384 pixels a side with 4 numbers of 8 bytes each, 512 times: no machine has so much.
    with pytest.raises(cv2.error) as failed:
        cv2.copyMakeBorder(np.zeros((1, 1, 4)), 0, 1 << 24, 0, 1 << 24, cv2.BORDER_CONSTANT)
    return failed.value


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (failure_of_numpy(), "1152921504.61 GB more are needed"),
        (failure_of_opencv(), "GB more are needed"),
        (MemoryError(), "too little memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "too little memory"),
        (
            RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 2500000000"),
            "2.50 GB more are needed",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 40000000 bytes"), "0.04 GB"),
        (RuntimeError("std::bad_alloc"), "too little memory"),
        (RuntimeError("can't start new thread"), "too little memory"),
    ],
)
def test_a_failed_allocation(problem: Exception, says: str) -> None:
    said = shortage(problem)
    assert said is not None and says in said and "\n" not in said and "shape" not in said


@pytest.mark.parametrize("problem", [ValueError("x"), OSError(errno.ENOSPC, "No space left on device"), KeyError(5)])
def test_other_failures(problem: Exception) -> None:
    assert shortage(problem) is None


def test_what_is_available() -> None:
    free = available()
    assert free is None or 0 < free < 1 << 50


def test_a_frame_that_memory_does_not_hold_gets_no_verdict_and_the_run_goes_on(
    capsys: pytest.CaptureFixture[str], edge: Built, part: Callable[..., NDArray[np.uint8]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for number, size in enumerate(((96, 80), (99, 80), (98, 80), (97, 80))):
        cv2.imwrite(str(tmp_path / f"{number}.png"), part(20 + number, size=size))
    imdecode, call = cv2.imdecode, Scorer.__call__

    def decode(raw: NDArray[np.uint8], flags: int) -> NDArray[np.uint8] | None:
        image = imdecode(raw, flags)
        if len(image) != 98:
            return image
        os.write(2, b"OpenCV(5.0) error: (-4:Insufficient memory) Failed to allocate 900000000 bytes in function 'x'\n")
        return None

    def score(self: Scorer, frame: NDArray[np.uint8]) -> FrameResult:
        if len(frame) == 99:
            raise failure_of_numpy()
        return call(self, frame)

    monkeypatch.setattr(cv2, "imdecode", decode)
    monkeypatch.setattr(Scorer, "__call__", score)
    code, out, _ = run(capsys, "score", "--bundle", edge.path, tmp_path)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and [line["frame"] for line in lines] == ["0.png", "1.png", "2.png", "3.png"]
    assert [line["verdict"] == "cannot_judge" for line in lines] == [False, True, True, False]
    assert "1152921504.61 GB more are needed" in lines[1]["reason"] and "80x99 pixels" in lines[1]["reason"]
    assert "0.90 GB more are needed" in lines[2]["reason"] and "2.png" in lines[2]["reason"]


def test_little_memory_elsewhere_is_one_line(
    capsys: pytest.CaptureFixture[str], edge: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    for problem in (failure_of_numpy(), failure_of_opencv(), MemoryError()):

        def fail(*_: object, problem: Exception = problem, **__: object) -> None:
            raise problem

        monkeypatch.setattr(Manifest, "read", fail)
        code, out, err = run(capsys, "threshold", "--bundle", edge.path)
        assert (code, out) == (4, "") and err.count("\n") == 1 and "too little memory" in err
