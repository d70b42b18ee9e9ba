"""The way of a frame on the device against the way on the CPU: the same result, bit for bit, for the same views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fake_gpu import CPU, CUDA, TENSORRT, Machine
from numpy.typing import NDArray
from placed_part import placed_part

from spade_edge.galleries import Built, build
from spade_edge.runtime import DeviceError, FrameError, ModelError, Provider, Scorer, UsageError
from spade_edge.runtime.device_path import DevicePath, device_path
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor
from spade_edge.runtime.result import FrameResult

Part = Callable[..., NDArray[np.uint8]]
INSTALL = Callable[[Machine], Machine]
RED = b"\x1b[1;31m2026-11-28 09:12:55.503342657 [E:onnxruntime:Default, conv.cc:1 f] No execution plans\n\x1b[m\n"


class SameViews:
    """Makes the views that the device makes, whose last bits may differ from the preprocessor's."""

    def __init__(self, path: DevicePath, plain: Preprocessor) -> None:
        self.path, self.plain, self.painted = path, plain, plain.painted

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        views = self.path.views(frame)
        assert views is not None and np.abs(views[1] - self.plain(frame)).max() <= 1e-3
        return views[1]


def both(path: Path, **options: Any) -> tuple[Scorer, Scorer]:
    """A scorer that matches where the network runs, and one that matches on the CPU."""
    device, cpu = (Scorer.open(path, match=match, threads=1, **options) for match in ("device", "cpu"))
    assert device.device is not None and cpu.device is None
    assert (device.on_cpu_because, cpu.on_cpu_because) == ("", "")
    if len(cpu.canvas.boxes) <= VIEWS_PER_RUN:
        cpu.preprocessor = SameViews(device.device, cpu.preprocessor)  # type: ignore[assignment]
    return device, cpu


def check_the_same(found: Sequence[FrameResult], expected: Sequence[FrameResult]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.heatmap, other.heatmap)
        assert np.array_equal(one.looked_at, other.looked_at)
        assert (one.score, one.p, one.verdict, one.reason) == (other.score, other.p, other.verdict, other.reason)
        assert (one.regions, one.nearest, one.pose) == (other.regions, other.nearest, other.pose)
        assert one.milliseconds.keys() == other.milliseconds.keys()


def check_every_way(device: Scorer, cpu: Scorer, frames: Sequence[NDArray[np.uint8]]) -> list[FrameResult]:
    """One frame, a stream of frames, and what is observed of a frame."""
    expected = [cpu(frame) for frame in frames]
    check_the_same([device(frame) for frame in frames], expected)
    check_the_same(list(device.stream(frames)), expected)
    one, other = device.observe(frames[0]), cpu.observe(frames[0])
    for found, wanted in zip(
        (*one.features, one.distances, one.heatmap), (*other.features, other.distances, other.heatmap), strict=True
    ):
        assert np.array_equal(found, wanted)
    assert (one.score, one.verdict) == (other.score, other.verdict)
    return expected


def test_results_of_one_view(edge: Built, part: Part) -> None:
    device, cpu = both(edge.path)
    frames = [part(50), part(51, flaw=True), part(52, size=(64, 64)), part(53, size=(300, 280))]
    assert {"good", "defect"} <= {result.verdict for result in check_every_way(device, cpu, frames)}
    assert [d.largest for d in device.self_test()] == [
        d.largest for d in Scorer.open(edge.path, match="cpu").self_test()
    ]
    # The views of several frames are made on the host.
    batch = Scorer.open(edge.path, match="cpu", threads=1)
    check_the_same(device.batch(frames), batch.batch(frames))
    check_the_same(device.batch(frames[:1]), cpu.batch(frames[:1]))
    assert device.batch([]) == []


def test_grey_frames_and_colours_in_another_order(edge: Built, part: Part) -> None:
    device, cpu = both(edge.path, even_so=True)
    frame = part(50, flaw=True)
    check_every_way(device, cpu, [frame[:, :, 1], frame[:, :, 1:2], frame[::-1, :, ::-1]])
    check_the_same([device(frame, channels="rgb")], [cpu(frame, channels="rgb")])


