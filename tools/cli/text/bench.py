"""What `spade-edge bench` prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from spade_edge.runtime import Scorer
from spade_edge.tools.benchmark.machine import machine
from spade_edge.tools.benchmark.matching_cost import MatchingCost
from spade_edge.tools.benchmark.measurement import Measured
from spade_edge.tools.benchmark.recall import Recall


def as_json(
    scorer: Scorer,
    measured: Measured,
    *,
    path: Path,
    threads: int | None,
    open_seconds: float,
    frame_size: tuple[int, int],
    resident: int | None,
    cost: MatchingCost | None,
    recall: Recall | None,
) -> dict[str, Any]:
    """All figures as JSON values.

    Args:
        scorer: that was measured.
        measured: the times.
        path: the bundle folder, as on the command line.
        threads: threads that were asked for.
        open_seconds: time that opening the bundle took.
        frame_size: (height, width) of the frames.
        resident: resident memory in bytes; None if unknown.
        cost: of matching; None for exact search.
        recall: of the search; None if it was not measured.
    """
    manifest, matching = scorer.bundle.manifest, scorer.matcher.matching
    gallery = sum(payload.size for role, payload in manifest.files.items() if role in manifest.gallery_roles())
    return {
        "machine": machine(threads)
        | {"provider": scorer.session.provider, "providers": dict(scorer.session.node_fractions)},
        "bundle": {
            "path": str(path),
            "images": len(manifest.names),
            "megabytes": manifest.size / 1e6,
            "gallery_megabytes_an_image": gallery / 1e6 / len(manifest.names),
            "search": matching.search,
            "candidates": matching.candidates,
            "ef": matching.ef,
        },
        "open_seconds": open_seconds,
        "frame_size": list(frame_size),
        "measured": measured.to_json(),
        "memory": None
        if resident is None
        else {"resident_megabytes": resident / 1e6, "beyond_bundle_megabytes": (resident - manifest.size) / 1e6},
        "work": None if cost is None else asdict(cost),
        "recall": None if recall is None else asdict(recall),
    }


def lines(value: dict[str, Any], measured: Measured, cost: MatchingCost | None) -> list[str]:
    """The figures as lines of text.

    Args:
        value: what `as_json` gives.
        measured: the times.
        cost: of matching; None for exact search.
    """
    text = []
    on, bundle, memory = value["machine"], value["bundle"], value["memory"]
    text.append(
        f"{on['cpu']}, {on['cores']} cores, threads: {on['threads']}; {on['provider']}, "
        f"onnxruntime {on['onnxruntime']}, numpy {on['numpy']}, Python {on['python']}, spade-edge {on['spade-edge']}"
    )
    text.append(
        f"{bundle['path']}: {bundle['images']} good images, {bundle['gallery_megabytes_an_image']:.2f} MB each, "
        f"search {bundle['search']}; opened in {value['open_seconds']:.2f} s"
    )
    height, width = value["frame_size"]
    text.append(f"\n{measured.frames} frames of {width}x{height}, milliseconds")
    text.append(f"{'':16}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}")
    for label, times in (("network alone", measured.network), ("frame to result", measured.frame)):
        text.append(f"{label:16}{times.p50:9.2f}{times.p90:9.2f}{times.p99:9.2f}{times.largest:9.2f}")
    text.append(f"{'ratio':16}{measured.ratio:9.3f}")
    text.append(f"{'p99 / p50 ratio':16}{measured.spread:9.3f}")
    text.append("per frame: " + ", ".join(f"{stage} {time:.2f}" for stage, time in measured.stages.items()))
    if measured.batch is not None:
        text.append(f"in batches: {measured.batch:.2f} per frame")
    if memory is not None:
        text.append(
            f"memory: {memory['resident_megabytes']:.0f} MB resident, "
            f"{memory['beyond_bundle_megabytes']:+.0f} MB against the bundle's own size"
        )
    if cost is not None:
        text.append(
            f"matching, per frame: {cost.byte_products:.0f} million 8-bit products, "
            f"{cost.float_products:.0f} million float32 products; "
            f"{cost.gathered:.1f} MB of the gallery and about {cost.keys_gathered:.1f} MB of keys read"
        )
    found = value["recall"]
    if found is not None:
        drawn = "" if found["images"] is None else f" and {found['images']} good images drawn at random"
        text.append(
            f"against exact search, {found['frames']} frames{drawn}: mean distance {found['distance']:+.2%}, "
            f"same nearest at {found['same']:.1%} of positions, score within {found['score']:.2%}"
        )
    return text
