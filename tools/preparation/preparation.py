"""Preparing this machine for a bundle, so that the first frame on the line is as fast as all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import Provider, Scorer
from spade_edge.runtime.network.engine_cache import EngineCache
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.network.provider import TENSORRT
from spade_edge.tools.benchmark.sample_frames import frames_like
from spade_edge.tools.preparation.engine_build import Waiting, build_engine, engine_cache


@dataclass(frozen=True)
class Preparation:
    """What has been prepared.

    Attributes:
        provider: the onnxruntime execution provider that runs the network.
        node_fractions: execution provider to the fraction of the network's nodes that it runs; empty if unknown.
        engines: folder of TensorRT's engine; None with another provider.
        built_seconds: time that building the engine took; None if it was there already, or with another provider.
        others: folders of engines of the same model for other GPUs, versions or options.
        cleaned: whether the folders in `others` were removed.
        open_seconds: time that opening the bundle took.
        first_frame, second_frame: milliseconds.
        golden: largest difference from the golden frames, as a fraction; None if the bundle has no golden frames.
    """

    provider: str
    node_fractions: Mapping[str, float]
    engines: Path | None
    built_seconds: float | None
    others: tuple[Path, ...]
    cleaned: bool
    open_seconds: float
    first_frame: float
    second_frame: float
    golden: float | None


def prepare(
    bundle: Path,
    *,
    provider: Provider = Provider(TENSORRT),  # noqa: B008  (frozen)
    threads: int | None = None,
    limit: float | None = None,
    clean: bool = False,
    manifest_sha256: str | None = None,
    announce: Callable[[EngineCache], None] = lambda engines: None,
    waiting: Waiting = lambda seconds: None,
) -> Preparation:
    """Build TensorRT's engine if there is none, load everything, score frames and the golden frames.

    An engine takes 10 to 30 minutes on a small Jetson and is kept in the user's cache, never in the bundle. With other
    providers, the network is loaded and run.

    Args:
        bundle: the bundle folder.
        provider: what runs the network.
        threads: threads for all work; None for one per core.
        limit: seconds after which building an engine is given up; None for no limit. How long is too long depends on
            the board and the model, and an engine that is given up takes as long the next time.
        clean: remove this model's engines for other GPUs, versions and options.
        manifest_sha256: SHA-256 that the bundle's manifest must have, see `Scorer.open`; None for any.
        announce: called before an engine is built.
        waiting: called about once per second with the seconds passed, while an engine is built.

    Raises:
        BundleError: the bundle is incomplete, altered, of another version, or not the one expected.
        DeviceError: the provider is missing, TensorRT fails, its time or memory does not suffice, or the golden frames
            are not reproduced. Nothing is left of an engine that was not finished.
        ModelError: the model does not run here.
        UsageError: the provider asks for what the installed TensorRT cannot do.
    """
    bundle = Path(bundle)
    engines: EngineCache | None = None
    built_seconds: float | None = None
    others: tuple[Path, ...] = ()
    if provider.name == TENSORRT:
        engines = engine_cache(bundle, provider)
        if not engines.prepared():
            announce(engines)
            start = monotonic()
            build_engine(
                bundle,
                provider,
                engines=engines,
                threads=threads,
                limit=limit,
                manifest_sha256=manifest_sha256,
                waiting=waiting,
            )
            built_seconds = monotonic() - start
        others = tuple(engines.others())
        if clean:
            for other in others:
                engines.remove(other)
    start = perf_counter()
    scorer = Scorer.open(bundle, providers=provider, threads=threads, manifest_sha256=manifest_sha256)
    open_seconds = perf_counter() - start
    first_frame, second_frame = _warm_up(scorer)
    return Preparation(
        provider=scorer.session.provider,
        node_fractions=dict(scorer.session.node_fractions),
        engines=None if engines is None else engines.folder,
        built_seconds=built_seconds,
        others=others,
        cleaned=clean,
        open_seconds=open_seconds,
        first_frame=first_frame,
        second_frame=second_frame,
        golden=_golden(scorer),
    )


def _warm_up(scorer: Scorer) -> tuple[float, float]:
    """Score two frames and run the network on every number of views; gives the milliseconds of the frames."""
    manifest, session = scorer.bundle.manifest, scorer.session
    size = manifest.layout.frame or manifest.model.view.size
    first, second = (scorer(frame).milliseconds["total"] for frame in frames_like(scorer.bundle, 2, size=size))
    most = VIEWS_PER_RUN
    run: Callable[[NDArray[np.float32]], object] = session
    if scorer.device is not None:
        most, run = scorer.device.views_per_run, scorer.device.session.resident
    for count in range(1, most + 1):  # frames of several views and batches need these
        run(np.zeros((count, *session.card.view.size, 3), np.float32))
    return first, second


def _golden(scorer: Scorer) -> float | None:
    """Score the golden frames; gives the largest difference, None if the bundle has none.

    Raises:
        DeviceError: they are not reproduced.
    """
    if scorer.bundle.golden is None:
        return None
    return max(difference.largest for difference in scorer.self_test())
