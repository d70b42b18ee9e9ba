"""Write the truncated backbone as one self-contained ONNX file, and prove that it computes what torch does.

The weights "imagenet" are torchvision's IMAGENET1K_V1 and are downloaded on first use (efficientnet_lite0: from the
pip package of the extra [demo]). On a machine without internet pass a file: a .pth state dict or .safetensors.
"""

from __future__ import annotations

import argparse
import json

from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.view import View
from spade_edge.tools.argument import path, size


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
    parser.add_argument("--precision", choices=("fp32",), default="fp32", help="arithmetic of the network")
    parser.add_argument("--output", required=True, type=path, metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--json", action="store_true", help="print the model card as JSON instead of a table")


def run(chosen: argparse.Namespace) -> int:
    view = _view(chosen)
    from spade_edge.export import export_model

    report = export_model(
        chosen.output,
        backbone=chosen.backbone,
        weights=chosen.weights,
        levels=chosen.levels,
        image_level=chosen.image_level,
        view=view,
    )
    if chosen.json:
        value = {"path": str(report.path), "sha256": report.sha256, "size": report.size, "card": report.card.to_json()}
        print(json.dumps(value))
        return 0
    width = max(map(len, report.card.outputs))
    print(f"{'output':<{width}}  {'shape':<12}  largest difference to torch: absolute, relative")
    for name, shape in report.card.output_shapes().items():
        difference = report.card.parity[name]
        print(
            f"{name:<{width}}  {'x'.join(map(str, shape)):<12}  "
            f"{difference['absolute']:.1e}, {difference['relative']:.1e} of the largest value"
        )
    print(f"{report.path}: {report.card.backbone}, {report.size / 1e6:.1f} MB, verified in onnxruntime")
    return 0


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
