"""Views made on the device against averages in float64 and against the preprocessor; on the CPU, where the graphs run.

What can be said without a GPU of what is put on one, and of what runs there, is said by a GPU that is none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cuda_kernels import left_to_the_cpu
from fake_gpu import CUDA, Machine
from numpy.typing import NDArray

from spade_edge.runtime import DeviceError, FrameError
from spade_edge.runtime.geometry.layout import WHOLE, Box, Canvas, Layout
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.preprocessing import device_preprocessor as module
from spade_edge.runtime.preprocessing.device_preprocessor import DevicePreprocessor, _graph
from spade_edge.runtime.preprocessing.mask import PAINT, Mask
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor

BOUND = 1e-3  # of a grey level
VIEWS = {
    "square": View(resize=(64, 64), size=(64, 64)),
    "wide": View(resize=(64, 160), size=(64, 160)),
    "cropped unevenly": View(resize=(75, 101), size=(64, 96)),
}
SIZES = ((1, 1), (1, 3000), (3000, 1), (64, 64), (63, 65), (17, 400), (480, 640))
SHAPES = ((), (1,), (3,))
FRAME = (90, 150)
BOXES: tuple[Box, ...] = ((0, 0, 150, 90), (7, 11, 64, 64), (140, 3, 9, 77), (30, 20, 64, 64), (149, 89, 1, 1))
DEVICES = {name: DevicePreprocessor(Canvas(WHOLE, view), threads=1) for name, view in VIEWS.items()}


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def resized(image: NDArray[np.float64], target: int) -> NDArray[np.float64]:
    """The first axis, in float64: differences of the integral over it if it shrinks, else between neighbours."""
    source = len(image)
    if target < source:
        integral = np.concatenate([np.zeros_like(image[:1]), np.cumsum(image, axis=0)])
        return np.diff(between(integral, np.linspace(0, source, target + 1)), axis=0) * (target / source)
    return between(image, np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1))


def between(values: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    left = np.minimum(places.astype(int), len(values) - 1)
    right = np.minimum(left + 1, len(values) - 1)
    part = (places - left).reshape(-1, *[1] * (values.ndim - 1))
    return values[left] * (1 - part) + values[right] * part


def expected(view: View, frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A frame resampled and cropped: (h, w, 3)."""
    image = np.atleast_3d(frame).astype(np.float64)
    whole = resized(resized(image, view.resize[0]).transpose(1, 0, 2), view.resize[1]).transpose(1, 0, 2)
    (top, left), (height, width) = view.offset, view.size
    return np.broadcast_to(whole[top : top + height, left : left + width], (height, width, 3))


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("number", range(len(SIZES)))
def test_a_view_is_what_float64_makes_of_the_frame(name: str, number: int) -> None:
    frame = noise(*SIZES[number], *SHAPES[number % 3])
    seen = DEVICES[name](frame).numpy()
    assert seen.shape == (1, *VIEWS[name].size, 3) and seen.dtype == np.float32
    assert np.abs(seen[0] - expected(VIEWS[name], frame)).max() <= BOUND
    assert np.abs(seen - Preprocessor(Canvas(WHOLE, VIEWS[name]))(frame)).max() <= BOUND


def test_large_parts_are_resampled_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [noise(*shape) for shape in ((50, 90, 3), (700, 300, 3), (300, 1500))]
    small = [DEVICES["wide"](frame).numpy() for frame in frames]
    compiled = []

    def graph(canvas: Canvas, channels: int, *, masked: bool, steps: int) -> Graph:
        compiled.append(steps)
        return _graph(canvas, channels, masked=masked, steps=steps)

    monkeypatch.setattr(module, "_graph", graph)
    monkeypatch.setattr(module, "AT_ONCE", 20000)  # the first frame has fewer
    device = DevicePreprocessor(Canvas(WHOLE, VIEWS["wide"]), threads=1)
    for frame, seen in zip(frames, small, strict=True):
        assert np.abs(device(frame).numpy() - seen).max() <= BOUND
    assert compiled == [1, 8, 8]  # colour and grey, one group of rows at a time


def test_strides_do_not_change_a_bit() -> None:
    frame = noise(180, 140, 3)
    for strided in (frame[::2, ::-1], frame[:, :, ::-1], np.asfortranarray(frame), frame.transpose(1, 0, 2)):
        seen = DEVICES["square"](strided).numpy()
        assert np.array_equal(seen, DEVICES["square"](np.ascontiguousarray(strided)).numpy())


