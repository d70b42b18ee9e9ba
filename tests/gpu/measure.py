"""What is measured in a process of its own: `python tests/gpu/measure.py NAME --bundle … --seconds …`.

Prints one JSON object a line, each as soon as it is known. `must` in it names what has to hold.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
from gpu_state import gpu_state, watched
from grown_gallery import GrownGallery
from numpy.typing import NDArray

from spade_edge.runtime import DataError, DeviceError, Provider, Scorer, SpadeError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.geometry.layout import WHOLE, Canvas
from spade_edge.runtime.kernels.ort import onnxruntime
from spade_edge.runtime.matching import device_matcher
from spade_edge.runtime.matching.device_matcher import DeviceMatcher, DeviceMatches
from spade_edge.runtime.matching.distances import Matches
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.network.provider import CPU, CUDA, EXECUTION_PROVIDERS, TENSORRT
from spade_edge.runtime.network.pyramid import Pyramid
from spade_edge.runtime.network.quiet import quiet
from spade_edge.runtime.preprocessing.device_preprocessor import DevicePreprocessor
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor
from spade_edge.tools.benchmark.machine import machine
from spade_edge.tools.benchmark.sample_frames import frames_like
from spade_edge.tools.benchmark.times import Times
from spade_edge.tools.cli.main import main as spade_edge
from spade_edge.tools.sources import SourceOptions, open_source

MOST_FRAMES = 200  # kept in memory
MADE_FRAMES = 24  # where none are given
SMALL = 64  # megabytes of GPU memory, less than Wide-ResNet50-2 takes in float32
TRIAL = 10  # frames from which the time of more is told
FORCED = "with TF32 for matching, too"
GREY_LEVELS = 1e-3  # that views resampled on a GPU may differ by
SIZES = {"448x448": (448, 448), "1920x1080": (1080, 1920), "4096x256": (256, 4096)}  # width x height
PRINTED = re.compile(r"\[[VIWEF]:onnxruntime|cudnn|\x1b\[", re.IGNORECASE)  # what onnxruntime and cuDNN print

Result = dict[str, Any]


class Task(argparse.Namespace):
    """What to measure with, and for how long.

    Attributes:
        bundle: the bundle folder.
        frames: a folder of frames.
        provider: what runs the network: "cpu", "cuda" or "tensorrt".
        match: where cells are matched: "cpu" or "device".
        cuda_graph: whether the network runs as a CUDA graph.
        count: number of frames, or of repetitions.
        images: numbers of images of galleries.
        until: when it should come to an end, on the clock of `perf_counter`.
    """

    bundle: Path
    frames: Path
    provider: str
    match: str
    cuda_graph: bool
    count: int
    images: list[int]
    until: float

    def placement(self, *, tf32: bool = False) -> Provider:
        """What runs the network."""
        return Provider(self.provider, cuda_graph=self.cuda_graph, tf32=tf32)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.until - perf_counter()

    def scorer(self, *, match: str, provider: Provider | None = None) -> Scorer:
        """The bundle, opened; frames of any size are judged."""
        return Scorer.open(self.bundle, providers=provider or self.placement(), match=match, even_so=True)

    def pictures(self, count: int) -> list[NDArray[np.uint8]]:
        """The first frames.

        Raises:
            DataError: there are none.
        """
        source = open_source(str(self.frames), options=SourceOptions(bits=Manifest.read(self.bundle).format.bits))
        frames = list(islice((shot.frame for shot in source if shot.frame is not None), min(count, MOST_FRAMES)))
        if not frames:
            raise DataError(f"{self.frames}: expected frames that can be read, found none")
        return frames


def material(task: Task) -> Iterator[Result]:
    """Make a bundle of drawn parts, and frames like those of the bundle, where there are none."""
    if not task.bundle.exists():
        _make_bundle(task.bundle)
    scorer = Scorer.open(task.bundle)
    manifest = scorer.bundle.manifest
    if not task.frames.exists():
        task.frames.mkdir()
        size = manifest.layout.frame or manifest.model.view.size
        for number, frame in enumerate(frames_like(scorer.bundle, MADE_FRAMES, size=size)):
            np.save(task.frames / f"{number:03d}.npy", frame)
    yield {
        "bundle": str(task.bundle),
        "backbone": manifest.model.backbone,
        "precision": manifest.model.precision,
        "view": list(manifest.model.view.size),
        "views": len(manifest.layout),
        "images": len(manifest.names),
        "search": manifest.matching.search,
        "frames": len(task.pictures(MOST_FRAMES)),
        "frame": list(task.pictures(1)[0].shape[:2]),
    }


def facts(task: Task) -> Iterator[Result]:
    """The machine, and what its GPU says of itself."""
    yield {"machine": machine(None), "providers": onnxruntime().get_available_providers(), "gpu": gpu_state()}


def bench(task: Task) -> Iterator[Result]:
    """`spade-edge bench`, with as many frames as there is time for, the number asked for at most."""
    command = ["bench", "--json", "--bundle", str(task.bundle), "--frames", str(task.frames), "--match", task.match]
    command += ["--provider", task.provider, *(["--cuda-graph"] if task.cuda_graph else [])]
    began = perf_counter()
    trial = _command_line([*command, "--count", str(TRIAL)])["measured"]
    # Some frames of each block are measured in parts again, and the bundle is opened again.
    opening = perf_counter() - began - TRIAL * _frame_seconds(trial)
    count = max(TRIAL, min(task.count, int((task.left - opening) / _frame_seconds(trial))))
    before = gpu_state()
    yield {"bench": _command_line([*command, "--count", str(count)]), "wanted": task.count} | {
        "gpu": {"before": before, "after": gpu_state()}
    }


def verdicts(task: Task) -> Iterator[Result]:
    """Every frame on the CPU and on the provider: verdicts, scores and maps."""
    there, here = task.scorer(match=task.match), task.scorer(match=CPU, provider=Provider())
    flips, scores, maps = 0, list[float](), list[float]()
    for frame in task.pictures(task.count):
        if task.left < 0:
            break
        expected, found = here(frame), there(frame)
        flips += expected.verdict != found.verdict
        scores.append(abs(found.score - expected.score) / expected.threshold)
        largest = float(expected.heatmap.max())
        maps.append(float(np.abs(found.heatmap - expected.heatmap).max()) / largest if largest else 0.0)
    yield {
        "matched_on": "cpu" if there.device is None else "device",
        "frames": len(scores),
        "flips": flips,
        "score": {"worst": max(scores), "mean": float(np.mean(scores))},
        "map": {"worst": max(maps), "mean": float(np.mean(maps))},
        "must": {"every verdict is the CPU's": flips == 0},
    }


def graphs(task: Task) -> Iterator[Result]:
    """The graph that matches on the device, for the same features: against the CPU, and against itself on the CPU."""
    here, _ = task.scorer(match=CPU, provider=Provider()), _libraries_loaded(task)
    indexes = here.bundle.indexes
    if indexes:  # the device compares with every key
        every = [GraphSearch(index, threads=None, exhaustive=len(index)) for index in indexes]
        here = Scorer.open(task.bundle, searches=every, match=CPU, even_so=True)
    recorded = [(view, pyramid) for frame in task.pictures(task.count) for view, pyramid in _features(here, frame)]
    expected = [_matched(here.matcher, pyramid, view) for view, pyramid in recorded]
    on_cpu = _on_device(here.matcher, Provider())
    again = [_there(on_cpu, Provider(), pyramid, view) for view, pyramid in recorded]
    yield {"way": "on the CPU", **_compared(expected, again)}
    ways = [("as frames are matched", False), ("as a captured graph", False), ("with TF32 for the network", True)]
    if task.provider != CPU:
        ways.append((FORCED, True))
    for way, tf32 in ways:
        placement = task.placement(tf32=tf32)
        with patch.object(device_matcher, "DeviceKernel", _rounding) if way == FORCED else quiet():
            fixed = _put(recorded[0][1], placement) if way == "as a captured graph" else None
            matcher = _on_device(here.matcher, placement, fixed=fixed)
            found = [_there(matcher, placement, pyramid, view, fixed=fixed) for view, pyramid in recorded]
        compared = _compared(expected, found)
        if way == FORCED:  # what would happen; frames are never matched so
            compared.pop("must")
        identical = all(np.array_equal(a.distances, b.distances) for a, b in zip(again, found, strict=True))
        yield {"way": way, **compared, "same bits as the graph on the CPU": identical}


def galleries(task: Task) -> Iterator[Result]:
    """Matching alone against the number of images, by place and at any place, on the device and on the CPU."""
    here, _ = task.scorer(match=CPU, provider=Provider()), _libraries_loaded(task)
    _, pyramid = next(_features(here, task.pictures(1)[0]))
    most = max(images for images in task.images if images == min(task.images) or _fits(here, images))
    grown = GrownGallery(here.matcher.gallery, most)
    matching, placement = here.matcher.matching, task.placement()
    sizes = [(images, place) for images in sorted(task.images) for place in (True, False)]
    for images, place in sizes:
        row: Result = {"images": images, "place": place}
        if images > most:
            yield row | {"left_out": f"memory: {grown.megabytes_an_image * images:,.0f} MB twice"}
        elif task.left < 0:
            yield row | {"left_out": "time"}
        else:
            matcher = grown.by_place(images, matching) if place else grown.anywhere(images, matching)
            row |= _matching(matcher, pyramid, placement, task)
            if "left_out" not in row:
                row["captured"] = _matching(matcher, pyramid, placement, task, captured=True).get("device")
            yield row
    for images, place in sizes:
        if images <= most and task.left > 0:
            usual = grown.by_place(images, matching) if place else _searched(grown, images, here, task)
            if usual is not None:
                times = _repeated(partial(usual.match, [pyramid]), task, most=5.0)
                yield {"images": images, "place": place, "cpu": _milliseconds(times)}


def preprocessing(task: Task) -> Iterator[Result]:
    """The frame before the network: on the device and on the CPU."""
    canvas = Canvas(WHOLE, Manifest.read(task.bundle).model.view)
    on_gpu, placement = task.provider != CPU, task.placement()
    here, _ = Preprocessor(canvas), _libraries_loaded(task)
    version = str(onnxruntime().__version__)
    there = DevicePreprocessor(
        canvas,
        execution_provider=EXECUTION_PROVIDERS[CUDA if on_gpu else CPU],
        options=placement.cuda_options(onnxruntime=version) if on_gpu else None,
        threads=None,
    )
    for name, size in SIZES.items():
        frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        difference = float(np.abs(there(frame).numpy() - here(frame)).max())
        yield {
            "size": name,
            "cpu": _milliseconds(_repeated(partial(here, frame), task, most=2.0)),
            "device": _milliseconds(_repeated(partial(there, frame), task, most=2.0)),
            "copied": _milliseconds(_repeated(lambda: there(frame).numpy(), task, most=2.0)),  # noqa: B023
            "grey_levels": difference,
            "must": {f"at most {GREY_LEVELS:g} of a grey level": difference <= GREY_LEVELS},
        }


def stream(task: Task) -> Iterator[Result]:
    """Frames a second: one call a frame, and as a stream; then heat and power while a stream runs."""
    scorer, frames = task.scorer(match=task.match), task.pictures(MOST_FRAMES)
    for frame in frames[:3]:
        scorer(frame)
    each = task.left / 4
    rates = {
        "one call a frame": _rate(lambda wanted: map(scorer, wanted), frames, each, task.count),
        "stream": _rate(scorer.stream, frames, each, task.count),
    }
    yield {"matched_on": "cpu" if scorer.device is None else "device", "frames_a_second": rates}
    if gpu_state() is not None:
        with watched() as highest:
            _rate(scorer.stream, frames, each, 1_000_000)
        yield {"gpu_under_load": highest}


def printed(task: Task) -> Iterator[Result]:
    """What onnxruntime and cuDNN print while a frame is scored: nothing should reach the user."""
    first = next(path for path in sorted(task.frames.rglob("*")) if path.is_file())
    ended = _other_process(["score", "--bundle", str(task.bundle), str(first), "--provider", task.provider], task)
    lines = [line for line in ended.stderr.splitlines() if PRINTED.search(line)]
    yield {
        "precision": Manifest.read(task.bundle).model.precision,
        "exit_code": ended.returncode,
        "lines": len(lines),
        "first": lines[:3],
        "must": {"no line of onnxruntime's or cuDNN's": not lines, "scored": ended.returncode in (0, 1)},
    }


def refusals(task: Task) -> Iterator[Result]:
    """What cannot work ends with one line and exit code 4: too little memory, and a provider that is not there."""
    first = next(path for path in sorted(task.frames.rglob("*")) if path.is_file())
    wanted = {f"--provider cuda --gpu-memory {SMALL}": [CUDA, "--gpu-memory", str(SMALL)]}
    if task.provider == TENSORRT:
        wanted = {"--provider tensorrt": [TENSORRT]}
    network = Manifest.read(task.bundle).files["model"].size / 1e6
    for what, provider in wanted.items():
        ended = _other_process(["score", "--bundle", str(task.bundle), str(first), "--provider", *provider], task)
        lines = ended.stderr.strip().splitlines()
        refused = {f"{what}: exit code 4": ended.returncode == 4, f"{what}: one line": len(lines) == 1}
        enough = ended.returncode in (0, 1) and network < SMALL  # for a small network
        yield {
            "asked": what,
            "exit_code": ended.returncode,
            "lines": len(lines),
            "said": lines[-1] if lines else "",
            "must": {} if enough else refused,
        }


MEASUREMENTS: dict[str, Callable[[Task], Iterator[Result]]] = {
    each.__name__: each
    for each in (
        material, facts, bench, verdicts, graphs, galleries, preprocessing, stream, printed, refusals,
    )
}  # fmt: skip


def _make_bundle(path: Path) -> None:
    """A bundle of drawn parts with a network of three convolutions, whose weights are random."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from tiny_network import write_tiny_model

    from spade_edge.galleries import build
    from spade_edge.tools.demo.parts import render_good

    with tempfile.TemporaryDirectory(prefix="spade-edge-gpu-") as scratch:
        good = Path(scratch, "good")
        good.mkdir()
        for seed in range(12):
            np.save(good / f"{seed:02d}.npy", render_good(seed, size=128))
        build(good, model=write_tiny_model(Path(scratch, "model.onnx"), size=(64, 64)), output=path)