@pytest.mark.parametrize(
    "name", ["shared", "per-view", "masked", "regions, per-view", "masked regions, per-view", "tiles in regions"]
)
def test_results_of_several_views(with_views: Callable[[str], Built], texture: Part, name: str) -> None:
    device, cpu = both(with_views(name).path)
    frames = [texture(20), texture(21, flaw=(30, 20)), texture(22)[:, :, ::-1]]
    check_every_way(device, cpu, frames)
    check_the_same(device.batch(frames), Scorer.open(with_views(name).path, match="cpu", threads=1).batch(frames))


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Built:
    """Parts that lie within 2 pixels and 2 degrees."""
    folder = tmp_path_factory.mktemp("placed")
    rng = np.random.default_rng(0)
    for seed in range(12):
        right, down, angle = rng.uniform(-2, 2, 3)
        np.save(folder / f"{seed:02}.npy", placed_part(seed, right=right, down=down, angle=angle))
    return build(folder, model=model, output=tmp_path_factory.mktemp("bundle") / "part.spade")


def test_a_part_that_lies_elsewhere_is_brought_back_on_the_host(placed: Built) -> None:
    device, cpu = both(placed.path)
    assert device.bundle.manifest.matching.place is not None
    frames = [placed_part(61), placed_part(62, right=6), placed_part(63, right=-6, down=4, angle=6, flaw=True)]
    results = check_every_way(device, cpu, frames)
    assert [result.pose is not None and result.pose.aligned for result in results] == [False, True, True]


