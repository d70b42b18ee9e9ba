"""The types of command-line arguments, and options that several commands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from spade_edge.runtime import UsageError
from spade_edge.runtime.geometry.view import LARGEST_SIDE
from spade_edge.runtime.matching.config import EXACT
from spade_edge.runtime.network.provider import AUTO, CPU, NAMES, Provider


def positive(text: str) -> int:
    """A whole number of 1 or more; like the other functions here, a type for argparse."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text!r}")
    return int(text)


def threads(text: str) -> int:
    """A number of threads."""
    count = positive(text)
    if count > 1024:
        raise argparse.ArgumentTypeError(f"expected at most 1024 threads, found {text}")
    return count


def path(text: str) -> Path:
    """A path. An empty text is refused, because it would silently stand for the current folder."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, found {text!r}")
    return Path(text)


def fraction(text: str) -> float:
    """A fraction over 0 and under 1, as a number or in percent."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a fraction such as 0.01 or 1%, found {text!r}")
    return value


def not_negative(text: str) -> float:
    """A finite number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, found {text!r}")
    return value


def size(text: str) -> tuple[int, int]:
    """(height, width) from "WIDTHxHEIGHT" or one number."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and 0 < int(part) <= 16384 for part in parts):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT or one number, found {text!r}")
    return int(parts[-1]), int(parts[0])


def natural(text: str) -> int:
    """A whole number of 0 or more."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, found {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds; 0 for never."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected 0 seconds or more, found {text!r}")
    return value


def tries(text: str) -> float:
    """A whole number of 0 or more, or infinity for "forever"."""
    if text == "forever":
        return math.inf
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, or forever, found {text!r}")
    return int(text)


def lines(text: str) -> int:
    """A number of lines."""
    count = positive(text)
    if count > LARGEST_SIDE:
        raise argparse.ArgumentTypeError(f"expected at most {LARGEST_SIDE} lines, found {text}")
    return count


def raw(text: str) -> tuple[int, int, int]:
    """(height, width, channels) from "WIDTHxHEIGHT" or "WIDTHxHEIGHTxCHANNELS"."""
    parts = text.lower().split("x")
    sides, channels = parts[:2], parts[2] if len(parts) == 3 else "3"
    fits = all(side.isascii() and side.isdecimal() and 0 < int(side) <= LARGEST_SIDE for side in sides)
    if len(parts) not in (2, 3) or not fits or channels not in ("1", "3"):
        raise argparse.ArgumentTypeError(
            f"expected WIDTHxHEIGHT, or WIDTHxHEIGHTx1 for grey, sides of at most {LARGEST_SIDE}, found {text!r}"
        )
    return int(sides[1]), int(sides[0]), int(channels)


def source(text: str) -> str:
    """A source of frames."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, a camera number or an address, found {text!r}")
    return text


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the bundle to score with."""
    parser.add_argument("--bundle", required=True, type=path, help="the bundle that 'spade-edge build' wrote")


def add_groups(parser: argparse.ArgumentParser) -> None:
    """--groups: which images show the same part."""
    parser.add_argument(
        "--groups",
        metavar="folder|REGEX|FILE.csv",
        help="which images show the same part: those of a subfolder, those whose names agree in the first group of a "
        "regular expression, or as listed in a file (name, group); without it repeats are found automatically",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the number of threads."""
    parser.add_argument("--threads", type=threads, metavar="N", help="threads for all work (default: one per core)")


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the choice of exact search."""
    parser.add_argument("--search", choices=(EXACT,), help="compare with every embedding: slow, the reference")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the choice of JSON."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def add_provider(parser: argparse.ArgumentParser, *, names: Sequence[str] = NAMES, default: str = CPU) -> None:
    """Add the choice of what runs the network; `provider` makes a `Provider` of it."""
    hint = "; run 'spade-edge prepare' before tensorrt; auto: the best that is ready and works" if AUTO in names else ""
    parser.add_argument(
        "--provider", choices=tuple(names), default=default, help=f"what runs the network ({default}){hint}"
    )
    gpu = parser.add_argument_group("on a GPU")
    gpu.add_argument("--device", type=natural, metavar="N", help="number of the GPU (0)")
    gpu.add_argument(
        "--gpu-memory",
        type=positive,
        metavar="MB",
        help="limit of the GPU memory that CUDA uses for data (default: none)",
    )
    gpu.add_argument(
        "--cuda-graph", action="store_true", help="launch all kernels of the network at once; not yet tested on a GPU"
    )
    if AUTO in names:
        gpu.add_argument(
            "--allow-fallback",
            action="store_true",
            help="if the provider is not available, use CUDA or the CPU instead, and say so",
        )


def provider_options(chosen: argparse.Namespace) -> list[str]:
    """The options of `add_provider` as arguments for another command."""
    line = ["--provider", chosen.provider]
    for option, value in (("--device", chosen.device), ("--gpu-memory", chosen.gpu_memory)):
        line += [] if value is None else [option, str(value)]
    line += ["--cuda-graph"] if chosen.cuda_graph else []
    return [*line, "--allow-fallback"] if getattr(chosen, "allow_fallback", False) else line


def provider(chosen: argparse.Namespace) -> Provider:
    """What runs the network.

    Raises:
        UsageError: an option of a GPU together with the CPU.
    """
    if chosen.provider == CPU:
        for option, value in (("--device", chosen.device), ("--gpu-memory", chosen.gpu_memory)):
            if value is not None:
                raise UsageError(f"expected {option} with a --provider on a GPU, found {CPU}")
        if chosen.cuda_graph:
            raise UsageError(f"expected --cuda-graph with a --provider on a GPU, found {CPU}")
    return Provider(
        chosen.provider,
        device=chosen.device or 0,
        memory=None if chosen.gpu_memory is None else chosen.gpu_memory * 1_000_000,
        cuda_graph=chosen.cuda_graph,
    )
