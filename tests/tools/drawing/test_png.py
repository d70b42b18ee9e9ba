"""PNG files in strips, read back by OpenCV."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from spade_edge.tools.drawing.png import STRIP, is_png_of_ours, write_png


def written(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    write_png(file, picture)
    return file.getvalue()


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 5), (1, 3000), (3000, 1), (240, 320), (5, STRIP // 3 + 1), (STRIP // 3000 * 3 + 2, 1000)]
)
def test_opencv_reads_what_was_written(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = np.tile(rng.integers(0, 256, (1, size[1], 3), dtype=np.uint8), (size[0], 1, 1))
    picture[:: max(1, size[0] // 7)] = rng.integers(0, 256, 3)
    content = written(picture)
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(found, picture)
    assert is_png_of_ours(content[:64])


def test_a_view_of_a_picture_is_written_as_it_is_seen() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)[::2, ::-1]
    found = cv2.imdecode(np.frombuffer(written(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(found, picture)


def test_files_of_others_are_not_taken_for_ours() -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    assert not is_png_of_ours(cv2.imencode(".png", picture)[1].tobytes())
    assert not is_png_of_ours(cv2.imencode(".jpg", picture)[1].tobytes())
    assert not is_png_of_ours(b"")
    other = written(picture).replace(b"spade-edge", b"some other")
    assert not is_png_of_ours(other)
