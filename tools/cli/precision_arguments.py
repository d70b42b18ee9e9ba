"""The options of `spade-edge export` that choose the precision."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.tools.cli.arguments import path, size
from spade_edge.tools.cli.folder_arguments import add_follow_links

if TYPE_CHECKING:
    from spade_edge.export import Precision


def add_precision_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `precision_options` reads."""
    precision = parser.add_argument_group("arithmetic")
    precision.add_argument(
        "--precision", choices=("fp32", "fp16", "int8"), default="fp32", help="precision of the network (default: fp32)"
    )
    precision.add_argument(
        "--calibration", type=path, metavar="DIR", help="with int8: images of good parts, 16 of which are used"
    )
    add_follow_links(precision)
    precision.add_argument(
        "--views",
        type=size,
        metavar="SIZE",
        help="with int8: the tile size that 'spade-edge build --views' will use (default: the whole frame)",
    )
    precision.add_argument(
        "--target", choices=("cpu", "tensorrt"), help="with int8: what will run the model (default: cpu)"
    )


def precision_options(chosen: argparse.Namespace, view: View) -> Precision:
    """The precision that a command line asks for; for int8 with the views to calibrate on.

    Args:
        chosen: the command line.
        view: how a frame becomes the network's input.

    Raises:
        UsageError: the options do not fit together.
        DataError: images for the calibration cannot be read.
    """
    _check(chosen)
    from spade_edge.export import Precision

    if chosen.precision != "int8":
        return Precision(chosen.precision)
    from spade_edge.galleries.sample_views import sample_views

    views = sample_views(chosen.calibration, view, tile=chosen.views, follow_links=bool(chosen.follow_links))
    return Precision("int8", target=chosen.target or "cpu", views=views)


def _check(chosen: argparse.Namespace) -> None:
    if chosen.precision == "int8" and chosen.calibration is None:
        raise UsageError(
            "expected --calibration DIR with --precision int8, found none; give a folder of images of good parts"
        )
    if chosen.precision != "int8" and not (
        chosen.calibration is chosen.follow_links is chosen.target is chosen.views is None
    ):
        raise UsageError(
            f"expected --calibration, --follow-links, --views and --target with --precision int8 only, found "
            f"{chosen.precision}; leave them out"
        )
