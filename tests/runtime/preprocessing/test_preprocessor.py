"""The preprocessor on onnxruntime against whole matrices in numpy, and against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.runtime import FrameError
from spade_edge.runtime.geometry.layout import WHOLE, Box, Canvas, Layout
from spade_edge.runtime.geometry.resample import resample, resampling_weights
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.preprocessing import preprocessor as module
from spade_edge.runtime.preprocessing.mask import PAINT, Mask
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor

VIEWS = {
    "square": View(resize=(64, 64), size=(64, 64)),
    "wide": View(resize=(64, 160), size=(64, 160)),
    "cropped": View(resize=(256, 256), size=(224, 224)),
    "cropped unevenly": View(resize=(75, 101), size=(64, 96)),
}
PREPROCESSORS = {name: Preprocessor(Canvas(WHOLE, view)) for name, view in VIEWS.items()}


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def in_numpy(view: View, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One matrix per axis, over the whole frame."""
    frame = frame[:, :, np.newaxis] if frame.ndim == 2 else frame
    rows, columns = (
        resampling_weights(source, target)[start : start + side]
        for source, target, start, side in zip(frame.shape[:2], view.resize, view.offset, view.size, strict=True)
    )
    return np.broadcast_to(resample(frame, rows=rows, columns=columns), (*view.size, 3))


def same(preprocessor: Preprocessor, frame: NDArray[np.uint8]) -> None:
    seen = preprocessor(frame)
    assert seen.dtype == np.float32
    assert seen.shape == (1, *preprocessor.canvas.view.size, 3)
    assert seen.flags.c_contiguous
    assert np.abs(seen[0] - in_numpy(preprocessor.canvas.view, frame)).max() <= 1e-3


SIZES = ((1, 1), (1, 50), (50, 1), (2, 3), (1, 3000), (3000, 1), (64, 64), (63, 65), (17, 400), (400, 17), (480, 640))
SHAPES = ((), (1,), (3,))  # (H, W), (H, W, 1), (H, W, 3)
# Every pair of a view, a size and a shape.
PAIRS = [(name, (*size, *SHAPES[(i + j) % 3])) for i, name in enumerate(VIEWS) for j, size in enumerate(SIZES)]


@pytest.mark.parametrize(("name", "shape"), PAIRS)
def test_it_sees_what_the_view_sees(name: str, shape: tuple[int, ...]) -> None:
    same(PREPROCESSORS[name], noise(*shape))


def test_the_pairs_are_complete() -> None:
    for size in SIZES:
        assert {shape[2:] for _, shape in PAIRS if shape[:2] == size} == set(SHAPES)
        assert {name for name, shape in PAIRS if shape[:2] == size} == set(VIEWS)
    assert {(name, shape[2:]) for name, shape in PAIRS} == {(name, shape) for name in VIEWS for shape in SHAPES}


@pytest.mark.parametrize("name", VIEWS)
def test_a_camera_frame(name: str) -> None:
    same(PREPROCESSORS[name], noise(1080, 1920))
    same(PREPROCESSORS[name], noise(1080, 1920, 3))


def test_strides_do_not_matter() -> None:
    frame = noise(180, 140, 3)
    for strided in (frame[::2, ::-1], frame[:, :, ::-1], np.asfortranarray(frame), frame.transpose(1, 0, 2)):
        same(PREPROCESSORS["square"], strided)
    same(PREPROCESSORS["square"], frame[:, :, 1])
    same(PREPROCESSORS["square"], frame[3:, 5:, 1:2])
    frame.flags.writeable = False
    same(PREPROCESSORS["square"], frame)


def test_sizes_that_came_before_do_not_change_a_bit() -> None:
    frames = [noise(*shape) for shape in ((300, 200, 3), (31, 47, 3), (64, 64), (200, 300, 3), (1, 9), (300, 201, 3))]
    preprocessor = Preprocessor(Canvas(WHOLE, VIEWS["square"]))
    first = [preprocessor(frame) for frame in frames]
    for frame, seen in zip(frames[::-1], first[::-1], strict=True):
        assert np.array_equal(preprocessor(frame), seen)
        assert np.array_equal(Preprocessor(Canvas(WHOLE, VIEWS["square"]))(frame), seen)


def test_a_frame_of_a_new_size_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(module, "Kernel", lambda graph, **more: compiled.append(graph) or Kernel(graph, **more))
    preprocessor = Preprocessor(Canvas(WHOLE, VIEWS["wide"]))
    preprocessor(noise(300, 200, 3))
    preprocessor(noise(300, 200))
    known = len(compiled)
    # The large one has more numbers than are converted at once.
    for shape in ((301, 200, 3), (1, 1, 3), (64, 160, 3), (90, 1000), (16, 32766, 3), (3, 4)):
        same(preprocessor, noise(*shape))
    assert len(compiled) == known


