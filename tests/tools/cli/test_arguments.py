"""Numbers on the command line: right ones are read, absurd ones get one line, without Python's own words."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import pytest

from spade_edge.galleries import BuildOptions
from spade_edge.runtime import UsageError
from spade_edge.tools.cli import arguments
from spade_edge.tools.cli.commands.bench import batch, milliseconds, rate
from spade_edge.tools.cli.main import parser
from spade_edge.tools.cli.view_arguments import _region
from spade_edge.tools.sources import SourceOptions

ABSURD = ("", " 5", "5 ", "1_0", "１２", "٣", "0x10", "1e400", "-1", "nan", "-inf", "99999999999", 5000 * "9", "5\n")
OTHER = (
    arguments.tries,
    arguments.size,
    arguments.raw,
    arguments.fraction,
    arguments.not_negative,
    _region,
    rate,
    milliseconds,
)
WHOLE = (arguments.positive, arguments.natural, arguments.threads, arguments.lines, arguments.gpu_memory, batch)


@pytest.mark.parametrize("text", ABSURD)
@pytest.mark.parametrize(
    "read",
    [*WHOLE, *OTHER],
)
def test_absurd_numbers_are_refused_in_one_line(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        read(text)
    said = str(refused.value)
    assert said.startswith("expected ") and "found '" in said and len(said) < 250 and "\n" not in said


@pytest.mark.parametrize("text", ["1e-300", "0.0000009", "1e-320%", "0", "1", "100%", "1e9", "%", "-5%", "inf", "NaN%"])
def test_fractions_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.fraction(text)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (arguments.fraction, "0.01", 0.01),
        (arguments.fraction, "5%", 0.05),
        (arguments.fraction, "1e-6", 1e-6),
        (arguments.positive, "007", 7),
        (arguments.natural, "0", 0),
        (arguments.threads, "1024", 1024),
        (arguments.integer, "-5", -5),
        (arguments.number, "-1.5e3", -1500.0),
        (arguments.number, "inf", math.inf),  # refused where it is used, by name
        (arguments.not_negative, "2.5", 2.5),
        (arguments.seconds, "0.5", 0.5),
        (arguments.tries, "forever", math.inf),
        (arguments.size, "640x480", (480, 640)),
        (arguments.raw, "640x480x1", (480, 640, 1)),
        (_region, "1, 2,3,4", (1, 2, 3, 4)),
        (batch, "256", 256),
        (rate, "29.97", 29.97),
        (rate, "1000", 1000.0),
        (milliseconds, "0.5", 0.5),
        (milliseconds, "1e6", 1e6),
    ],
)
def test_right_numbers(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e-3", "1001", "ten", ""])
def test_rates_that_no_camera_has(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        rate(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1000001", "1_0", ""])
def test_deadlines_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        milliseconds(text)


@pytest.mark.parametrize("text", ["1e300", "nan", "inf", "-1", "1_0", ""])
def test_seconds_that_nobody_waits(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.seconds(text)


def test_every_number_of_every_command_is_read_by_a_function_of_ours() -> None:
    """`int` reads digits of other scripts and underscores, and argparse words its failures."""
    commands = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    found = [
        (name, action.option_strings)
        for name, command in commands.choices.items()
        for action in command._actions
        if action.type in (int, float)
    ]
    assert found == []


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 1e-300}, {"rate": math.nan}, {"rate": 0.0}, {"rate": 1.0}, {"area": math.inf}, {"area": -1.0},
        {"threads": 0}, {"threads": -1}, {"threads": 10**9},
    ],
)  # fmt: skip
def test_options_of_a_build_in_python(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        BuildOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"reopen": -1}, {"reopen": math.nan}, {"stall": -1}, {"stall": math.inf}, {"stall": 1e300}, {"frozen": -5},
        {"linescan": 0}, {"linescan": 10**9}, {"linescan": 9, "line_overlap": -1}, {"raw": (0, 5, 3)},
        {"raw": (5, 10**9, 3)}, {"raw": (5, 5, 4)},
    ],
)  # fmt: skip
def test_options_of_a_source_in_python(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        SourceOptions(**options)
    assert SourceOptions(reopen=math.inf).tries == math.inf
