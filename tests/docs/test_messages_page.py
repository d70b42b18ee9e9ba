"""docs/line/messages.md and docs/line/evidence.md name every field, column and file that there is, and no other."""

from __future__ import annotations

import json
import re

from documents import PAGES, blocks
from sample_decisions import decision, line_state

from spade_edge.tools.line.configuration.options import EvidenceOptions
from spade_edge.tools.line.decision_table import COLUMNS
from spade_edge.tools.line.evidence.entry import NAME

PAGE, EVIDENCE = "docs/line/messages.md", "docs/line/evidence.md"


def flowing(page: str) -> str:
    return re.sub(r"\s+", " ", PAGES[page])


def test_the_example_and_the_table_have_the_fields_of_a_decision() -> None:
    (example,) = (json.loads(block.text) for block in blocks("json") if block.page == PAGE)
    fields = decision(1, test=True).to_json()
    assert list(example) == list(fields)[:-1]
    assert {name: type(value) for name, value in example.items()} == {name: type(fields[name]) for name in example}
    assert list(example["regions"][0]) == list(fields["regions"][0])
    described = re.findall(r"^\| `(\w+)` \| [a-z]", PAGES[PAGE].partition("## MQTT")[0], re.MULTILINE)
    assert described == list(fields)


def test_the_heartbeat_is_described_whole() -> None:
    state = line_state().to_json()
    told = flowing(PAGE).partition("**A heartbeat**")[2].partition("**Delivery.**")[0]
    names = {*state, *state["cameras"][0], *state["outputs"][0], *state["cameras"][0]["milliseconds"]}
    assert {name for name in names if f"`{name}`" not in told} == set()


def test_the_columns_are_those_of_the_file() -> None:
    told = flowing(PAGE).partition("these columns:")[2].partition("Text that")[0]
    assert tuple(re.findall(r"`(\w+)`", told)) == COLUMNS


def test_the_evidence_is_as_described() -> None:
    name = re.search(r"^ +(\S+)/ +time of the trigger", PAGES[EVIDENCE], re.MULTILINE)
    assert name is not None and NAME.fullmatch(name[1])
    (table,) = (block.text for block in blocks("toml") if block.page == EVIDENCE)
    assert re.findall(r"^(\w+) =", table, re.MULTILINE) == list(EvidenceOptions.__dataclass_fields__)