def test_of_a_large_frame_a_group_of_rows_is_converted_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []  # how many groups are converted at a time, in each run

    class Watched(Kernel):
        def __init__(self, graph: Graph, *, threads: int | None) -> None:
            super().__init__(graph, threads=threads)
            self.conversions = graph.to_bytes().count(b"Cast")

        def __call__(self, **inputs: NDArray[np.generic]) -> tuple[NDArray[np.generic], ...]:
            runs.append(len(inputs["sources"]) // self.conversions)
            return super().__call__(**inputs)

    monkeypatch.setattr(module, "Kernel", Watched)
    preprocessor = Preprocessor(Canvas(WHOLE, VIEWS["square"]))
    for shape in ((64, 64), (300, 1000, 3), (16, 32766, 3)):
        preprocessor(noise(*shape))
    assert runs == [8, 8, 1]  # of 8 groups


def test_more_sizes_than_are_kept_are_seen_alike() -> None:
    preprocessor = Preprocessor(Canvas(WHOLE, VIEWS["square"]))
    for width in range(60, 60 + 2 * module.SIZES):
        same(preprocessor, noise(70, width))


@pytest.mark.parametrize("name", VIEWS)
def test_large_and_small_frames_are_resampled_alike(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    frames = [noise(*shape) for shape in ((1, 1), (50, 90, 3), (64, 160, 3), (700, 300, 3), (300, 1500))]
    small = [PREPROCESSORS[name](frame) for frame in frames]
    monkeypatch.setattr(module, "AT_ONCE", 0)
    for frame, seen in zip(frames, small, strict=True):
        assert np.array_equal(Preprocessor(Canvas(WHOLE, VIEWS[name]))(frame), seen)


def test_grey_frames_are_grey_in_every_channel() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    expected = PREPROCESSORS["square"](np.repeat(grey[:, :, None], 3, axis=2))
    assert np.allclose(PREPROCESSORS["square"](grey), expected, atol=1e-3)
    assert np.array_equal(PREPROCESSORS["square"](grey[:, :, None]), PREPROCESSORS["square"](grey))


def test_strides_do_not_change_a_bit() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (180, 140, 3), dtype=np.uint8)
    for strided in (frame[::2, ::-1], frame[:, :, ::-1], np.asfortranarray(frame), frame.transpose(1, 0, 2)):
        assert np.array_equal(PREPROCESSORS["square"](strided), PREPROCESSORS["square"](np.ascontiguousarray(strided)))


def test_channels_keep_their_order() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:, :, 0] = 200  # blue
    (view,) = PREPROCESSORS["square"](frame)
    assert np.allclose(view[:, :, 0], 200)
    assert np.allclose(view[:, :, 1:], 0)


def test_one_pixel_is_a_frame() -> None:
    assert np.allclose(PREPROCESSORS["square"](np.full((1, 1), 7, np.uint8)), 7)


def test_the_papers_crop_is_the_middle() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    whole = cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32)
    assert np.abs(PREPROCESSORS["cropped"](frame)[0] - whole[16:240, 16:240]).max() <= 0.5


def test_the_frame_is_left_as_it_was() -> None:
    frame = noise(100, 90, 3)
    before = frame.copy()
    first = PREPROCESSORS["square"](frame)
    kept = first.copy()
    PREPROCESSORS["square"](np.zeros_like(frame))  # the next frame does not write into the former view
    assert np.array_equal(frame, before)
    assert np.array_equal(first, kept)


def test_channels_keep_their_order_and_grey_is_grey() -> None:
    frame = np.zeros((300, 200, 3), np.uint8)
    frame[:, :, 0] = 200
    frame[:, :, 2] = 50
    assert np.allclose(PREPROCESSORS["cropped"](frame), [200, 0, 50], atol=1e-3)
    (grey,) = PREPROCESSORS["cropped"](noise(300, 200))
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
        assert np.abs(PREPROCESSORS[name](frame)[0] - expected).max() <= 1


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
        PREPROCESSORS["square"](frame)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


REGIONS: tuple[Box, ...] = (
    (0, 0, 150, 90),
    (7, 11, 64, 64),
    (140, 3, 9, 77),
    (30, 20, 64, 64),
    (149, 89, 1, 1),
    (0, 60, 32, 30),
)
FRAME = (90, 150)  # height, width


def regions(
    view: View, boxes: tuple[Box, ...] = REGIONS, frame: tuple[int, int] = FRAME, *, masked: bool = False
) -> Canvas:
    return Canvas(Layout(frame, boxes, masked), view)


