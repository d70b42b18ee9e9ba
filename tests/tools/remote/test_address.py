"""Addresses: what is one, how it is divided and put together again."""

from __future__ import annotations

from pathlib import Path

import pytest

from spade_edge.tools.remote import divided, is_address, is_name, joined, local_path, shown


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("s3://b/x", True),
        ("HTTPS://h/x", True),
        ("file:///x", True),
        ("good/", False),
        ("C:\\good", False),
        ("a/s3://b", False),
        ("://x", False),
        ("", False),
    ],
)
def test_an_address_has_a_scheme(text: str, yes: bool) -> None:
    assert is_address(text) is yes


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("good/parts", "good/parts"),
        ("file:///srv/my parts", "/srv/my parts"),
        ("FILE:///srv", "/srv"),
        ("s3://b/x", None),
        ("http://h/x", None),
    ],
)
def test_a_path_is_local_also_with_its_scheme(text: str, path: str | None) -> None:
    assert local_path(text) == (None if path is None else Path(path))


@pytest.mark.parametrize(
    ("address", "top", "name"),
    [
        ("s3://plant/bolts/a b.png", "s3://plant", "bolts/a b.png"),
        ("s3://plant/100%25.png", "s3://plant", "100%25.png"),
        ("s3://plant/what?.png", "s3://plant", "what?.png"),
        ("https://h:8000/x/a%20b.png", "https://h:8000", "x/a b.png"),
        ("https://h/x.png?signature=a/b", "https://h/x.png?signature=a/b", ""),
        ("s3://plant", "s3://plant", ""),
        ("/srv/good/a#b.png", "/srv/good", "a#b.png"),
        ("file:///srv/good/a.png", "/srv/good", "a.png"),
    ],
)
def test_an_address_is_divided_at_its_bucket_or_server(address: str, top: str, name: str) -> None:
    assert divided(address) == (top, name)
    if name and not address.startswith("file:"):
        assert joined(top, name) == address


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//b", "", ".", "a/./b", "x\n", "x\0", "\udce4"])
def test_a_name_leads_nowhere_else(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("name", ["x", "a/b.png", "ü ?#%&.png", "..x", "x..", "\u202fx", "a\\b", "c::d"])
def test_odd_names_are_names(name: str) -> None:
    assert is_name(name)


def test_what_is_shown_has_no_password_and_no_signature() -> None:
    said = shown("https://joe:geheim@host/x/y.png?X-Amz-Signature=abc")
    assert "geheim" not in said and "abc" not in said and "host/x/y.png" in said
