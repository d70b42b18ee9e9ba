"""Measuring a scorer on this machine: time by stage against the bare network, memory, and what matching costs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge import __version__
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.geometry.layout import Layout
from spade_edge.runtime.geometry.resample import resample, resampling_weights
from spade_edge.runtime.matching.coding import windows
from spade_edge.runtime.matching.config import EXACT, HNSW
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.matching.graph_search import BEAM
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN

BLOCK = 10  # frames scored, and as many runs of the bare network, in turn


@dataclass(frozen=True)
class Times:
    """Percentiles of some durations, in milliseconds."""

    p50: float
    p90: float
    p99: float
    largest: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Times:
        p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99)).tolist()
        return cls(p50, p90, p99, max(milliseconds))


@dataclass(frozen=True)
class Measured:
    """Frames against the bare network.

    Attributes:
        frames: how many were scored.
        frame: frame to result.
        network: the network alone: views in, levels out, nothing else running between.
        stages: median milliseconds of a frame by stage.
        ratio: median of a frame over the median of the network alone.
        spread: p99 / p50 of frames over p99 / p50 of the network alone.
        batch: milliseconds a frame where `batch` frames are scored in one go; None if not asked for.
    """

    frames: int
    frame: Times
    network: Times
    stages: dict[str, float]
    ratio: float
    spread: float
    batch: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(scorer: Scorer, frames: Sequence[NDArray[np.uint8]], *, count: int, batch: int | None = None) -> Measured:
    """Score `count` frames, and run the bare network as often, in turn, after a few of each that do not count."""
    for frame in frames[:3]:
        scorer(frame)
    views = [scorer.preprocessor(frame) for frame in frames[:BLOCK]]
    stages: dict[str, list[float]] = {}
    total, alone = [], []
    for start in range(0, count, BLOCK):
        numbers = range(start, min(start + BLOCK, count))
        for i in numbers:
            alone.append(_milliseconds(partial(_network, scorer, views[i % len(views)])))
        for i in numbers:
            begin = perf_counter()
            result = scorer(frames[i % len(frames)])
            total.append(1000 * (perf_counter() - begin))
            for stage, time in result.milliseconds.items():
                stages.setdefault(stage, []).append(time)
    together = None
    if batch is not None:
        some = [frames[i % len(frames)] for i in range(batch)]
        scorer.batch(some)
        together = float(np.median([_milliseconds(partial(scorer.batch, some)) for _ in range(5)])) / batch
    whole, network = Times.of(total), Times.of(alone)
    return Measured(
        frames=count,
        frame=whole,
        network=network,
        stages={stage: float(np.median(times)) for stage, times in stages.items() if stage != "total"},
        ratio=whole.p50 / network.p50,
        spread=whole.p99 / whole.p50 / (network.p99 / network.p50),
        batch=together,
    )


def frames_like(bundle: Bundle, count: int, *, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Frames to measure with where there are none: good images as their thumbnails show them, moved, with noise.

    Args:
        bundle: whose thumbnails.
        count: how many, all different.
        size: (height, width) of a frame.
    """
    random = np.random.default_rng(0)
    good = len(bundle.manifest.names)
    frames = []
    for i in range(count):
        views = bundle.thumbnails[i * max(1, good // count) % good :: good]
        picture = _together(views, bundle.manifest.layout)
        moved = np.roll(picture, random.integers(-4, 5, 2).tolist(), axis=(0, 1))
        frame = _resized(moved, size) + random.normal(0, 3, (*size, 1)).astype(np.float32)
        frames.append(np.ascontiguousarray(np.clip(np.rint(frame), 0, 255), np.uint8))
    return frames


def _together(views: NDArray[np.uint8], layout: Layout) -> NDArray[np.generic]:
    """The frame that some views are of; black where none of them is."""
    if layout.frame is None:
        return views[0]
    frame = np.zeros((*layout.frame, 3), np.float32)
    for view, (x, y, width, height) in zip(views, layout.boxes, strict=True):
        frame[y : y + height, x : x + width] = _resized(view, (height, width))
    return frame


def _resized(picture: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.float32]:
    rows, columns = (resampling_weights(have, want) for have, want in zip(picture.shape, size, strict=False))
    return resample(picture, rows=rows, columns=columns)


@dataclass(frozen=True)
class Recall:
    """The approximate search against comparison with everything, on the same codes.

    Attributes:
        frames: how many were compared.
        distance: mean distance (root of d) of the approximate search over that of the exact one, less 1.
        same: share of positions whose nearest embedding is the very one.
        score: largest difference of a score, as a share of the exact one.
    """

    frames: int
    distance: float
    same: float
    score: float


def recall(
    path: Path,
    scorer: Scorer,
    frames: Sequence[NDArray[np.uint8]],
    *,
    threads: int | None,
    progress: Callable[[Sequence[Any]], Any],
) -> Recall:
    """Compare the bundle's search with exact search over the same gallery; slow."""
    opened = Scorer.open(path, threads=threads, search=EXACT, verify="structure")
    exact = Scorer(opened.bundle, scorer.session, opened.matcher, threads=threads)  # the same features for both
    near, true, same, scores = 0.0, 0.0, 0, []
    positions = int(np.prod(scorer.matcher.gallery.grid)) * scorer.matcher.gallery.views
    # Frames that are in the gallery are at distance 0: what is said of them is a share of a hundredth of the threshold.
    threshold = scorer.bundle.manifest.threshold
    least, least_score = 0.01 * np.sqrt(threshold.pixel) * positions * len(frames), 0.01 * threshold.score
    for frame in progress(frames):
        for view, seen in enumerate(scorer.preprocessor(frame)):
            pyramid = scorer.session(seen[np.newaxis])
            (found,), (best,) = (one.matcher.match(pyramid, views=[view]) for one in (scorer, exact))
            near += float(np.sqrt(found.distances).sum(dtype=np.float64))
            true += float(np.sqrt(best.distances).sum(dtype=np.float64))
            same += int(np.count_nonzero(found.distances <= best.distances * (1 + 1e-4) + 1e-3))
        want = exact(frame).score
        scores.append(abs(scorer(frame).score - want) / max(want, least_score))
    return Recall(len(frames), (near - true) / max(true, least), same / len(frames) / positions, max(scores))


@dataclass(frozen=True)
class Work:
    """What matching a frame takes, counted and not timed, so that another machine's time can be estimated.

    Attributes:
        byte_products: multiplications of two 8-bit numbers, in millions.
        float_products: of two float32 numbers, in millions.
        gathered: megabytes read from the gallery at scattered places, a few hundred to a few thousand bytes each.
        keys_gathered: megabytes of keys read while walking, 64 bytes each; an estimate, as walks differ.
    """

    byte_products: float
    float_products: float
    gathered: float
    keys_gathered: float


def work(scorer: Scorer) -> Work | None:
    """Count the work of matching a frame, all its views together; None for exact search."""
    gallery, matching, indexes = scorer.matcher.gallery, scorer.matcher.matching, scorer.bundle.indexes
    if not isinstance(gallery, CodedGallery) or not indexes or matching.search != HNSW:
        return None
    index, cells, places = indexes[0], gallery.cells_per_item * gallery.views, gallery.side**2
    pairs = cells * matching.candidates
    opened = cells * BEAM * 5 * index.links.shape[1]  # about five rounds
    dimensions = index.keys.shape[1]
    products = gallery.coding.key_weights.size * cells + (opened + cells * len(index.seeds)) * dimensions
    floats, gathered = 0, 0
    for level, window in zip(gallery.card.levels, windows(gallery.card), strict=True):
        taps, padded = window.taps.shape[1], window.padded()[1].shape[1]
        products += (pairs * taps + cells * padded) * padded * level.channels
        gathered += pairs * taps * level.channels
        floats += cells * padded**2 * places
        if taps != places or level is not gallery.card.levels[0]:
            floats += pairs * (taps * padded * places + places * taps * places)
    return Work(products / 1e6, floats / 1e6, gathered / 1e6, opened * dimensions / 1e6)


def machine(threads: int | None) -> dict[str, Any]:
    """What figures were measured on."""
    import onnxruntime

    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": threads or "one a core",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "spade-edge": __version__,
    }


def resident_bytes() -> int | None:
    """Memory that this process holds now; None where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _network(scorer: Scorer, views: NDArray[np.float32]) -> None:
    """The network on the views of a frame, in the same runs as when it is scored."""
    for first in range(0, len(views), VIEWS_PER_RUN):
        scorer.session(views[first : first + VIEWS_PER_RUN])


def _cpu() -> str:
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        for line in lines:
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _milliseconds(run: Callable[[], Any]) -> float:
    start = perf_counter()
    run()
    return 1000 * (perf_counter() - start)
