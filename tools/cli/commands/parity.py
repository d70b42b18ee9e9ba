"""Prove that this machine, provider or precision finds what the workstation found.

Without SOURCE, on a device: the bundle's golden frames are scored and held against what the machine that built it made
of them. With SOURCE, on a workstation: every --bundle is held against the first, or, with --weights, against the
network in torch; bundles of fp32, fp16 and int8 models, built from the same good images, show what each step costs.

All numbers are shares: a level's root mean square error, the largest error of distances to two good images (searched
exactly), the mean error of the heat map, the error of the score by the threshold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, Scorer, UsageError
from spade_edge.runtime.bundle.golden import TOLERANCES, check
from spade_edge.runtime.bundle.observation import Difference, difference
from spade_edge.tools.benchmark.measurement import machine
from spade_edge.tools.cli.arguments import add_provider, path, positive, source, threads
from spade_edge.tools.cli.opening import open_scorer
from spade_edge.tools.evaluation.device_parity import Stage, frame_lines, stage_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", type=source, metavar="SOURCE", help="frames, as for 'spade-edge score'")
    parser.add_argument(
        "--bundle", required=True, action="append", type=path, help="what 'spade-edge build' wrote; several with SOURCE"
    )
    parser.add_argument(
        "--weights", metavar="imagenet|FILE", help="with SOURCE: what the first bundle's model was exported from"
    )
    parser.add_argument("--count", type=positive, default=20, metavar="N", help="frames of SOURCE to take (20)")
    parser.add_argument("--threads", type=threads, metavar="N", help="threads of all work (default: one a core)")
    add_provider(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(chosen: argparse.Namespace) -> int:
    chosen.search = None  # as the bundles were built
    if chosen.source is None:
        if chosen.weights is not None:
            raise UsageError("expected --weights with a SOURCE of frames, found none; golden frames need no weights")
        return _golden(chosen)
    return _frames(chosen)


def _golden(chosen: argparse.Namespace) -> int:
    stages, precisions = [], []
    for bundle in chosen.bundle:
        scorer = _open(chosen, bundle)
        stages.append(_stage(bundle, scorer, scorer.golden_differences()))
        precisions.append(scorer.session.card.precision)
    if chosen.json:
        print(json.dumps({"machine": machine(chosen.threads), "stages": [stage.to_json() for stage in stages]}))
    for stage, precision in zip(stages, precisions, strict=True):
        if not chosen.json:
            print(f"{stage.bundle}, {precision}, on {stage.provider}: golden frames against the machine that built it")
            print("\n".join(frame_lines(stage)), flush=True)
        check(stage.differences, precision=precision, where=stage.provider)
        if not chosen.json:
            largest = max(difference.largest for difference in stage.differences)
            print(f"reproduced: at most {largest:.1e} off, {TOLERANCES[precision]:g} allowed")
    return 0


def _frames(chosen: argparse.Namespace) -> int:
    if len(chosen.bundle) == 1 and chosen.weights is None and chosen.provider == "cpu":
        raise UsageError(
            "expected something to hold against the bundle, found one --bundle alone; add --weights, another --bundle "
            "or a --provider"
        )
    frames = list(islice(_read(chosen.source), chosen.count))
    if not frames:
        raise DataError(f"{chosen.source}: expected frames that can be read, found none")
    first = _open(chosen, chosen.bundle[0], provider="cpu")
    manifest = first.bundle.manifest
    names, threshold = tuple(level.output for level in manifest.model.levels), manifest.threshold.score
    title = f"{chosen.bundle[0]}, {manifest.model.precision}, {first.session.provider}"
    reference = first
    if chosen.weights is not None:
        from spade_edge.export.torch_session import TorchSession

        network = TorchSession(manifest.model, weights=chosen.weights)
        reference = Scorer(first.bundle, network, first.matcher, threads=chosen.threads)
        title = f"the network in torch, with the gallery of {chosen.bundle[0]}"
    print(f"{len(frames)} frames with {title}", file=sys.stderr, flush=True)
    expected = [reference.observe(frame) for frame in frames]
    stages = []
    for bundle, scorer in _scorers(chosen, first):
        _check_alike(first, scorer)
        if scorer is reference:
            continue
        print(f"{len(frames)} frames with {bundle} on {scorer.session.provider}", file=sys.stderr, flush=True)
        pairs = zip(expected, (scorer.observe(frame) for frame in frames), strict=True)
        stages.append(
            _stage(bundle, scorer, tuple(difference(a, b, names=names, threshold=threshold) for a, b in pairs))
        )
    if chosen.json:
        value: dict[str, Any] = {"machine": machine(chosen.threads), "reference": title, "frames": len(frames)}
        print(json.dumps(value | {"stages": [stage.to_json() for stage in stages]}))
        return 0
    print(f"{len(frames)} frames of {chosen.source}; largest differences to {title}")
    print("\n".join(stage_lines(stages)))
    return 0


def _scorers(chosen: argparse.Namespace, first: Scorer) -> Iterator[tuple[Path, Scorer]]:
    """Each bundle on the CPU, and then on the provider that was asked for."""
    for bundle in chosen.bundle:
        yield bundle, first if bundle == chosen.bundle[0] else _open(chosen, bundle, provider="cpu")
        if chosen.provider != "cpu":
            yield bundle, _open(chosen, bundle)


def _open(chosen: argparse.Namespace, bundle: Path, **changes: object) -> Scorer:
    given = vars(chosen) | {"bundle": bundle}
    if changes:  # the CPU has none of a GPU's options
        given |= {"device": None, "gpu_memory": None, "cuda_graph": False, **changes}
    return open_scorer(argparse.Namespace(**given))


def _stage(bundle: Path, scorer: Scorer, differences: tuple[Difference, ...]) -> Stage:
    card = scorer.session.card
    precision = f"int8 for {card.quantization.get('target')}" if card.quantization else card.precision
    return Stage(str(bundle), precision, scorer.session.provider, differences)


def _check_alike(first: Scorer, other: Scorer) -> None:
    """Refuse bundles whose features or maps cannot be held against each other."""
    a, b = first.bundle.manifest, other.bundle.manifest
    for what, want, have in (
        ("good images", a.names, b.names),
        ("views", a.layout, b.layout),
        ("levels", a.model.levels, b.model.levels),
        ("view", a.model.view, b.model.view),
    ):
        if want != have:
            raise UsageError(
                f"{other.bundle.path}: expected the same {what} as {first.bundle.path}, found others; "
                "build both from the same images with the same options"
            )


def _read(text: str) -> Iterator[NDArray[np.uint8]]:
    from spade_edge.tools.sources import open_source

    return (shot.frame for shot in open_source(text) if shot.frame is not None)
