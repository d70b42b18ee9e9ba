"""Frames of Motion JPEG."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from spade_edge.runtime import DataError
from spade_edge.tools.sources.video.motion_jpeg import frame_of

WRONG = b"\x89PNG\r\n\x1a\n"
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
JPEG = cv2.imencode(".jpg", IMAGE)[1].tobytes()


def test_a_frame_is_what_the_image_file_would_be() -> None:
    expected = cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(frame_of(JPEG, height=48), expected)
    assert np.array_equal(frame_of(JPEG + bytes(500)), expected)  # padded, as cameras do


def test_a_grey_frame_gets_three_channels() -> None:
    jpeg = cv2.imencode(".jpg", IMAGE[:, :, 1])[1]
    frame, grey = frame_of(jpeg.tobytes()), cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
    assert frame.shape == (48, 64, 3) and all(np.array_equal(frame[:, :, channel], grey) for channel in range(3))


@pytest.mark.parametrize("jpeg", [b"", WRONG, JPEG[: len(JPEG) // 5], JPEG[:-2], JPEG[:600] + bytes(900)])
def test_what_is_not_whole_is_refused_without_advice_about_files(jpeg: bytes) -> None:
    with pytest.raises(DataError) as refused:
        frame_of(jpeg)
    assert str(refused.value).startswith("expected a") and ";" not in str(refused.value)


@pytest.mark.parametrize("height", [95, 96])
def test_one_field_is_no_frame(height: int) -> None:
    with pytest.raises(DataError, match="every other row"):
        frame_of(JPEG, height=height)
