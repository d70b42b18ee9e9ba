"""The options of commands that read cameras and other live sources."""

from __future__ import annotations

import argparse

from spade_edge.galleries.images.like_good import Reading
from spade_edge.runtime.geometry.frame import BGR, RGB
from spade_edge.runtime.preprocessing.frame_format import FrameFormat
from spade_edge.tools.cli.arguments import add_bits, lines, natural, raw, seconds, tries
from spade_edge.tools.cli.folder_arguments import add_follow_links
from spade_edge.tools.sources import SourceOptions
from spade_edge.tools.sources.options import FROZEN, REOPEN, STALL

NAMES = ("channels", "reopen", "stall", "frozen", "raw", "linescan", "line_overlap", "follow_links")


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `source_options` reads."""
    cameras = parser.add_argument_group("cameras and watched folders")
    cameras.add_argument(
        "--reopen",
        type=tries,
        metavar="TIMES|forever",
        help=f"attempts to open a source that has stopped, 0.5 to 30 s apart ({REOPEN}); 'forever' also waits for "
        "a camera that is missing at the start",
    )
    cameras.add_argument(
        "--stall",
        type=seconds,
        metavar="SECONDS",
        help=f"report a stall after this many seconds without a frame ({STALL:g}); 0 for never, for triggered cameras",
    )
    cameras.add_argument(
        "--frozen",
        type=natural,
        metavar="N",
        help=f"stop judging at the Nth frame in a row that is identical bit for bit ({FROZEN}); 0 for never",
    )
    add_follow_links(parser)
    frames = parser.add_argument_group("format of the frames")
    frames.add_argument(
        "--raw",
        type=raw,
        metavar="WIDTHxHEIGHT[xCHANNELS]",
        help="stdin has raw pixels: 3 channels in the order blue, green, red (default), or 1 channel of grey",
    )
    add_bits(frames, default="as in the good images")
    frames.add_argument(
        "--channels",
        choices=(BGR, RGB),
        help="order of the channels in .npy files, in raw pixels and in your own camera's frames (bgr)",
    )
    frames.add_argument(
        "--linescan",
        type=lines,
        metavar="LINES",
        help="the camera delivers blocks of lines: assemble and score strips of this many lines",
    )
    frames.add_argument(
        "--line-overlap", type=natural, metavar="LINES", help="lines that a strip shares with the previous one (0)"
    )


def source_options(chosen: argparse.Namespace, good: FrameFormat) -> SourceOptions:
    """How to read the source of a command line.

    Args:
        chosen: the command line.
        good: what the good images have in common; image files are read as they were.

    Raises:
        UsageError: the options contradict each other.
    """
    reading = Reading.like(good, bits=chosen.bits, even_so=chosen.even_so)
    options = {name: getattr(chosen, name) for name in NAMES}
    return SourceOptions(**options, bits=reading.bits, depth=reading.depth)
