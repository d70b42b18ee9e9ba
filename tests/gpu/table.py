"""The report as Markdown, in the form in which a page of the documentation can take it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Row = Sequence[str]


def markdown(report: dict[str, Any]) -> str:
    """All tables of a report, and what was not measured.

    Args:
        report: as `write_report` writes it.
    """
    results = {step["name"]: step["results"] for step in report["steps"]}
    parts = [
        _machine(results),
        _parity(results),
        _times(report),
        _verdicts(results),
        _graphs(results),
        _galleries(results),
        _preprocessing(results),
        _stream(results),
        _said(results),
        _missing(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(results: dict[str, Any]) -> str:
    lines = []
    for fact in results.get("facts", []):
        on, gpu = fact["machine"], fact["gpu"]
        lines.append(
            f"Measured on {on['cpu']} ({on['cores']} cores, {on['processor_class'] or 'instructions unknown'}), "
            f"{'no NVIDIA GPU found' if gpu is None else _gpu(gpu)}; onnxruntime {on['onnxruntime']}, numpy "
            f"{on['numpy']}, Python {on['python']}, spade-edge {on['spade-edge']}."
        )
    for fact in results.get("material", []):
        height, width = fact["frame"]
        lines.append(
            f"Bundle: {fact['backbone']} in {fact['precision']}, {fact['images']} good images, views of "
            f"{fact['view'][1]}x{fact['view'][0]}: {fact['views']}, search {fact['search']}; "
            f"{fact['frames']} frames of {width}x{height}."
        )
    return "\n".join(lines)


def _gpu(state: dict[str, Any]) -> str:
    parts = [state.get("name", "a GPU")]
    for name, unit in (("driver", ""), ("megabytes", " MiB"), ("megahertz", " MHz"), ("celsius", " °C")):
        if name in state:
            value = state[name]
            parts.append(f"driver {value}" if name == "driver" else f"{value:.0f}{unit}")
    return ", ".join(parts)


def _parity(results: dict[str, Any]) -> str:
    rows = []
    for name, found in results.items():
        for stage in (stage for value in found for stage in value.get("stages", [])):
            worst = stage["worst"]
            levels = max(value for part, value in worst.items() if part.startswith("level"))
            shown = (levels, worst["distances"], worst["heatmap"], worst["score"])
            rows.append((name, *map(_small, shown), str(stage["flips"])))
    return _table(
        "Golden frames, largest difference from the machine that built the bundle",
        ("parity", "levels", "distances", "map", "score", "other verdicts"),
        rows,
    )


def _times(report: dict[str, Any]) -> str:
    rows = []
    for step in report["steps"]:
        for value in step["results"]:
            if "bench" not in value:
                continue
            measured, on = value["bench"]["measured"], value["bench"]["machine"]
            frame, stages = measured["frame"], measured["stages"]
            graph = ", CUDA graph" if "cuda-graph" in step["name"] else ""
            rows.append(
                (
                    f"{on['provider'].removesuffix('ExecutionProvider')}{graph}, matched on the "
                    f"{'CPU' if on['matched_on'] == 'cpu' else 'device'}",
                    str(frame["count"]),
                    *(_ms(frame[name]) for name in ("p50", "p99", "p999", "largest")),
                    _ms(measured["network"]["p50"]),
                    *(_ms(stages.get(name)) for name in ("view", "network", "matching", "map")),
                    f"{measured['ratio']:.2f}",
                    _heat(value),
                )
            )
    head = ("way", "frames", "p50", "p99", "p99.9", "longest", "network alone", "view", "network", "matching", "map")
    return _table(
        "Milliseconds a frame (–: too few frames, or not known)",
        (*head, "frame over network", "GPU before and after"),
        rows,
    )


def _heat(value: dict[str, Any]) -> str:
    states = [value["gpu"][when] for when in ("before", "after")]
    parts = []
    for name, unit in (("celsius", "°C"), ("watts", "W"), ("megahertz", "MHz")):
        if all(state is not None and name in state for state in states):
            parts.append(f"{states[0][name]:.0f}–{states[1][name]:.0f} {unit}")
    return ", ".join(parts) or "–"


def _verdicts(results: dict[str, Any]) -> str:
    rows = [
        (
            name.removeprefix("verdicts "),
            str(value["frames"]),
            str(value["flips"]),
            *(_small(value[what][which]) for what in ("score", "map") for which in ("worst", "mean")),
        )
        for name, value in _of(results, "flips")
    ]
    head = ("way", "frames", "other verdicts", "score, worst", "score, mean", "map, worst", "map, mean")
    return _table(
        "Frames against the CPU: differences of the score by the threshold, of the map by its largest value", head, rows
    )


def _graphs(results: dict[str, Any]) -> str:
    rows = [
        (
            value["way"],
            f"{value['cells_with_other_candidates']} of {value['cells']}",
            _small(value["distance"]),
            "–" if (same := value.get("same bits as the graph on the CPU")) is None else "yes" if same else "no",
        )
        for _, value in _of(results, "way")
    ]
    head = ("matching as one graph", "cells with other candidates", "distances, worst", "same bits as on the CPU")
    return _table("The same features matched on the device and on the CPU with every key", head, rows)


def _galleries(results: dict[str, Any]) -> str:
    rows: dict[tuple[int, bool], dict[str, Any]] = {}
    for _, value in _of(results, "images", "place"):
        rows.setdefault((value["images"], value["place"]), {}).update(value)
    lines = []
    for (images, place), row in rows.items():
        device, captured, cpu = (row.get(name) for name in ("device", "captured", "cpu"))
        lines.append(
            (
                f"{images:,}",
                "by place" if place else "at any place",
                *(_ms(device and device[name]) for name in ("p50", "p99")),
                *(_ms(captured and captured[name]) for name in ("p50", "p99")),
                *(_ms(cpu and cpu[name]) for name in ("p50", "p99")),
                f"{device['p50'] / cpu['p50']:.2f}" if device and cpu else "–",
                f"{row['resident_megabytes']:,.1f}" if device else row.get("left_out", "–"),
                f"{row['cells_with_other_candidates']} of {row['cells']}" if device else "–",
                _small(row["distance"]) if device else "–",
            )
        )
    head = (
        "images",
        "matched",
        "device p50",
        "p99",
        "captured p50",
        "p99",
        "CPU p50",
        "p99",
        "device over CPU",
        "resident MB",
    )
    return _table(
        "Milliseconds of matching alone, against the number of good images",
        (*head, "cells with other candidates", "distances, worst"),
        lines,
    )


def _preprocessing(results: dict[str, Any]) -> str:
    rows = [
        (
            value["size"],
            *(_ms(value[where]["p50"]) for where in ("cpu", "device", "copied")),
            _small(value["grey_levels"]),
        )
        for _, value in _of(results, "grey_levels")
    ]
    head = ("frame", "CPU", "device", "device, and copied to the host", "grey levels, worst")
    return _table("Milliseconds from frame to view (p50)", head, rows)


def _stream(results: dict[str, Any]) -> str:
    rows, heat = [], []
    for name, value in _of(results, "frames_a_second"):
        rates = value["frames_a_second"]
        each, stream = rates["one call a frame"], rates["stream"]
        rows.append((name.removeprefix("stream "), f"{each:.1f}", f"{stream:.1f}", f"{stream / each:.2f}"))
    for name, value in _of(results, "gpu_under_load"):
        load = ", ".join(f"{what} {figure:.0f}" for what, figure in value["gpu_under_load"].items())
        heat.append(f"Highest while the {name} ran: {load or 'not seen'}.")
    table = _table("Frames a second", ("way", "one call a frame", "stream", "stream over calls"), rows)
    return "\n\n".join(part for part in (table, *heat) if part)


def _said(results: dict[str, Any]) -> str:
    lines = [
        f"- `score`, {value['precision']}: lines of onnxruntime's or cuDNN's on stderr: {value['lines']}"
        for _, value in _of(results, "precision", "lines")
    ]
    lines += [
        f"- `{value['asked']}`: exit code {value['exit_code']}, lines on stderr: {value['lines']}; {value['said']}"
        for _, value in _of(results, "asked")
    ]
    return "### What is printed\n\n" + "\n".join(lines) if lines else ""


def _missing(report: dict[str, Any]) -> str:
    lines = [f"- {step['name']}: {step['state']}, {step['because']}" for step in report["steps"] if step["because"]]
    lines += [f"- does not hold: {what}" for what in report["broken"]]
    return "### Not measured, or not as it has to be\n\n" + "\n".join(lines) if lines else ""


def _of(results: dict[str, Any], *keys: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The results that have these keys, with the names of their steps."""
    for name, found in results.items():
        yield from ((name, value) for value in found if all(key in value for key in keys))


def _table(title: str, head: Row, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _small(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"
