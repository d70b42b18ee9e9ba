"""Rows of a table that a spreadsheet opens without harm."""

from __future__ import annotations

import csv
import io

import pytest
from sample_decisions import decision

from spade_edge.tools.line.decision_table import COLUMNS, header, line, row


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_a_row_has_every_field_and_the_worst_region() -> None:
    (names,), (cells,) = read(header()), read(line(row(decision(7).to_json())))
    found = dict(zip(names, cells, strict=True))
    expected = decision(7).to_json()
    assert tuple(names) == COLUMNS
    for name in set(expected) & set(names) - {"regions"}:
        assert found[name] == str(expected[name])
    assert found["regions"] == "1" and found["worst_score"] == "7.5" and found["worst_height"] == "6"
    assert set(expected) - set(names) == {"stages"}


def test_a_part_without_a_score_has_empty_cells() -> None:
    fields = decision(score=None, threshold=None, pixel_threshold=None, p=None, regions=()).to_json()
    found = dict(zip(COLUMNS, read(line(row(fields)))[0], strict=True))
    assert found["score"] == found["p"] == found["worst_x"] == "" and found["regions"] == "0"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", '=cmd|"x"', "\x00=1"])
def test_a_text_is_never_a_formula(text: str) -> None:
    written = line(row(decision(id=text, reason=text).to_json()))
    assert written.count("\n") == 1 and written.endswith("\n") and "\r" not in written
    (cells,) = read(written)
    found = dict(zip(COLUMNS, cells, strict=True))
    for name in ("trigger", "reason"):
        assert not found[name].strip().startswith(("=", "+", "-", "@"))


def test_a_negative_score_stays_a_number() -> None:
    (cells,) = read(line(row(decision(score=-0.5).to_json())))
    assert float(dict(zip(COLUMNS, cells, strict=True))["score"]) == -0.5


def test_quotes_and_commas_come_back() -> None:
    (cells,) = read(line(row(decision(id='a "b", c', reason="é, ü").to_json())))
    found = dict(zip(COLUMNS, cells, strict=True))
    assert (found["trigger"], found["reason"]) == ('a "b", c', "é, ü")
