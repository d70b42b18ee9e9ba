"""What `spade-edge bench` prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

from spade_edge.runtime import Scorer
from spade_edge.tools.benchmark.conditions import Conditions
from spade_edge.tools.benchmark.machine import machine
from spade_edge.tools.benchmark.matching_cost import MatchingCost
from spade_edge.tools.benchmark.measurement import Beside, Lateness, Measured, Stage
from spade_edge.tools.benchmark.recall import Recall
from spade_edge.tools.benchmark.times import FEWEST, Late, Times

WIDTH, LABEL, ROW = 100, 13, 19  # columns of a line, of an entry's label, and of a table's first column
UNEVEN = 1.3  # p90 / p50 of the network alone; on a quiet machine it is below 1.1
STAGES = {
    "view": "view",
    "alignment": "  alignment",
    "network": "network",
    "matching": "matching",
    "codes": "  codes and keys",
    "candidates": "  candidates",
    "comparison": "  comparison",
    "map": "map and verdict",
}


def as_json(
    scorer: Scorer,
    measured: Measured,
    *,
    path: Path,
    threads: int | None,
    conditions: Conditions,
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
        conditions: heat and clock meanwhile.
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
        | {
            "provider": scorer.session.provider,
            "providers": dict(scorer.session.node_fractions),
            "matched_on": "cpu" if scorer.device is None else "device",
        },
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
        "conditions": asdict(conditions),
        "memory": None
        if resident is None
        else {"resident_megabytes": resident / 1e6, "beyond_bundle_megabytes": (resident - manifest.size) / 1e6},
        "work": None if cost is None else asdict(cost),
        "recall": None if recall is None else asdict(recall),
    }


def lines(value: dict[str, Any], measured: Measured, cost: MatchingCost | None, conditions: Conditions) -> list[str]:
    """The figures as lines of text, of 100 columns at most if paths and names allow it.

    Args:
        value: what `as_json` gives.
        measured: the times.
        cost: of matching; None for exact search.
        conditions: heat and clock meanwhile.
    """
    on, bundle, memory = value["machine"], value["bundle"], value["memory"]
    height, width = value["frame_size"]
    instructions = on["processor_class"] or "instructions unknown"
    text = [
        *_entry("processor", f"{on['cpu']}, {on['cores']} cores, {instructions}; threads: {on['threads']}"),
        *_entry(
            "runs on",
            f"{on['provider']}{_where_matched(on)}, onnxruntime {on['onnxruntime']}, numpy {on['numpy']}, "
            f"Python {on['python']}, spade-edge {on['spade-edge']}",
        ),
        f"{'bundle':{LABEL}}{bundle['path']}",
        *_entry(
            "",
            f"{bundle['images']} good images, {bundle['gallery_megabytes_an_image']:.2f} MB each, "
            f"search {bundle['search']}; opened in {value['open_seconds']:.2f} s",
        ),
        "",
        f"{measured.frames} frames of {width}x{height}, in milliseconds",
        *_times(measured),
        "",
        *_entry("ratio", f"a frame takes {measured.ratio:.3f} times as long as the network alone"),
        *_stability(measured),
        *_disturbed(measured.network),
        *_not_good(measured),
        *_too_few(measured),
        *_camera(measured.camera),
        *_late(measured.late),
    ]
    if measured.batch is not None:
        text += _entry("batches", f"{measured.batch:.2f} ms per frame if several are scored together")
    text += ["", *_by_stage(measured), "", *_conditions(conditions)]
    if memory is not None:
        text += _entry(
            "memory",
            f"{memory['resident_megabytes']:.0f} MB resident, "
            f"{memory['beyond_bundle_megabytes']:+.0f} MB against the bundle's own size",
        )
    if cost is not None:
        text += _entry(
            "matching",
            f"per frame {cost.byte_products:.0f} million 8-bit products, {cost.float_products:.0f} million float32 "
            f"products; {cost.gathered:.1f} MB of the gallery and about {cost.keys_gathered:.1f} MB of keys read",
        )
    found = value["recall"]
    if found is not None:
        drawn = "" if found["images"] is None else f" and {found['images']} good images drawn at random"
        frames = f"{found['frames']} frame{'' if found['frames'] == 1 else 's'}"
        text += _entry(
            "recall",
            f"against exact search, {frames}{drawn}: mean distance {found['distance']:+.2%}, "
            f"same nearest at {found['same']:.1%} of positions, score within {found['score']:.2%}",
        )
    return text


def _where_matched(on: dict[str, Any]) -> str:
    """Where cells are matched, if it could be elsewhere than the network runs."""
    if on["matched_on"] == "device":
        return " for network and matching"
    return "" if on["provider"].startswith("CPU") else ", matching on the CPU"


def _entry(label: str, sentence: str) -> list[str]:
    """A label and what is to be said about it, in as many lines as this takes."""
    return wrap(
        sentence,
        WIDTH,
        initial_indent=f"{label:{LABEL}}",
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _times(measured: Measured) -> list[str]:
    rows = [("network alone", measured.network), ("frame to result", measured.frame)]
    if measured.camera is not None:
        rows.append(("  beside a camera", measured.camera.frame))
    return [
        f"{'':{ROW}}{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}{'longest':>9}",
        *(
            f"{label:{ROW}}{times.p50:9.2f}{_or_dash(times.p90)}{_or_dash(times.p99)}{_or_dash(times.p999)}"
            f"{times.largest:9.2f}"
            for label, times in rows
        ),
    ]


def _or_dash(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:9.2f}"


def _stability(measured: Measured) -> list[str]:
    if measured.spread is None:
        return []
    return _entry("spread", f"p99 / p50 of a frame is {measured.spread:.3f} times that of the network alone")


def _disturbed(network: Times) -> list[str]:
    """A warning if the network alone, which does the same every time, took very different times."""
    if network.p90 is None or network.p90 <= UNEVEN * network.p50:
        return []
    return _entry(
        "not quiet",
        f"one in ten runs of the network alone took more than {network.p90 / network.p50:.1f} times the median: other "
        "programs, heat or power saving slowed them, and so all of these figures are uncertain",
    )


def _not_good(measured: Measured) -> list[str]:
    """A remark if most frames were of the kind that takes longest, as those made from thumbnails usually are."""
    if 2 * measured.not_good <= measured.frames:
        return []
    return _entry(
        "not good",
        f"{measured.not_good} of {measured.frames} frames were not judged good, and their regions take time: "
        "give good frames with --frames to measure what a line mostly sees",
    )


def _too_few(measured: Measured) -> list[str]:
    """What cannot be said about so few frames, and how to find out."""
    missing = [
        f"{label} (needs {FEWEST[name]:,})"
        for name, label in (("p90", "p90"), ("p99", "p99"), ("p999", "p99.9"))
        if measured.frames < FEWEST[name]
    ]
    if not missing:
        return []
    *others, last = missing
    listed = f"{', '.join(others)} and {last}" if others else last
    return _entry("too few", f"frames for {listed}: give --count {FEWEST['p999']}")


def _camera(camera: Beside | None) -> list[str]:
    if camera is None:
        return []
    return _entry(
        "camera",
        f"beside a thread that decodes {camera.delivered:.1f} frames a second ({camera.rate:g} were due), a frame "
        f"takes {camera.ratio:.3f} times as long",
    )


def _late(late: Lateness | None) -> list[str]:
    if late is None:
        return []
    counted = f"over {late.deadline:,.10g} ms: {_counted(late.without_camera)}"
    if late.beside_camera is not None:
        counted += f"; beside the camera: {_counted(late.beside_camera)}"
    return _entry("late", counted)


def _counted(late: Late) -> str:
    frames = f"of {late.frames} frame{'' if late.frames == 1 else 's'}"
    if late.count == 0:
        return f"none {frames}"
    return f"{late.count} {frames}, at most {late.in_a_row} in a row"


def _by_stage(measured: Measured) -> list[str]:
    text = [f"{'by stage':{ROW}}{'p50':>9}{'p99':>9}{'of the network alone':>24}"]
    rows = [(label, measured.by_stage[name]) for name, label in STAGES.items() if name in measured.by_stage]
    for label, stage in [*rows, ("frame to result", Stage(measured.frame, measured.ratio))]:
        text.append(f"{label:{ROW}}{stage.times.p50:9.2f}{_or_dash(stage.times.p99)}{stage.of_network:24.1%}")
    parts = [stage for label, stage in rows if label.startswith(" ")]
    if parts:
        text.append(
            f"What is indented was measured apart, on {parts[0].times.count} frames, so parts need not add up exactly."
        )
    return text


def _conditions(seen: Conditions) -> list[str]:
    """Heat and clock; what the machine does not say is named once."""
    said, unknown = [], []
    if seen.celsius_at_start is None or seen.celsius_at_end is None:
        unknown.append("temperature")
    else:
        said.append(f"{seen.celsius_at_start:.0f} °C at the start, {seen.celsius_at_end:.0f} °C at the end")
    if seen.megahertz is None or seen.lowest_megahertz is None:
        unknown.append("clock")
    else:
        said.append(f"fastest core at {seen.megahertz:.0f} MHz (median), {seen.lowest_megahertz:.0f} MHz (lowest)")
    if seen.throttled is None:
        unknown.append("throttling")
    elif seen.throttled == 0:
        said.append("not throttled")
    else:
        said.append(f"throttled during {seen.throttled} of {seen.blocks} blocks of frames")
    if unknown:
        said.append(f"unknown, because this system does not say: {', '.join(unknown)}")
    return _entry("heat, clock", "; ".join(said))