def _command_line(arguments: Sequence[str]) -> Result:
    """What a command prints as JSON; ends this process if it fails."""
    out = io.StringIO()
    with redirect_stdout(out):
        code = spade_edge(arguments)
    if code:
        sys.exit(code)
    return dict(json.loads(out.getvalue()))


def _other_process(arguments: Sequence[str], task: Task) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own, to see its exit code and all that it prints."""
    command = [sys.executable, "-m", "spade_edge", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=max(1.0, task.left)
    )


def _frame_seconds(measured: Result) -> float:
    """Seconds that `bench` takes for each frame: the frame, the network, and three of ten in parts."""
    return float(1.4 * (measured["frame"]["p50"] + measured["network"]["p50"]) / 1000)


def _features(scorer: Scorer, frame: NDArray[np.uint8]) -> Iterator[tuple[int, Pyramid]]:
    """The number of each view of a frame, and its features, computed on the CPU."""
    views = scorer.preprocessor(frame)
    for first in range(0, len(views), VIEWS_PER_RUN):
        for number, pyramid in enumerate(scorer.session(views[first : first + VIEWS_PER_RUN])):
            yield first + number, pyramid


def _matched(matcher: Matcher, pyramid: Pyramid, view: int) -> Matches:
    """Matched on the CPU."""
    return matcher.match([pyramid], views=[view])[0]


def _libraries_loaded(task: Task) -> Scorer:
    """The network on the provider: opening it finds the libraries of CUDA, which graphs alone would miss."""
    return task.scorer(match=CPU)


def _on_device(matcher: Matcher, placement: Provider, *, fixed: Sequence[Any] | None = None) -> DeviceMatcher:
    """Matches on the device; with `fixed`, the levels of a view on the device, as a captured graph."""
    gallery, searches = matcher.device_searches()
    version = str(onnxruntime().__version__)
    return DeviceMatcher(
        gallery, matcher.matching, searches, placement=placement, onnxruntime=version, threads=None, fixed=fixed
    )


def _put(pyramid: Pyramid, placement: Provider) -> list[Any]:
    """The features of a view, as if the network had left them on the device."""
    where = ("cpu", 0) if placement.name == CPU else ("cuda", placement.device)
    make = onnxruntime().OrtValue.ortvalue_from_numpy
    return [make(np.array(level[np.newaxis]), *where) for level in pyramid.levels]


def _there(
    matcher: DeviceMatcher, placement: Provider, pyramid: Pyramid, view: int, *, fixed: Sequence[Any] | None = None
) -> DeviceMatches:
    """Matched on the device; with `fixed`, the features are written there first."""
    if fixed is None:
        return matcher.match(_put(pyramid, placement), count=1, views=[view])[0]
    for value, level in zip(fixed, pyramid.levels, strict=True):
        value.update_inplace(np.ascontiguousarray(level[np.newaxis]))
    return matcher.match(fixed, count=1, views=[view])[0]


def _rounding(graph: Any, *, options: dict[str, str] | None = None, **others: Any) -> Any:
    """A kernel that may round to TensorFloat-32."""
    from spade_edge.runtime.kernels.device_kernel import DeviceKernel

    return DeviceKernel(graph, options=None if options is None else {**options, "use_tf32": "1"}, **others)


def _compared(expected: Sequence[Matches], found: Sequence[DeviceMatches]) -> Result:
    """Candidates that differ, cell by cell in their order, and the largest difference of distances."""
    cells = differing = 0
    apart, largest = 0.0, 0.0
    for want, have in zip(expected, found, strict=True):
        wanted = np.maximum(want.candidates, 0)  # type: ignore[attr-defined]  # both are of a gallery in codes
        cells += len(wanted)
        differing += int((wanted != have.candidates).any(axis=1).sum())
        apart = max(apart, float(np.abs(want.distances - have.distances).max()))
        largest = max(largest, float(want.distances.max()))
    return {
        "cells": cells,
        "cells_with_other_candidates": differing,
        "distance": apart / largest if largest else apart,
        "must": {"every cell has the CPU's candidates": differing == 0},
    }


def _fits(scorer: Scorer, images: int) -> bool:
    """Whether memory holds the codes of so many images twice; True where the system does not say."""
    gallery = scorer.matcher.gallery
    each = sum(level[0].nbytes for level in gallery.levels)
    try:
        available = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line)
    except (OSError, StopIteration):
        return True
    return 2 * images * each < int(available.split()[1]) * 1000


def _matching(matcher: Matcher, pyramid: Pyramid, placement: Provider, task: Task, *, captured: bool = False) -> Result:
    """Time and memory of matching a view on the device, and whether it finds what the CPU does."""
    try:
        levels = _put(pyramid, placement)
        device = _on_device(matcher, placement, fixed=levels if captured else None)
        run = partial(device.match, levels, count=1, views=[0])
        (found,) = run()
    except DeviceError as problem:
        return {"left_out": str(problem)}
    return {
        "device": _milliseconds(_repeated(run, task, most=5.0)),
        "resident_megabytes": device.resident / 1e6,
        "working_megabytes": device.working / 1e6,
        **_compared([_matched(matcher, pyramid, 0)], [found]),
    }


def _searched(grown: GrownGallery, images: int, scorer: Scorer, task: Task) -> Matcher | None:
    """Matches at any place with an index of hnswlib's; None if it is not installed or there is no time for it."""
    from spade_edge.galleries.index_writer import write_index
    from spade_edge.runtime.matching.hnsw import Index

    keys = grown.first_keys(images)
    if task.left < 0.001 * len(keys):
        return None
    with tempfile.TemporaryDirectory(prefix="spade-edge-gpu-") as scratch:
        try:
            write_index(keys, Path(scratch, "index.hnsw"))
        except DeviceError:
            return None
        index = Index.read(Path(scratch, "index.hnsw"))
    return grown.anywhere(images, scorer.matcher.matching, index=index)


