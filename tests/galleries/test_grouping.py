"""The user's own groups: by subfolder, by a regular expression, from a table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spade_edge.galleries.grouping import groups_of
from spade_edge.runtime import DataError, UsageError

NAMES = ("b.png", "part 7/1.png", "a.png", "part 7/2.png", "part 8/1.png", "part 8/deep/1.png")


def write(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "groups.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_subfolder_is_a_part_and_each_image_above_them_is_one(tmp_path: Path) -> None:
    assert groups_of(NAMES, "folder", folder=tmp_path) == (0, 1, 2, 1, 3, 4)


def test_a_file_and_a_folder_of_one_name_are_two_parts(tmp_path: Path) -> None:
    assert groups_of(("x.png", "x.png/1.png", "x.png/2.png"), "folder", folder=tmp_path) == (0, 1, 1)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (r"^([^_]+)_", (0, 1, 0, 2)),
        (r"p\d", (0, 1, 0, 2)),  # no group: the whole match
        (r"_(\d)\.(png|jpg)", (0, 1, 1, 0)),  # the first of two groups
        (r"(?:p)(\d)", (0, 1, 0, 2)),
    ],
)
def test_an_expression_finds_what_identifies_the_part(
    expression: str, expected: tuple[int, ...], tmp_path: Path
) -> None:
    assert groups_of(("p7_1.png", "p3_2.png", "p7_2.jpg", "p1_1.png"), expression, folder=tmp_path) == expected


def test_an_empty_match_is_an_identity_too(tmp_path: Path) -> None:
    assert groups_of(("a.png", "7a.png", "b.png"), r"^(\d*)", folder=tmp_path) == (0, 1, 0)


@pytest.mark.parametrize("expression", [r"part (\d)", r"(?:part (\d))?"])
def test_each_name_must_match(expression: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 of 6 without a match, the first is b.png; widen"):
        groups_of(NAMES, expression, folder=tmp_path)


@pytest.mark.parametrize("expression", ["(", "[a", "*", "(?P<x"])
def test_an_invalid_expression_is_refused(expression: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--groups {re.escape(expression)}: expected 'folder', a .csv file or"):
        groups_of(NAMES, expression, folder=tmp_path)


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("header", ["", "name{}group\n", "Name {} Group\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_gives_name_and_group(separator: str, header: str, mark: str, tmp_path: Path) -> None:
    lines = ["a.png,x", "", "sub/ü.png , y", '"c,d;e.png",x', "f.png,01", "g.png,1"]
    text = mark + header.format(separator) + "\n".join(re.sub(r",(?=[^,]*$)", separator, line) for line in lines)
    names = ("c,d;e.png", "a.png", "sub/ü.png", "g.png", "f.png")
    assert groups_of(names, write(tmp_path, text), folder=tmp_path) == (0, 0, 1, 2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,1\nb.png,2\na.png,1\n", "line 3: expected each image once, found a.png again"),
        ("a.png,1\nc.png,2\nd.png,3\n", "line 2: expected the name of an image relative to .*, found c.png"),
        ("a.png,1\n", "no line for 1 of 2, the first is b.png; add"),
        ("name,group\n", "no line for 2 of 2, the first is a.png; add"),
        ("", "no line for 2 of 2"),
        ("a.png,1\nb.png\n", "line 2: expected a name and a group, found .'b.png'."),
        ("a.png,1\nb.png,\n", "line 2: expected a name and a group"),
        ("a.png,1,x\nb.png,2,x\n", "line 1: expected a name and a group"),
        ('a.png,1\n"b.png,2\n', "line 2: expected a name and a group, found: unexpected end of data"),
        ("ä.png,1\n".encode("latin-1"), "expected a table in UTF-8, found another encoding; save"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"groups.csv.*{message}"):
        groups_of(("a.png", "b.png"), write(tmp_path, text), folder=tmp_path)


def test_a_table_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: expected a table of name and group, found: No such file"):
        groups_of(NAMES, str(tmp_path / "no.csv"), folder=tmp_path)
    (tmp_path / "dir.CSV").mkdir()
    with pytest.raises(DataError, match=r"dir\.CSV: expected a table"):
        groups_of(NAMES, str(tmp_path / "dir.CSV"), folder=tmp_path)


def test_fewer_than_two_groups_are_refused(tmp_path: Path) -> None:
    for names, spec in (
        (("x/1.png", "x/2.png"), "folder"),
        (("x1.png", "x2.png"), "x"),
        (("a.png", "b.png"), write(tmp_path, "a.png,1\nb.png,1\n")),
    ):
        with pytest.raises(DataError, match="expected images of at least 2 parts, found 1 group of 2 images with"):
            groups_of(names, spec, folder=tmp_path)
