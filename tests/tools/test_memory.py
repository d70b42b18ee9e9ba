"""Failed allocations, as each library reports them, become one line with figures."""

from __future__ import annotations

import errno

import cv2
import numpy as np
import pytest

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
