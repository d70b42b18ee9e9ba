"""The model file: exported, verified against torch, and only then moved to its place."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from spade_edge.export.lint import lint
from spade_edge.export.onnx_conversion import build_graph
from spade_edge.export.output_file import check_output_file, replacing, write_model
from spade_edge.export.precision import Precision, Progress
from spade_edge.export.pyramid import build_pyramid, own_view
from spade_edge.export.torch_parity import measure_parity
from spade_edge.export.torch_pyramid import TorchPyramid
from spade_edge.export.weights import read_weights
from spade_edge.runtime.errors import ModelError, UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.card import ModelCard

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportReport:
    """A model file that has been written.

    Attributes:
        path: the file.
        card: of the model; `card.parity` holds its differences from torch.
        sha256: of the file, hexadecimal.
        size: of the file, in bytes.
    """

    path: Path
    card: ModelCard
    sha256: str
    size: int


def export_model(
    output: Path,
    *,
    backbone: str = "wide_resnet50_2",
    weights: str | Path = "imagenet",
    levels: Sequence[int] | None = None,
    image_level: int | None = None,
    view: View | None = None,
    precision: Precision = Precision(),  # noqa: B008 - frozen
    progress: Progress = lambda items: items,
) -> ExportReport:
    """Export a network with published weights or your own.

    Args:
        output: the ONNX file; an existing one is replaced once the new model is verified.
        backbone: a name of `BACKBONES`, or "timm:" and a name of timm's.
        weights: "imagenet", or a .pth, .pt or .safetensors file with a state dict. For timm's networks a file.
        levels: the pyramid, one or more of 1, 2 and 3, ascending; None for these three. Of a transformer of timm's, the
            blocks whose features are joined; None for the last one.
        image_level: source of the global descriptor: level 3 or 4 (the paper's), or None for the last of `levels`; for
            timm's networks any level or block.
        view: how a frame becomes the network's input; None for the whole frame at 224x224, for timm's networks at the
            size that they were trained at.
        precision: the arithmetic of the network.
        progress: wraps the items of the long loop of an int8 export, e.g. tqdm.

    Raises:
        UsageError: an option that does not fit, or the folder of `output` is missing.
        DataError: weights that are missing, unreadable or of another network.
        ModelError: the model does not compute what torch computes, or its target could not run it. No file is left.
        DeviceError: a package is missing, or the disk is full.
    """
    output = Path(output)
    check_output_file(output, option="--output")
    view = own_view(backbone) if view is None else view
    # The options are checked before any download.
    pyramid = build_pyramid(backbone, levels=levels, image_level=image_level, view=view)
    found = read_weights(weights, backbone=backbone)
    pyramid.load(found.tensors, source=f"weights {found.note['file']} for {backbone}")
    return export_pyramid(pyramid, output, view=view, weights_note=found.note, precision=precision, progress=progress)


def export_pyramid(
    pyramid: TorchPyramid,
    output: Path,
    *,
    view: View,
    weights_note: Mapping[str, Any],
    precision: Precision = Precision(),  # noqa: B008 - frozen
    progress: Progress = lambda items: items,
) -> ExportReport:
    """Export a pyramid with its present weights.

    Args:
        pyramid: the network; it is put into evaluation mode.
        output: the ONNX file; an existing one is replaced once the new model is verified.
        view: how a frame becomes the network's input.
        weights_note: origin of the weights, for the card; JSON values.
        precision: as for `export_model`.
        progress: as for `export_model`.

    Raises:
        UsageError: the folder of `output` is missing, or the views have another size.
        ModelError: the model does not compute what torch computes, or its target could not run it. No file is left.
        DeviceError: onnxruntime is missing, or the disk is full.
    """
    output = Path(output)
    check_output_file(output, option="--output")
    if precision.views is not None and precision.views.shape[1:] != (*view.size, 3):
        wanted, found = ("x".join(map(str, shape)) for shape in ((*view.size, 3), precision.views.shape[1:]))
        raise UsageError(f"expected views of {wanted} to calibrate on, found {found}")
    pyramid.eval()
    model, quantization = precision.apply(build_graph(pyramid, view=view), progress)
    card = ModelCard(
        backbone=pyramid.backbone,
        weights=dict(weights_note),
        levels=pyramid.levels,
        image_level=pyramid.image_level,
        image_channels=pyramid.image_channels,
        view=view,
        precision=precision.name,
        parity={},
        quantization=quantization,
        mean=tuple(round(x, 4) for x in pyramid.mean.flatten().tolist()),
        std=tuple(round(x, 4) for x in pyramid.std.flatten().tolist()),
    )
    with replacing(output, option="--output") as part:
        _write(part, model, card)
        card = replace(card, parity=measure_parity(part, pyramid, views=precision.views, source=output.name))
        content = _write(part, model, card)
        _check_fit(part, source=output.name)
    log.info("exported %s, %s of %d levels", output, card.precision, len(card.levels))
    return ExportReport(output, card, hashlib.sha256(content).hexdigest(), len(content))


def _check_fit(part: Path, *, source: str) -> None:
    """Refuse a file that its target, onnxruntime or TensorRT, would refuse on the device."""
    report = lint(part, source=source)
    for target in report.made_for:
        for reason in report.reasons(target):
            raise ModelError(
                f"{source}: expected {reason.expected} for {target}, found {reason.found}; nothing was written; "
                "try another version of torch, onnx or onnxruntime"
            )


def _write(path: Path, model: onnx.ModelProto, card: ModelCard) -> bytes:
    onnx.helper.set_model_props(model, card.to_metadata())
    return write_model(path, model)
