"""The types of command-line arguments, and options that several commands share."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path

from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.threshold import LOWEST_RATE
from spade_edge.runtime.device_path import AUTO as AUTO_MATCH
from spade_edge.runtime.device_path import CHOICES
from spade_edge.runtime.geometry.view import LARGEST_SIDE
from spade_edge.runtime.kernels.ort import MOST_THREADS
from spade_edge.runtime.legible import legible
from spade_edge.runtime.matching.config import EXACT
from spade_edge.runtime.network.provider import AUTO, CPU, NAMES, Provider
from spade_edge.tools.sources.address import without_login

LARGEST_COUNT = 1_000_000  # of frames, images or attempts
LONGEST_WAIT = 1_000_000.0  # seconds
LARGEST_GPU = 1_000_000  # megabytes
LARGEST_AREA = LARGEST_SIDE**2  # pixels


def whole(text: str, *, least: int, most: int, what: str = "") -> int:
    """A whole number in a range.

    Args:
        text: the argument.
        least: smallest number.
        most: largest number.
        what: is counted, for messages.
    """
    digits = (text.lstrip("0") or "0") if text else ""
    # Digits of other scripts are none here, and Python refuses to read thousands of them.
    if not (text.isascii() and digits.isdecimal()) or (len(digits) < 19 and int(digits) < least):
        raise argparse.ArgumentTypeError(f"expected a whole number of {least} or more, found {shown(text)}")
    if len(digits) >= 19 or int(digits) > most:
        raise argparse.ArgumentTypeError(f"expected at most {most}{f' {what}' if what else ''}, found {shown(text)}")
    return int(digits)


def real(text: str, *, expected: str) -> float:
    """A number as it is written in English, or nan or inf.

    Args:
        text: the argument.
        expected: the end of the sentence "expected …", for messages.
    """
    try:
        if not text.isascii() or "_" in text or text != text.strip():
            raise ValueError
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {expected}, found {shown(text)}") from None


def shown(text: str) -> str:
    """An argument as messages repeat it: printable, short, and without the password of an address."""
    line = legible(without_login(text))
    return f"'{line}'" if len(line) <= 60 else f"'{line[:57]}...'"


def positive(text: str) -> int:
    """A whole number of 1 or more; like the functions below, a type for argparse."""
    return whole(text, least=1, most=LARGEST_COUNT)


def natural(text: str) -> int:
    """A whole number of 0 or more."""
    return whole(text, least=0, most=LARGEST_COUNT)


def integer(text: str) -> int:
    """A whole number, also a negative one, whose range is checked where it is used."""
    if not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number, found {shown(text)}")
    return int(text)


def number(text: str) -> float:
    """A number whose range is checked where it is used."""
    return real(text, expected="a number")


def bits(text: str) -> int:
    """How many of 16 bits a camera uses."""
    return whole(text, least=8, most=16, what="bits")


def threads(text: str) -> int:
    """A number of threads."""
    return whole(text, least=1, most=MOST_THREADS, what="threads")


def gpu_memory(text: str) -> int:
    """Megabytes of GPU memory."""
    return whole(text, least=1, most=LARGEST_GPU, what="megabytes")


def path(text: str) -> Path:
    """A path. An empty text is refused, because it would silently stand for the current folder."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, found {shown(text)}")
    return Path(text)


def fraction(text: str) -> float:
    """A fraction over 0 and under 1, as a number or in percent, and not so small that it stands for never."""
    expected = "a fraction such as 0.01 or 1%"
    percent = text.endswith("%")
    value = real(text[:-1].rstrip(" ") if percent else text, expected=expected) / (100 if percent else 1)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected {expected}, found {shown(text)}")
    if value < LOWEST_RATE:
        raise argparse.ArgumentTypeError(f"expected a fraction of at least {LOWEST_RATE:f}, found {shown(text)}")
    return value


def not_negative(text: str) -> float:
    """An area in pixels of a frame; 0 for any."""
    value = real(text, expected="a number of 0 or more")
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, found {shown(text)}")
    if value > LARGEST_AREA:
        raise argparse.ArgumentTypeError(
            f"expected at most {LARGEST_AREA}, the pixels of the largest frame, found {shown(text)}"
        )
    return value