def _repeated(run: Callable[[], object], task: Task, *, most: float) -> list[float]:
    """Milliseconds of each of `count` runs, fewer if they take more than `most` seconds, after two of warm-up."""
    run(), run()
    times: list[float] = []
    began = perf_counter()
    while len(times) < task.count and (not times or perf_counter() - began < min(most, task.left)):
        start = perf_counter()
        run()
        times.append(1000 * (perf_counter() - start))
    return times


def _milliseconds(times: Sequence[float]) -> Result:
    found = Times.of(times)
    return {"count": found.count, "p50": found.p50, "p99": found.p99, "longest": found.largest}


def _rate(
    score: Callable[[Iterator[NDArray[np.uint8]]], Iterator[Any]],
    frames: Sequence[NDArray[np.uint8]],
    seconds: float,
    count: int,
) -> float:
    """Results a second, from the first result on."""
    end = perf_counter() + seconds

    def source() -> Iterator[NDArray[np.uint8]]:
        for number in range(count + 1):
            if number > 1 and perf_counter() > end:
                return
            yield frames[number % len(frames)]

    results, first = 0, 0.0
    for _ in score(source()):
        results += 1
        first = first or perf_counter()
    return (results - 1) / (perf_counter() - first)


def main() -> None:
    """Measure one thing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MEASUREMENTS)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--provider", default=CPU)
    parser.add_argument("--match", default=CPU)
    parser.add_argument("--cuda-graph", action="store_true")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--images", type=lambda text: [int(part) for part in text.split(",")], default=[1])
    parser.add_argument("--seconds", type=float, required=True)
    task = parser.parse_args(namespace=Task())
    task.until = perf_counter() + task.seconds
    try:
        for result in MEASUREMENTS[task.name](task):
            print(json.dumps(result), flush=True)
    except SpadeError as problem:
        sys.exit(f"{task.name}: {problem}")


if __name__ == "__main__":
    main()
