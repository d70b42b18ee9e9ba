"""What values an argument of the command line may have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from spade_edge.runtime import UsageError
from spade_edge.runtime.geometry.view import LARGEST_SIDE
from spade_edge.runtime.network.provider import AUTO, CPU, NAMES, Provider


def positive(text: str) -> int:
    """A whole number from 1, as an argparse type."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def threads(text: str) -> int:
    """A number of threads."""
    count = positive(text)
    if count > 1024:
        raise argparse.ArgumentTypeError(f"expected at most 1024 threads, found {text}")
    return count


def path(text: str) -> Path:
    """A path; an empty text would silently stand for the current folder."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, found {text!r}")
    return Path(text)


def share(text: str) -> float:
    """A share over 0 and under 1, as a number or in percent."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share such as 0.01 or 1%, found {text!r}")
    return value


def not_negative(text: str) -> float:
    """A finite number from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number from 0, found {text!r}")
    return value


def size(text: str) -> tuple[int, int]:
    """(height, width) from "WIDTHxHEIGHT" or one number."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and 0 < int(part) <= 16384 for part in parts):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT or one number, found {text!r}")
    return int(parts[-1]), int(parts[0])


def natural(text: str) -> int:
    """A whole number from 0."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, found {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A time, 0 for never."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds from 0, found {text!r}")
    return value


def tries(text: str) -> float:
    """A whole number from 0, or infinity from "forever"."""
    if text == "forever":
        return math.inf
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, or forever, found {text!r}")
    return int(text)


def lines(text: str) -> int:
    """Lines of a frame."""
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
    """Where frames come from."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, a camera's number or an address, found {text!r}")
    return text


def add_provider(parser: argparse.ArgumentParser, *, names: Sequence[str] = NAMES, default: str = CPU) -> None:
    """Add what runs the network; `provider` makes a `Provider` of it."""
    hint = "; tensorrt after 'spade-edge prepare'; auto: the best that is ready and works" if AUTO in names else ""
    parser.add_argument(
        "--provider", choices=tuple(names), default=default, help=f"what runs the network ({default}){hint}"
    )
    gpu = parser.add_argument_group("on a GPU")
    gpu.add_argument("--device", type=natural, metavar="N", help="number of the GPU (0)")
    gpu.add_argument("--gpu-memory", type=positive, metavar="MB", help="most that CUDA takes for data (no limit)")
    gpu.add_argument("--cuda-graph", action="store_true", help="launch the whole network at once; not tried on a GPU")
    if AUTO in names:
        gpu.add_argument(
            "--allow-fallback",
            action="store_true",
            help="where the provider cannot be had, go on with cuda or the cpu, and say so",
        )


def spelt(chosen: argparse.Namespace) -> list[str]:
    """What `add_provider` has read, as a command line has it."""
    line = ["--provider", chosen.provider]
    for option, value in (("--device", chosen.device), ("--gpu-memory", chosen.gpu_memory)):
        line += [] if value is None else [option, str(value)]
    line += ["--cuda-graph"] if chosen.cuda_graph else []
    return [*line, "--allow-fallback"] if getattr(chosen, "allow_fallback", False) else line


def provider(chosen: argparse.Namespace) -> Provider:
    """What runs the network.

    Raises:
        UsageError: an option of a GPU, and the CPU.
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
