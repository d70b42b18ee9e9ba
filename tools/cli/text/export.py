"""What `spade-edge export` prints."""

from __future__ import annotations

from typing import Any

from spade_edge.export import ExportReport

OF = {"rms": "the level's own", "relative": "the largest value"}  # what a difference is a fraction of


def as_json(report: ExportReport) -> dict[str, Any]:
    """The model file as JSON values."""
    return {"path": str(report.path), "sha256": report.sha256, "size": report.size, "card": report.card.to_json()}


def lines(report: ExportReport) -> list[str]:
    """The outputs with their differences from torch, and the file in one line."""
    card = report.card
    # Single values of a quantized model may differ a lot; the root mean square is what counts.
    measure, title = ("rms", "root mean square") if card.precision == "int8" else ("relative", "largest")
    width = max(map(len, card.outputs))
    text = [f"{'output':<{width}}  {'shape':<12}  {title} difference from torch, as a fraction of {OF[measure]}"]
    for name, shape in card.output_shapes().items():
        text.append(f"{name:<{width}}  {'x'.join(map(str, shape)):<12}  {card.parity[name][measure]:.1e}")
    kept = card.quantization.get("float_layers")
    made = "" if kept is None else f" for {card.quantization['target']}, {len(kept)} convolutions left in float"
    text.append(
        f"{report.path}: {card.backbone}, {card.precision}{made}, {report.size / 1e6:.1f} MB, verified in onnxruntime"
    )
    return text
