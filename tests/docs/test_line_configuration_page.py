"""The page of a line's configuration: its example is read, its messages are the reader's, and no option is missing."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from documents import DOCS, PAGES

from spade_edge.tools.line.configuration.description import MOST, options_of, tables
from spade_edge.tools.line.configuration.options import GpioOptions
from spade_edge.tools.line.configuration.reader import mistakes, read
from spade_edge.tools.line.configuration.text import LARGEST

PAGE = (DOCS / "reference" / "line-configuration.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEAST = '[recipe.r]\nbundle = "b"\n[camera.c]\nsource = "0"\nrecipe = "r"\ndeadline_ms = 100\n'


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_is_read(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    file.write_text(block("toml"), encoding="utf-8")
    assert mistakes(file) == ()
    configuration = read(file)
    assert list(configuration.cameras) == ["top", "side"] and len(configuration.outputs) == 4
    gate = configuration.outputs["gate"]
    assert isinstance(gate, GpioOptions) and gate.delay_ms >= configuration.cameras["top"].deadline_ms


BLOCKS = [block for page in PAGES.values() for block in EXAMPLE.findall(page)]


@pytest.mark.parametrize("text", [block for block in BLOCKS if "[[bundle]]" not in block])  # those are plans of a fleet
def test_every_example_in_the_documents_is_read(text: str, tmp_path: Path) -> None:
    """As it stands, or with what a line needs at least."""
    file = tmp_path / "line.toml"
    file.write_text(text if "[camera." in text else f"{text}\n{LEAST}", encoding="utf-8")
    assert mistakes(file) == ()


def test_the_mistakes_are_what_the_reader_says(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    text = block("toml").replace('recipe = "cap"', 'recipe = "caps"', 1).replace("= 150", '= "150"')
    file.write_text(text.replace('"message"', '"Message"'), encoding="utf-8")
    assert block("text").splitlines() == [str(mistake) for mistake in mistakes(file)]


def test_every_option_has_a_row() -> None:
    made = hooks().on_page_markdown(PAGE, page=_Page)
    assert "<!--" not in made
    for name, kind, table in tables():
        title = f'{name}.NAME] with kind = "{kind}"' if kind else name
        (section,) = re.findall(rf"^### `\[{re.escape(title)}.*?(?=^### |\Z)", made, re.MULTILINE | re.DOTALL)
        for key in options_of(table):
            assert f"`{key}`" in section, (name, kind, key)
    widths = {line.count(" | ") for line in made.split("### `[line]`")[1].splitlines() if line.startswith("| `")}
    assert widths == {3}  # nothing in a description ends a cell


def test_the_limits_are_those_of_the_reader() -> None:
    told = " ".join(PAGE.split())
    assert f"at most {LARGEST // 10**6} MB, {MOST['camera']} cameras, {MOST['output']} outputs" in told
    assert f"and {MOST['recipe']} recipes" in told


class _Page:
    """As much of mkdocs' page as the hook needs."""

    class file:  # noqa: N801
        src_uri = "reference/line-configuration.md"