def test_a_later_frame_does_not_write_into_the_former_view() -> None:
    first, second = noise(100, 90, 3), noise(90, 100)
    views = [DEVICES["square"](frame) for frame in (first, 255 - first, second)]
    for view, frame in zip(views, (first, 255 - first, second), strict=True):
        assert np.abs(view.numpy()[0] - expected(VIEWS["square"], frame)).max() <= BOUND


@pytest.mark.parametrize("channels", [1, 3])
def test_each_box_is_a_view(channels: int) -> None:
    frame = noise(*FRAME, channels)
    canvas = Canvas(Layout(FRAME, BOXES), VIEWS["square"])
    seen = DevicePreprocessor(canvas, threads=1)(frame).numpy()
    assert seen.shape == (len(BOXES), 64, 64, 3)
    for view, (x, y, width, height) in zip(seen, BOXES, strict=True):
        part = frame[y : y + height, x : x + width]
        assert np.abs(view - expected(VIEWS["square"], part)).max() <= BOUND
    assert np.abs(seen - Preprocessor(canvas)(frame)).max() <= BOUND


@pytest.mark.parametrize("channels", [1, 3])
def test_ignored_pixels_do_not_change_a_bit_of_any_view(channels: int) -> None:
    looked_at = np.ones(FRAME, bool)
    looked_at[32:38, 62:70] = False
    looked_at[5:30, 140:] = False
    canvas = Canvas(Layout(FRAME, BOXES, masked=True), VIEWS["square"])
    mask = Mask(looked_at)
    device, painted = DevicePreprocessor(canvas, mask=mask, threads=1), mask.painted(canvas)
    assert device.painted is not None and np.array_equal(device.painted, painted)
    frame = noise(*FRAME, channels)
    seen = device(frame).numpy()
    for value in (0, 255):
        other = np.where(looked_at[..., None], frame, value).astype(np.uint8)
        assert np.array_equal(device(other).numpy(), seen)
    assert (seen[painted] == np.array(PAINT, np.float32)).all()
    assert np.array_equal(seen[~painted], DevicePreprocessor(canvas, threads=1)(frame).numpy()[~painted])


def test_what_is_not_a_frame_is_refused() -> None:
    for frame in (None, np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5), np.float32)):
        with pytest.raises(FrameError):
            DEVICES["square"](frame)  # type: ignore[arg-type]
    with pytest.raises(FrameError, match="150x90"):
        DevicePreprocessor(Canvas(Layout(FRAME, BOXES), VIEWS["square"]), threads=1)(noise(91, 150))


def test_on_a_gpu_a_frame_is_put_there_and_nothing_comes_back(install: Callable[[Machine], Machine]) -> None:
    machine = install(Machine())
    device = DevicePreprocessor(
        Canvas(WHOLE, VIEWS["square"]),
        execution_provider=CUDA,
        options={"device_id": "1", "use_tf32": "1"},
        threads=1,
        number=1,
    )
    frame = noise(*FRAME, 3)
    first = device(frame)
    assert machine.asked == [[(CUDA, {"device_id": "1", "use_tf32": "0"})]]  # never TF32
    assert machine.devices == [("cuda", 1)] * 6  # weights and sources of both axes, the frame, and its views
    device(255 - frame)
    assert machine.devices == [("cuda", 1)] * 8  # the frame, and its views
    device(noise(80, 150, 3))
    assert len(machine.asked) == 1 and len(machine.devices) == 14
    device(frame)
    assert len(machine.devices) == 16  # weights of the first size are still there
    assert np.abs(first.numpy()[0] - expected(VIEWS["square"], frame)).max() <= BOUND


def test_a_gpu_that_is_not_obtained_is_an_error(install: Callable[[Machine], Machine]) -> None:
    install(Machine(dropped=(CUDA,)))
    with pytest.raises(DeviceError, match=CUDA):
        DevicePreprocessor(Canvas(WHOLE, VIEWS["square"]), execution_provider=CUDA, threads=1)(noise(9, 9))


def test_cuda_runs_every_node() -> None:
    boxes = Canvas(Layout(FRAME, BOXES, masked=True), VIEWS["square"])
    for canvas, masked in ((Canvas(WHOLE, VIEWS["wide"]), False), (boxes, True)):
        for channels in (1, 3):
            for steps in (1, 8):
                assert left_to_the_cpu(_graph(canvas, channels, masked=masked, steps=steps)) == []
    graph = Graph()
    graph.output("out", graph.node("MatMul", graph.input("a", "i4", (2, 2)), graph.input("b", "i4", (2, 2))), "i4")
    assert left_to_the_cpu(graph) == ["MatMul of int32"]
