"""Pages are safe with hostile names, and load nothing."""

from __future__ import annotations

import re
from pathlib import Path

from evaluations import (
    TYPICAL,
    evaluated,
    examples_of,
    hostile,
    page_of,
)

from spade_edge.runtime.bundle.bundle import Bundle


def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path, bundle: Bundle) -> None:
    text, page = page_of(tmp_path, hostile(), bundle)
    assert page.loads() == []
    assert "\x00" not in text
    assert "\u202e" not in text
    whole = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\\x00\\u202egnp.\\udc80"
    for tag in ("h3", "dd", "li", "span", "p"):
        assert any(whole in found for found in page.text_in(tag)), tag
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))


def test_the_page_loads_nothing_and_forbids_it_too(tmp_path: Path, bundle: Bundle) -> None:
    text, page = page_of(tmp_path, evaluated(TYPICAL, examples=examples_of(TYPICAL)), bundle)
    assert page.loads() == []
    assert not re.search(r"https?:|url\(|@import|<script", text)
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(names)
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.all("svg"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