@pytest.mark.parametrize("name", ["square", "wide"])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_a_region_is_seen_as_if_the_frame_had_been_cut_to_it(name: str, channels: int | None) -> None:
    frame = noise(*FRAME) if channels is None else noise(*FRAME, channels)
    preprocessor = Preprocessor(regions(VIEWS[name]))
    for one in (frame, frame[::-1, ::-1], np.asfortranarray(frame), frame[:, ::-1]):
        seen = preprocessor(one)
        assert seen.dtype == np.float32 and seen.flags.c_contiguous
        assert seen.shape == (len(REGIONS), *VIEWS[name].size, 3)
        for view, (x, y, width, height) in zip(seen, REGIONS, strict=True):
            cut = np.ascontiguousarray(one[y : y + height, x : x + width])
            assert np.array_equal(view, PREPROCESSORS[name](cut)[0])
            assert np.abs(view - in_numpy(VIEWS[name], cut)).max() <= 1e-3


def test_what_lies_outside_a_region_is_not_seen_in_it() -> None:
    boxes: tuple[Box, ...] = ((20, 10, 64, 64), (90, 30, 41, 37))
    preprocessor = Preprocessor(regions(VIEWS["square"], boxes))
    frame = noise(*FRAME, 3)
    other = 255 - frame
    for x, y, width, height in boxes:
        other[y : y + height, x : x + width] = frame[y : y + height, x : x + width]
    assert np.array_equal(preprocessor(frame), preprocessor(other))


@pytest.mark.parametrize("size", [(150, 90), (90, 151), (89, 150), (1, 1)])
def test_boxes_are_for_frames_of_one_size(size: tuple[int, int]) -> None:
    preprocessor = Preprocessor(regions(VIEWS["square"]))
    with pytest.raises(FrameError, match=f"expected frames of 150x90 pixels.* found {size[1]}x{size[0]}; ") as caught:
        preprocessor(noise(*size, 3))
    assert "\n" not in str(caught.value)
    with pytest.raises(FrameError, match="expected a uint8 array"):
        preprocessor(np.zeros((*FRAME, 3), np.float32))


MASKED_BOXES: dict[str, tuple[Box, ...]] = {
    "shrunk": ((0, 0, 150, 90),),
    "as it is": ((20, 10, 64, 64),),
    "grown": ((60, 30, 23, 31),),
    "all three": ((0, 0, 150, 90), (20, 10, 64, 64), (60, 30, 23, 31)),
    "shrunk along one axis": ((0, 20, 150, 20),),
}


@pytest.mark.parametrize("boxes", MASKED_BOXES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_ignored_pixels_do_not_change_a_bit_of_any_view(boxes: str, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    looked_at = np.ones(FRAME, bool)
    looked_at[32:38, 62:70] = False  # every view sees some of it
    for _ in range(4):
        x, y = int(rng.integers(150)), int(rng.integers(90))
        looked_at[y : y + int(rng.integers(1, 30)), x : x + int(rng.integers(1, 30))] = False
    canvas = regions(VIEWS["square"], MASKED_BOXES[boxes], masked=True)
    mask = Mask(looked_at)
    preprocessor, bare = Preprocessor(canvas, mask=mask), Preprocessor(canvas)
    frame = noise(*FRAME, channels)
    seen, painted = preprocessor(frame), mask.painted(canvas)
    assert preprocessor.painted is not None and np.array_equal(preprocessor.painted, painted) and bare.painted is None
    assert painted.shape == (len(canvas.boxes), 64, 64) and painted.dtype == bool
    assert seen.dtype == np.float32 and seen.flags.c_contiguous
    for value in (0, 255, rng.integers(0, 256, (*FRAME, channels), dtype=np.uint8)):
        assert np.array_equal(preprocessor(np.where(looked_at[..., None], frame, value).astype(np.uint8)), seen)
    # The rest is seen as without a mask, and painted is no more than what the ignored pixels reach.
    assert np.array_equal(seen[~painted], bare(frame)[~painted])
    assert (seen[painted] == np.array(PAINT, np.float32)).all()
    black, white = (bare(np.where(looked_at[..., None], frame, value).astype(np.uint8)) for value in (0, 255))
    assert np.array_equal((black != white).any(axis=-1), painted)
    assert painted.any() and not painted.all()


def test_a_mask_that_ignores_nothing_is_none() -> None:
    canvas = regions(VIEWS["wide"], masked=True)
    frame = noise(*FRAME, 3)
    assert np.array_equal(Preprocessor(canvas, mask=Mask(np.ones(FRAME, bool)))(frame), Preprocessor(canvas)(frame))
