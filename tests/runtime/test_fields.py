"""JSON from files: what is no JSON, and texts that nothing can be named."""

from __future__ import annotations

import json

import pytest

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import parse


def read(text: str | bytes) -> str:
    return parse(text, where="file", error=BundleError).text("name")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "a\\u0000b"}',
        '{"name": "a\\ud800b"}',
        '{"name": "\\udcff"}',
        '{"na\\u0000me": "a"}',
        '{"other": ["a", ["b\\u0000"]]}',
        '{"other": [{"inner": "\\udfff"}]}',
        b'{"name": "\xed\xa0\x80"}',  # half of a pair, as bytes
        b'{"name": "\xff"}',
        '{"name": "a"}'.encode("utf-16"),
        b'{"name": "a\x00b"}',
    ],
)
def test_a_text_that_no_file_can_be_named_is_refused(text: str | bytes) -> None:
    with pytest.raises(BundleError, match="file: expected JSON") as caught:
        read(text)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["a b.png", "Größe é.png", "零件.png", "𝛼.png", "a\tb", "#1"])
def test_other_characters_are_read(name: str) -> None:
    for escaped in (True, False):
        text = json.dumps({"name": name}, ensure_ascii=escaped)
        assert read(text) == read(text.encode()) == read(b"\xef\xbb\xbf" + text.encode()) == name
