"""What is a frame, and that the advice for everything else makes one of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.runtime.errors import FrameError, UsageError
from spade_edge.runtime.geometry.frame import BGR, RGB, as_bgr, check_channels, checked
from spade_edge.runtime.geometry.view import LARGEST_SIDE

RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (20, 30, 3), np.uint8)
GREY = RNG.integers(0, 256, (20, 30), np.uint8)
FRAME[0, 0] = GREY[0, 0] = 255
DEEP = FRAME.astype(np.uint16)


def refusal(frame: object) -> str:
    with pytest.raises(FrameError) as caught:
        checked(frame)
    text = str(caught.value)
    assert text.startswith("expected a uint8 array of shape (H, W, 3), ") and ", found " in text and "\n" not in text
    return text


def advised(frame: object) -> NDArray[np.uint8]:
    """What the advice gives."""
    (code,) = re.findall(r"take (.+?)(?:, with|; an array|$)", refusal(frame))
    return checked(eval(code, {"frame": frame, "numpy": np}))  # noqa: S307  (our own message)


def test_frames_pass_as_they_are() -> None:
    assert checked(FRAME) is FRAME
    assert checked(GREY).shape == (20, 30, 1) and np.array_equal(checked(GREY)[:, :, 0], GREY)
    assert checked(GREY[:, :, None]).shape == (20, 30, 1)
    assert checked(FRAME[::2, ::-1]).shape == (10, 30, 3)
    assert checked(FRAME[:3]).shape == (3, 30, 3)  # three rows are no channels


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (FRAME.transpose(2, 0, 1), FRAME),
        (GREY[None], GREY[:, :, None]),
        (FRAME.transpose(2, 0, 1)[None], FRAME),
        (FRAME[None], FRAME),
        (np.dstack([FRAME, GREY]), FRAME),
        (np.dstack([FRAME, GREY]).transpose(2, 0, 1), FRAME),
        (np.dstack([GREY, GREY]), GREY[:, :, None]),
        (FRAME.astype(np.float32) / 255, FRAME),
        ((FRAME / 255).transpose(2, 0, 1), FRAME),
        (FRAME.astype(np.float64), FRAME),
        (FRAME.astype(np.float16), FRAME),
        (FRAME.astype(np.int64), FRAME),
        (FRAME.astype(np.uint16), FRAME),
        (GREY > 100, (GREY > 100)[:, :, None].astype(np.uint8) * 255),
        (DEEP << 2, FRAME),
        (DEEP << 4, FRAME),
        (DEEP << 6, FRAME),
        (DEEP * 257, FRAME),
        ((DEEP << 4).transpose(2, 0, 1), FRAME),
    ],
)
def test_the_advice_makes_a_frame(frame: NDArray[np.generic], expected: NDArray[np.uint8]) -> None:
    assert np.array_equal(advised(frame), expected)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (None, "did the camera deliver an image"),
        ([1, 2], "numpy.array(frame, 'uint8')"),
        ([FRAME, FRAME], "scorer.batch(frames)"),
        (np.stack([FRAME] * 5), "scorer.batch(frames)"),
        (b"abc", "numpy.frombuffer"),
        ("part.png", "open_source"),
        (Path("part.png"), "open_source"),
        (7, "numpy.asarray"),
        (np.zeros((0, 5), np.uint8), "did the camera deliver an image"),
        (np.zeros((0, 5, 3), np.float32), "did the camera deliver an image"),
        (FRAME - 300.0, "undo the normalisation"),
        (np.full((5, 5), np.nan), "undo the normalisation"),
        (np.full((5, 5), np.inf), "scale its numbers"),
        (np.full((5, 5), -1), "scale its numbers"),
        (np.full((5, 5), 1 << 20), "scale its numbers"),
        (np.zeros((5, 5), complex), "whole numbers"),
        (np.zeros((5, 5), "U3"), "whole numbers"),
        (np.zeros((9, 9, 7), np.uint8), "channels last"),
        (np.zeros(9, np.uint8), "channels last"),
        (np.zeros((1, 1, 1, 1, 1), np.uint8), "channels last"),
    ],
)
def test_what_is_no_frame_is_refused_in_one_line(frame: object, says: str) -> None:
    assert says in refusal(frame)


def test_pictures_of_pillow_and_tensors_of_torch_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, kind, says in (
        ("PIL.Image", "Image", "numpy.asarray(frame.convert('RGB'))"),
        ("torch", "Tensor", "frame.cpu().numpy()"),
    ):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
        found = refusal(type(kind, (), {"__module__": package})())
        assert says in found and f"found {package.split('.')[0]} {kind}" in found


def test_a_frame_that_is_too_large() -> None:
    with pytest.raises(FrameError, match=f"at most {LARGEST_SIDE} pixels"):
        checked(np.zeros((1, LARGEST_SIDE + 1), np.uint8))


def test_the_order_of_the_channels() -> None:
    assert as_bgr(FRAME, BGR) is FRAME
    assert np.array_equal(as_bgr(FRAME, RGB), FRAME[:, :, ::-1])
    assert np.array_equal(as_bgr(GREY, RGB), GREY)
    with pytest.raises(FrameError):
        as_bgr(FRAME.astype(float), RGB)
    check_channels(BGR)
    for other in ("RGB", "gbr", ""):
        with pytest.raises(UsageError, match="bgr or rgb"):
            check_channels(other)
