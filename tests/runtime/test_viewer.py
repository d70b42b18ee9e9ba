"""The viewer on onnxruntime against whole matrices in numpy, and against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.runtime import FrameError
from spade_edge.runtime.resample import resample, resampling_weights
from spade_edge.runtime.view import View
from spade_edge.runtime.viewer import Viewer

VIEWS = {
    "square": View(resize=(64, 64), size=(64, 64)),
    "wide": View(resize=(64, 160), size=(64, 160)),
    "cropped": View(resize=(256, 256), size=(224, 224)),
    "cropped unevenly": View(resize=(75, 101), size=(64, 96)),
}
VIEWERS = {name: Viewer(view) for name, view in VIEWS.items()}


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def in_numpy(view: View, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One matrix an axis, over the whole frame."""
    frame = frame[:, :, np.newaxis] if frame.ndim == 2 else frame
    rows, columns = (
        resampling_weights(source, target)[start : start + side]
        for source, target, start, side in zip(frame.shape[:2], view.resize, view.offset, view.size, strict=True)
    )
    return np.broadcast_to(resample(frame, rows=rows, columns=columns), (*view.size, 3))


def same(viewer: Viewer, frame: NDArray[np.uint8]) -> None:
    seen = viewer(frame)
    assert seen.dtype == np.float32
    assert seen.shape == (*viewer.view.size, 3)
    assert seen.flags.c_contiguous
    assert np.abs(seen - in_numpy(viewer.view, frame)).max() <= 1e-3


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("channels", [None, 1, 3], ids=["H, W", "H, W, 1", "H, W, 3"])
@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 50), (50, 1), (2, 3), (1, 3000), (3000, 1), (64, 64), (63, 65), (17, 400), (400, 17), (480, 640)],
)
def test_it_sees_what_the_view_sees(name: str, channels: int | None, size: tuple[int, int]) -> None:
    same(VIEWERS[name], noise(*size) if channels is None else noise(*size, channels))


@pytest.mark.parametrize("name", VIEWS)
def test_a_camera_frame(name: str) -> None:
    same(VIEWERS[name], noise(1080, 1920))
    same(VIEWERS[name], noise(1080, 1920, 3))


def test_strides_do_not_matter() -> None:
    frame = noise(180, 140, 3)
    for strided in (frame[::2, ::-1], frame[:, :, ::-1], np.asfortranarray(frame), frame.transpose(1, 0, 2)):
        same(VIEWERS["square"], strided)
    same(VIEWERS["square"], frame[:, :, 1])
    same(VIEWERS["square"], frame[3:, 5:, 1:2])
    frame.flags.writeable = False
    same(VIEWERS["square"], frame)


def test_grey_frames_are_grey_in_every_channel() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    expected = VIEWERS["square"](np.repeat(grey[:, :, None], 3, axis=2))
    assert np.allclose(VIEWERS["square"](grey), expected, atol=1e-3)
    assert np.array_equal(VIEWERS["square"](grey[:, :, None]), VIEWERS["square"](grey))


def test_strides_do_not_change_a_bit() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (180, 140, 3), dtype=np.uint8)
    for strided in (frame[::2, ::-1], frame[:, :, ::-1], np.asfortranarray(frame), frame.transpose(1, 0, 2)):
        assert np.array_equal(VIEWERS["square"](strided), VIEWERS["square"](np.ascontiguousarray(strided)))


def test_channels_keep_their_order() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:, :, 0] = 200  # blue
    view = VIEWERS["square"](frame)
    assert np.allclose(view[:, :, 0], 200)
    assert np.allclose(view[:, :, 1:], 0)


def test_one_pixel_is_a_frame() -> None:
    assert np.allclose(VIEWERS["square"](np.full((1, 1), 7, np.uint8)), 7)


def test_the_papers_crop_is_the_middle() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    whole = cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32)
    assert np.abs(VIEWERS["cropped"](frame) - whole[16:240, 16:240]).max() <= 0.5


def test_the_frame_is_left_as_it_was() -> None:
    frame = noise(100, 90, 3)
    before = frame.copy()
    first = VIEWERS["square"](frame)
    kept = first.copy()
    VIEWERS["square"](np.zeros_like(frame))  # the next frame does not write into the former view
    assert np.array_equal(frame, before)
    assert np.array_equal(first, kept)


def test_channels_keep_their_order_and_grey_is_grey() -> None:
    frame = np.zeros((300, 200, 3), np.uint8)
    frame[:, :, 0] = 200
    frame[:, :, 2] = 50
    assert np.allclose(VIEWERS["cropped"](frame), [200, 0, 50], atol=1e-3)
    grey = VIEWERS["cropped"](noise(300, 200))
    assert np.array_equal(grey[:, :, 0], grey[:, :, 1]) and np.array_equal(grey[:, :, 0], grey[:, :, 2])


@pytest.mark.parametrize("size", [(1080, 1920), (517, 333), (256, 300), (400, 1000)])
@pytest.mark.parametrize("channels", [1, 3])
def test_shrinking_agrees_with_inter_area_to_a_grey_level(size: tuple[int, int], channels: int) -> None:
    frame = noise(*size, channels)
    for name, view in VIEWS.items():
        whole = cv2.resize(frame, view.resize[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        whole = whole.reshape(*view.resize, channels)
        top, left = ((r - s) // 2 for r, s in zip(view.resize, view.size, strict=True))
        expected = whole[top : top + view.size[0], left : left + view.size[1]]
        assert np.abs(VIEWERS[name](frame) - expected).max() <= 1


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((0, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros((5, 5, 0), np.uint8),
        np.zeros((2, 5, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((5, 5, 3), np.uint16),
        np.zeros((5, 5, 3), np.int8),
        np.zeros((5, 5), bool),
        np.zeros((1, 32767), np.uint8),
        np.zeros((32767, 1), np.uint8),
        [[1, 2], [3, 4]],
        None,
    ],
)
def test_what_is_not_a_frame_is_refused_in_one_line(frame: object) -> None:
    with pytest.raises(FrameError, match=r"expected .*, found ") as caught:
        VIEWERS["square"](frame)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