def size(text: str) -> tuple[int, int]:
    """(height, width) from "WIDTHxHEIGHT" or one number."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(_is_side(part, most=16384) for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected WIDTHxHEIGHT or one number, from 1 to 16384 pixels, found {shown(text)}"
        )
    return int(parts[-1]), int(parts[0])


def seconds(text: str) -> float:
    """A number of seconds; 0 for never."""
    value = real(text, expected="0 seconds or more")
    if not 0 <= value <= LONGEST_WAIT:
        raise argparse.ArgumentTypeError(
            f"expected 0 seconds or more, and at most {LONGEST_WAIT:.0f}, found {shown(text)}"
        )
    return value


def tries(text: str) -> float:
    """A whole number of 0 or more, or infinity for "forever"."""
    if text == "forever":
        return math.inf
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, or forever, found {shown(text)}")
    return natural(text)


def lines(text: str) -> int:
    """A number of lines."""
    return whole(text, least=1, most=LARGEST_SIDE, what="lines")


def raw(text: str) -> tuple[int, int, int]:
    """(height, width, channels) from "WIDTHxHEIGHT" or "WIDTHxHEIGHTxCHANNELS"."""
    parts = text.lower().split("x")
    sides, channels = parts[:2], parts[2] if len(parts) == 3 else "3"
    fits = all(_is_side(side, most=LARGEST_SIDE) for side in sides)
    if len(parts) not in (2, 3) or not fits or channels not in ("1", "3"):
        raise argparse.ArgumentTypeError(
            f"expected WIDTHxHEIGHT, or WIDTHxHEIGHTx1 for grey, sides of at most {LARGEST_SIDE}, found {shown(text)}"
        )
    return int(sides[1]), int(sides[0]), int(channels)


def source(text: str) -> str:
    """A source of frames."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, a camera number or an address, found {shown(text)}")
    return text


def place_of_images(text: str) -> str:
    """Where images lie: a folder, an address, or a dataset file. `images_at` makes local files of them."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path or an address, found {shown(text)}")
    return text


def _is_side(text: str, *, most: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= most


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the bundle to score with."""
    parser.add_argument("--bundle", required=True, type=path, help="the bundle that 'spade-edge build' wrote")


def add_require_signature(parser: argparse.ArgumentParser, *, what: str = "open the bundle") -> None:
    """Add the keys of which one must have signed the bundle, before something is done with it."""
    parser.add_argument(
        "--require-signature",
        action="append",
        type=path,
        metavar="KEY.pub",
        help=f"{what} only if it was signed with this key ('spade-edge sign'); given several times, one of the keys is "
        "enough",
    )


def add_groups(parser: argparse.ArgumentParser) -> None:
    """--groups: which images show the same part."""
    parser.add_argument(
        "--groups",
        metavar="folder|REGEX|FILE.csv",
        help="which images show the same part: those of a subfolder, those whose names agree in the first group of a "
        "regular expression, or as listed in a file (name, group); without it repeats are found automatically",
    )


def add_bits(parser: argparse._ActionsContainer, *, default: str) -> None:
    """--bits: how many of 16 the camera uses."""
    parser.add_argument(
        "--bits",
        type=bits,
        metavar="N",
        help="image files with 16 bits per channel come from a camera of so many bits, 8 to 16, as 12-bit numbers up "
        f"to 4095 ({default})",
    )


def add_even_so(parser: argparse._ActionsContainer, *, what: str) -> None:
    """--even-so: go on although pictures differ in kind."""
    parser.add_argument("--even-so", action="store_true", help=what)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the number of threads."""
    parser.add_argument("--threads", type=threads, metavar="N", help="threads for all work (default: one per core)")


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the choice of exact search."""
    parser.add_argument("--search", choices=(EXACT,), help="compare with every embedding: slow, the reference")


def add_match(parser: argparse.ArgumentParser) -> None:
    """Add the choice of where cells are matched."""
    parser.add_argument(
        "--match",
        choices=CHOICES,
        default=AUTO_MATCH,
        help="where frames are resampled and cells are matched: on the GPU if the network runs there and the gallery "
        "fits, otherwise on the CPU (auto); cpu: on the CPU; device: where the network runs, or the command fails; on "
        "the CPU that is slower, and for tests; not yet tested on a GPU",
    )


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
        type=gpu_memory,
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
