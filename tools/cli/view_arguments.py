"""The options of `spade-edge build` that choose the inspected parts of a frame."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from spade_edge.runtime.geometry.layout import Box
from spade_edge.tools.cli.arguments import integer, path, shown, size

if TYPE_CHECKING:
    from spade_edge.galleries import Views

WHOLE, AUTO = "whole", "auto"  # values of --views


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `view_options` reads."""
    parser.add_argument(
        "--views",
        type=_views,
        default=WHOLE,
        metavar="whole|auto|WIDTHxHEIGHT",
        help="whole (default): one view of the frame or of each region; WIDTHxHEIGHT: tiles of this size in frame "
        "pixels; auto: chosen by the size of the frames",
    )
    parser.add_argument(
        "--overlap", type=integer, metavar="PIXELS", help="smallest overlap of tiles, in frame pixels (1/8 of a tile)"
    )
    parser.add_argument(
        "--region",
        type=_region,
        action="append",
        default=[],
        metavar="X,Y,WIDTH,HEIGHT",
        help="inspect only this region, in frame pixels from the top left; may be given several times",
    )
    parser.add_argument(
        "--mask",
        type=path,
        metavar="FILE",
        help="an image of the frames' size; pixels that are 0 in it are never inspected",
    )


def view_options(chosen: argparse.Namespace) -> Views:
    """The inspected parts of a frame, as a command line gives them."""
    from spade_edge.galleries import Views

    return Views(
        tile=None if chosen.views in (WHOLE, AUTO) else chosen.views,
        overlap=chosen.overlap,
        regions=tuple(chosen.region),
        mask=chosen.mask,
        auto=chosen.views == AUTO,
    )


def _views(text: str) -> str | tuple[int, int]:
    return text if text in (WHOLE, AUTO) else size(text)


def _region(text: str) -> Box:
    parts = text.split(",")
    if len(parts) != 4 or not all(re.fullmatch(r" *[0-9]{1,9} *", part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected X,Y,WIDTH,HEIGHT in whole pixels, found {shown(text)}")
    x, y, width, height = (int(part) for part in parts)
    return x, y, width, height
