"""Write the truncated backbone as one self-contained ONNX file, and prove that it computes what torch does.

The weights "imagenet" are torchvision's IMAGENET1K_V1 and are downloaded on first use (efficientnet_lite0: from the
pip package of the extra [demo]). On a machine without internet pass a file: a .pth state dict or .safetensors.

fp16 is for GPUs. int8 is for processors (--target cpu) or for TensorRT (--target tensorrt): it is calibrated on images
of the product's good parts, and leaves in float what suffers most. Build the gallery with the model that will score.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import Any

from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.tools.cli.arguments import path, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backbone",
        default="wide_resnet50_2",
        metavar="NAME",
        help="wide_resnet50_2 (default), resnet50, resnet18 or efficientnet_lite0",
    )
    parser.add_argument("--weights", default="imagenet", metavar="imagenet|FILE", help="default: imagenet")
    parser.add_argument(
        "--levels", type=_numbers, default=(1, 2, 3), metavar="1,2,3", help="levels of the pyramid (default: 1,2,3)"
    )
    parser.add_argument(
        "--image-level",
        type=int,
        metavar="3|4",
        help="level whose global average is the image vector; the paper's is 4 (default: the last of --levels)",
    )
    view = parser.add_argument_group("view, as WIDTHxHEIGHT or one number for both; sides are multiples of 32")
    view.add_argument("--input", type=size, metavar="SIZE", help="the whole frame at this size (default: 224x224)")
    view.add_argument("--resize", type=size, metavar="SIZE", help="with --crop: size of the whole frame (paper: 256)")
    view.add_argument("--crop", type=size, metavar="SIZE", help="the middle of the resized frame (paper: 224)")
    precision = parser.add_argument_group("arithmetic")
    precision.add_argument(
        "--precision", choices=("fp32", "fp16", "int8"), default="fp32", help="of the network (default: fp32)"
    )
    precision.add_argument(
        "--calibration", type=path, metavar="DIR", help="with int8: images of good parts, 16 of which are looked at"
    )
    precision.add_argument(
        "--views",
        type=size,
        metavar="SIZE",
        help="with int8: the tiles that 'spade-edge build --views' is going to look at (default: the whole frame)",
    )
    precision.add_argument(
        "--target", choices=("cpu", "tensorrt"), help="with int8: what will run the model (default: cpu)"
    )
    parser.add_argument("--output", required=True, type=path, metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--json", action="store_true", help="print the model card as JSON instead of a table")


def run(chosen: argparse.Namespace) -> int:
    view = _view(chosen)
    _check_precision(chosen)
    from spade_edge.export import Precision, export_model

    if chosen.precision == "int8":
        from spade_edge.galleries.sample_views import sample_views

        views = sample_views(chosen.calibration, view, tile=chosen.views)
        precision = Precision("int8", target=chosen.target or "cpu", views=views)
    else:
        precision = Precision(chosen.precision)
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
    if chosen.json:
        value = {"path": str(report.path), "sha256": report.sha256, "size": report.size, "card": report.card.to_json()}
        print(json.dumps(value))
        return 0
    card = report.card
    # Single numbers of an 8-bit model jump; the whole is what counts.
    measure, title = ("rms", "root mean square") if card.precision == "int8" else ("relative", "largest")
    width = max(map(len, card.outputs))
    print(f"{'output':<{width}}  {'shape':<12}  {title} difference to torch, as a share of {_SHARE[measure]}")
    for name, shape in card.output_shapes().items():
        print(f"{name:<{width}}  {'x'.join(map(str, shape)):<12}  {card.parity[name][measure]:.1e}")
    kept = card.quantization.get("float_layers")
    made = "" if kept is None else f" for {card.quantization['target']}, {len(kept)} convolutions left in float"
    print(
        f"{report.path}: {card.backbone}, {card.precision}{made}, {report.size / 1e6:.1f} MB, verified in onnxruntime"
    )
    return 0


_SHARE = {"rms": "its own", "relative": "the largest value"}


def _progress(layers: Iterable[Any]) -> Iterable[Any]:
    from spade_edge.tools.cli.progress import progress

    return progress(layers, "rounding layers", unit="layer")


def _check_precision(chosen: argparse.Namespace) -> None:
    if chosen.precision == "int8" and chosen.calibration is None:
        raise UsageError(
            "expected --calibration DIR with --precision int8, found none; give a folder of images of good parts"
        )
    if chosen.precision != "int8" and not (chosen.calibration is chosen.target is chosen.views is None):
        raise UsageError(
            f"expected --calibration, --views and --target with --precision int8 only, found {chosen.precision}; "
            "leave them out"
        )


def _view(chosen: argparse.Namespace) -> View:
    if (chosen.resize is None) != (chosen.crop is None):
        raise UsageError("expected --resize and --crop together, found one of them; for a whole frame use --input")
    if chosen.resize is not None and chosen.input is not None:
        raise UsageError("expected either --input or --resize with --crop, found both")
    if chosen.resize is not None:
        return View(resize=chosen.resize, size=chosen.crop)
    size = chosen.input or (224, 224)
    return View(resize=size, size=size)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers with commas between, found {text!r}") from None
