"""Where tables and keys stand in a file, against a file in which each value is the number of its line."""

from __future__ import annotations

from typing import Any

import pytest

from spade_edge.tools.line.configuration.places import Place, places
from spade_edge.tools.line.configuration.text import document

TEXT = '''\
# "[not.a.table]" = 1
top = 2
[a]  # [b]
x = 4
"y z" = 5
'q' . r = 6
text = """ seven
] = [
"quotes" \\""" "" and more""""
after = 10
[ "a.b" . c ]
list = [ 12, # twelve ]
  13,
  [14, [14]],
  "15", \'\'\'16
x = 3
\'\'\', 18, {k = 18, l = {m = 18}}, 19.5
]
inline = { p = 20, q.r = 20, s = [20, {}], t = "}" }
date = 1979-05-27 07:32:00.5
last = \'it, = [\' # x = 1
[[tables]]
x = 24
[[tables]]
x = 26
[a.deep]
x = 28'''


def unquoted(key: str) -> str:
    return key[1:-1]


def test_places() -> None:
    found = places(TEXT, unquoted=unquoted)
    expected: dict[Place, int] = {
        ("top",): 2, ("a",): 3, ("a", "x"): 4, ("a", "y z"): 5, ("a", "q"): 6, ("a", "q", "r"): 6, ("a", "text"): 7,
        ("a", "after"): 10, ("a.b",): 11, ("a.b", "c"): 11, ("a.b", "c", "list"): 12, ("a.b", "c", "list", 0): 12,
        ("a.b", "c", "list", 1): 13, ("a.b", "c", "list", 2): 14, ("a.b", "c", "list", 3): 15,
        ("a.b", "c", "list", 4): 15, ("a.b", "c", "list", 5): 17, ("a.b", "c", "list", 6): 17,
        ("a.b", "c", "list", 7): 17, ("a.b", "c", "inline"): 19, ("a.b", "c", "inline", "p"): 19,
        ("a.b", "c", "inline", "q"): 19, ("a.b", "c", "inline", "s"): 19, ("a.b", "c", "inline", "t"): 19,
        ("a.b", "c", "date"): 20, ("a.b", "c", "last"): 21, ("tables",): 22, ("tables", 0): 22,
        ("tables", 0, "x"): 23, ("tables", 1): 24, ("tables", 1, "x"): 25, ("a", "deep"): 26, ("a", "deep", "x"): 27,
    }  # fmt: skip
    assert found == expected


def test_every_path_of_a_document_has_a_place(tmp_path: Any) -> None:
    """All tables and keys that tomllib finds are placed, but for those in lists of tables."""
    path = tmp_path / "f.toml"
    path.write_text(TEXT)
    read = document(path)

    def walk(values: dict[str, Any], above: Place) -> None:
        for key, value in values.items():
            place = (*above, key)
            if len(place) <= 4:
                assert place in read.lines, place
            if isinstance(value, dict):
                walk(value, place)

    walk(read.values, ())


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "[a]", "[a]\n[b]", "a=[]", "a={}", "a.b.c.d.e.f=1"])
def test_short_texts(text: str) -> None:
    found = places(text, unquoted=unquoted)
    assert all(line == 1 + text[: text.find(str(place[0]))].count("\n") for place, line in found.items())
    assert all(len(place) <= 4 for place in found)
