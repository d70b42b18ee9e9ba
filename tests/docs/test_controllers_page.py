"""docs/line/controllers.md has the tables of the code, and its configurations can be read."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from documents import PAGES

from spade_edge.tools.line.configuration.reader import mistakes
from spade_edge.tools.line.outputs import pulses, registers, vision_nodes
from spade_edge.tools.line.outputs.registers import Register
from spade_edge.tools.line.outputs.vision_nodes import Variable

PAGE = PAGES["docs/line/controllers.md"]


def register_rows(table: tuple[Register, ...]) -> list[str]:
    places = {each.name: f"{each.at}" if each.kind == "uint16" else f"{each.at}, {each.at + 1}" for each in table}
    return [f"| {places[each.name]} | `{each.name}` | {each.kind} | {each.about} |" for each in table]


def variable_rows(table: tuple[Variable, ...]) -> list[str]:
    return [f"| `{each.path}` | {each.type} | {'yes' if each.specified else ''} | {each.about} |" for each in table]


TABLES = {
    "header": register_rows(registers.HEADER),
    "camera": register_rows(registers.CAMERA),
    "slot": register_rows(registers.SLOT),
    "commands": register_rows(registers.COMMANDS + registers.ANSWERS),
    "bits of the line": [f"| {at} | {about} |" for at, about in enumerate(registers.LINE_BITS)],
    "bits of a camera": [f"| {at} | {about} |" for at, about in enumerate(registers.CAMERA_BITS)],
    "nodes of the line": variable_rows(vision_nodes.LINE),
    "nodes of a camera": variable_rows(vision_nodes.CAMERA),
    "nodes of a result": variable_rows(vision_nodes.RESULT),
}


@pytest.mark.parametrize("table", TABLES)
def test_the_table_is_that_of_the_code(table: str) -> None:
    assert "|---|" in PAGE
    assert "\n".join(TABLES[table]) + "\n\n" in PAGE


def test_codes_sizes_and_names() -> None:
    for words in (
        "20 + 100 · (k − 1)",
        "50 + 6 · (number mod 8)",
        "16 · k",
        "10 · (k − 1)",
        f"`{vision_nodes.NAMESPACE}`",
        f"LimitRTPRIO={pulses.PRIORITY}",
    ):
        assert words in PAGE
    assert (registers.HEADER_SIZE, registers.BLOCK_SIZE, registers.BITS, registers.COMMAND_SIZE) == (20, 100, 16, 10)
    assert (registers.FIRST_SLOT, registers.SLOT_SIZE, registers.SLOTS) == (50, 6, 8)
    for path, _, _ in vision_nodes.METHODS:
        assert f"`{path}(" in PAGE


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_the_configurations_read(text: str) -> None:
    whole = f"""
[recipe.bolt]
bundle = "bolt.spade"
[camera.top]
source = "0"
recipe = "bolt"
deadline_ms = 150
{text}"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.toml"
        path.write_text(whole, encoding="utf-8")
        assert [each for each in mistakes(path) if "bolt.spade" not in str(each)] == []


def print_tables() -> None:
    """For whoever changes a table."""
    for name, rows in TABLES.items():
        print(f"--- {name}", *rows, sep="\n")
