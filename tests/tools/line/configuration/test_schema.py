"""The JSON schema agrees with the reader, as far as a schema can."""

from __future__ import annotations

import json
import sys
from typing import Any

import jsonschema
import pytest

from spade_edge.tools.line.configuration.description import FORMS, fits
from spade_edge.tools.line.configuration.schema import schema
from spade_edge.tools.line.configuration.template import template

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LEAST: dict[str, Any] = {
    "recipe": {"r": {"bundle": "b"}},
    "camera": {"c": {"source": "0", "recipe": "r", "deadline_ms": 100}},
}


@pytest.fixture(scope="module")
def valid() -> jsonschema.Draft202012Validator:
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(json.loads(json.dumps(made)))


def uncommented(text: str) -> str:
    """A template in which every option is set."""
    lines = (
        line[1:] if line.startswith("#") and not line.startswith(("# ", "#\n")) else line for line in text.split("\n")
    )
    return "\n".join(lines)


def test_what_the_reader_takes_is_valid(valid: jsonschema.Draft202012Validator) -> None:
    text = template(cameras=[], bundles={}, searched=".")
    for version in (text, uncommented(text)):
        assert list(valid.iter_errors(tomllib.loads(version))) == []
    assert list(valid.iter_errors(LEAST)) == []


WRONG: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no camera": {"recipe": LEAST["recipe"], "camera": {}},
    "an unknown table": {**LEAST, "outputs": {}},
    "a list": {**LEAST, "camera": [LEAST["camera"]["c"]]},
    "an unknown key": {**LEAST, "line": {"nam": "x"}},
    "a number in quotes": {**LEAST, "line": {"heartbeat_ms": "500"}},
    "a truth for a number": {**LEAST, "line": {"heartbeat_ms": True}},
    "out of range": {**LEAST, "line": {"heartbeat_ms": 49}},
    "a choice": {**LEAST, "line": {"fail_safe": "Reject"}},
    "a name": {**LEAST, "recipe": {"r": {"bundle": "b"}, "a b": {"bundle": "b"}}},
    "a missing key": {**LEAST, "recipe": {"r": {}}},
    "a kind": {**LEAST, "output": {"o": {"kind": "ftp"}}},
    "no kind": {**LEAST, "output": {"o": {"listen": "127.0.0.1:1"}}},
    "a key of another kind": {**LEAST, "output": {"o": {"kind": "modbus", "host": "h"}}},
    "a port": {**LEAST, "page": {"listen": "127.0.0.1:70000"}},
    "a size": {**LEAST, "evidence": {"folder": "e", "budget": "20 gigs"}},
    "a small size": {**LEAST, "evidence": {"folder": "e", "budget": 5}},
    "an entry": {**LEAST, "output": {"o": {"kind": "webhook", "url": "http://h", "verdicts": ["bad"]}}},
    "a key without its certificate": {**LEAST, "page": {"key_file": "k"}},
    "an empty path": {**LEAST, "recipe": {"r": {"bundle": ""}}},
}


@pytest.mark.parametrize("what", WRONG)
def test_mistakes_are_not_valid(what: str, valid: jsonschema.Draft202012Validator) -> None:
    assert list(valid.iter_errors(WRONG[what]))


@pytest.mark.parametrize("name", FORMS)
def test_the_example_of_a_form_has_it(name: str) -> None:
    assert fits(FORMS[name].example, FORMS[name])


def test_the_forms_of_addresses() -> None:
    for text in ("127.0.0.1:1", "[::1]:65535", "localhost:8080", "plc-3.plant:502"):
        assert fits(text, FORMS["address"]), text
    for text in ("127.0.0.1", ":80", "a:0", "a:65536", "a:080", "a b:1", "::1:80", "a:1\n", "a/b:1", "http://a:1"):
        assert not fits(text, FORMS["address"]), text
    for text in ("http://h", "https://[::1]:8443/x?y=%20", "https://h?x", "http://h/"):
        assert fits(text, FORMS["web"]), text
    for text in (
        "h",
        "http://",
        "http://u@h",
        "http://u:p@h/",
        "http://h:0/",
        "http://h /",
        "http://h/#x",
        "file:///x",
    ):
        assert not fits(text, FORMS["web"]), text


def test_it_is_the_same_every_time() -> None:
    assert json.dumps(schema()) == json.dumps(schema())