def test_what_is_no_frame_is_refused_and_the_next_one_is_judged(edge: Built, part: Part) -> None:
    device, cpu = both(edge.path)
    for frame in (None, np.zeros((5, 5), np.float32), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(FrameError):
            device(frame)  # type: ignore[arg-type]
    check_the_same([device(part(50))], [cpu(part(50))])


def test_features_that_are_not_finite_are_refused(edge: Built, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    device, _ = both(edge.path)
    resident = Session.resident

    def broken(session: Session, views: Any) -> Any:
        pyramids = resident(session, views)
        level = pyramids.levels[1].numpy().copy()
        level[0, 0, 0, 0] = np.nan
        spoilt = onnxruntime.OrtValue.ortvalue_from_numpy(level)
        return replace(pyramids, levels=(pyramids.levels[0], spoilt, pyramids.levels[2]))

    monkeypatch.setattr(Session, "resident", broken)
    with pytest.raises(ModelError):
        device(part(50))


def test_on_the_cpu_cells_are_matched_there_unless_it_is_asked_for(edge: Built) -> None:
    scorer = Scorer.open(edge.path)
    assert scorer.device is None and scorer.on_cpu_because == ""
    for match in ("gpu", "", "cuda"):
        with pytest.raises(UsageError, match="auto, cpu, device"):
            Scorer.open(edge.path, match=match)


def test_a_network_of_ones_own_is_matched_on_the_cpu(edge: Built) -> None:
    scorer = Scorer.open(edge.path)
    given = {"canvas": scorer.canvas, "mask": None, "threads": 1}

    class Own:
        card, provider, node_fractions, passed_over = scorer.session.card, "own", {}, ()

        def __call__(self, views: NDArray[np.float32]) -> Any:
            return scorer.session(views)

    for match in ("auto", "cpu"):
        assert device_path(match, Own(), scorer.matcher, **given) == (None, "")  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        device_path("device", Own(), scorer.matcher, **given)  # type: ignore[arg-type]


GPUS = {
    "cuda": Provider("cuda", device=1),
    "tensorrt": Provider("tensorrt", device=1),
    "cuda, one graph": Provider("cuda", device=1, cuda_graph=True),
    "tensorrt, one graph": Provider("tensorrt", device=1, cuda_graph=True),
}


@pytest.mark.parametrize(
    ("name", "bundle"),
    [(name, "edge") for name in GPUS]
    + [
        ("cuda", "shared"),
        ("cuda, one graph", "shared"),
        ("cuda", "regions, per-view"),
        ("cuda, one graph", "regions, per-view"),
    ],
)
def test_on_a_gpu_features_stay_there(
    install: INSTALL,
    name: str,
    bundle: str,
    edge: Built,
    with_views: Callable[[str], Built],
    part: Part,
    texture: Part,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    machine = install(Machine(prints=RED.decode()))
    path, frame = (edge.path, part(50)) if bundle == "edge" else (with_views(bundle).path, texture(20))
    if name.startswith("tensorrt"):  # builds an engine, during which nothing is held back
        Scorer.open(path, providers=GPUS[name], match="cpu")
        machine.asked.clear()
        capfd.readouterr()
    scorer = Scorer.open(path, providers=GPUS[name], threads=1)  # "auto" is the device
    assert scorer.device is not None and scorer.on_cpu_because == ""
    assert scorer.session.provider == (TENSORRT if name.startswith("tensorrt") else CUDA)
    matching = [chosen for chosen in machine.asked if chosen[0][0] == CUDA]
    assert all(options["device_id"] == "1" and options["use_tf32"] == "0" for ((_, options),) in matching)

    scorer(frame)  # weights for its size are put there
    machine.devices.clear()
    copied: list[tuple[int, ...]] = []
    plain = onnxruntime.OrtValue.numpy

    def numpy(value: Any) -> Any:
        copied.append(tuple(value.shape()))
        return plain(value)

    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime.OrtValue, "numpy", numpy)
        result = scorer(frame)
    card, views = scorer.session.card, len(scorer.canvas.boxes)
    per_run = 1 if "graph" in name else VIEWS_PER_RUN
    runs = [min(per_run, views - first) for first in range(0, views, per_run)]
    assert not {(count, *card.grid(level), level.channels) for count in runs for level in card.levels} & set(copied)
    # The global descriptors; of each position its distance and nearest embedding; candidates; and a few checks. Also
    # the views, which are looked at for light, focus and where the part lies.
    each = 2 * card.cells * card.side**2 + card.cells * scorer.matcher.matching.candidates
    most = views * (card.image_channels + each + 2 * len(card.levels))
    if per_run > 1 and views <= VIEWS_PER_RUN:
        assert copied.count((views, *card.view.size, 3)) == 1
        most += views * card.view.size[0] * card.view.size[1] * 3
    assert sum(int(np.prod(shape)) for shape in copied) <= most
    if per_run > 1:
        # The global descriptors come back with the network's run; all else is on the second GPU.
        assert machine.devices.count(("cpu", 0)) == len(runs) and set(machine.devices) == {("cpu", 0), ("cuda", 1)}
    else:
        assert machine.devices == []  # all addresses are fixed
    assert capfd.readouterr() == ("", "")

    cpu = Scorer.open(path, match="cpu", threads=1)
    if per_run > 1 and views <= VIEWS_PER_RUN:
        cpu.preprocessor = SameViews(scorer.device, cpu.preprocessor)  # type: ignore[assignment]
    check_the_same([result], [cpu(frame)])


def test_what_fails_to_fit_is_matched_on_the_cpu_and_said(
    install: INSTALL, edge: Built, part: Part, with_views: Callable[[str], Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Machine())
    neighbours = with_views("shared, 5 neighbours").path
    scorer = Scorer.open(neighbours, providers="cuda")
    assert scorer.device is None and "the 5 nearest good images" in scorer.on_cpu_because
    assert Scorer.open(neighbours, providers="cuda", match="cpu").on_cpu_because == ""
    with pytest.raises(UsageError):
        Scorer.open(neighbours, providers="cuda", match="device")
    with pytest.raises(UsageError):
        Scorer.open(edge.path, search="exact", match="device")

    def full(array: NDArray[Any], device: str, number: int) -> Any:
        raise DeviceError(f"expected {array.nbytes:,} bytes of memory for an array on {device}, found: out of memory")

    monkeypatch.setattr("spade_edge.runtime.matching.device_matcher.put", full)
    scorer = Scorer.open(edge.path, providers="cuda")
    assert scorer.device is None
    assert "MB to work in" in scorer.on_cpu_because and "out of memory" in scorer.on_cpu_because
    check_the_same([scorer(part(50))], [Scorer.open(edge.path, providers="cuda", match="cpu")(part(50))])
    with pytest.raises(DeviceError):
        Scorer.open(edge.path, providers="cuda", match="device")


def test_another_provider_of_onnxruntime_is_matched_on_the_cpu(edge: Built) -> None:
    scorer = Scorer.open(edge.path, providers=Provider("cpu", device=3), match="device")  # as "auto" falls back
    assert scorer.device is not None and scorer.session.provider == CPU and scorer.session.device == "cpu"
