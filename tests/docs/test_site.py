"""The site builds without a warning, and every name and link in the documents leads somewhere."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import DOCS, PAGES, REPOSITORY, ROOT
from floors import ROOMS

import spade_edge
from spade_edge.galleries import Built
from spade_edge.runtime.preprocessing.alignment import Alignment
from spade_edge.tools.cli.main import COMMANDS


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; a link or an anchor that leads nowhere ends the build."""
    pytest.importorskip("material", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"?([^\" >]+)", text)
        loaded += re.findall(r"<link[^>]* rel=\"?stylesheet\"?[^>]* href=\"?([^\" >]+)", text)
        assert [address for address in loaded if re.match(r"(?:https?:)?//", address)] == [], page


@pytest.mark.slow
def test_the_reference_has_every_command_and_every_public_name(site: Path) -> None:
    commands = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"usage: spade-edge {name} " not in commands] == []
    names = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert [name for name in spade_edge.__all__ if f">{name}<" not in names] == []


def test_links_lead_somewhere() -> None:
    for page, text in PAGES.items():
        base = (ROOT / page).parent
        targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[\w+\]: (\S+)$", text, re.MULTILINE)
        for target in targets:
            if target.startswith(f"{REPOSITORY}/blob/main/") or target.startswith(f"{REPOSITORY}/tree/main/"):
                path = ROOT / target.split("/main/")[1]
            elif target.startswith("https://"):
                continue
            else:
                name, _, anchor = target.partition("#")
                path = (base / name) if name else ROOT / page
                if anchor and path.suffix == ".md" and path.name != "python.md":  # its anchors come from docstrings
                    assert anchor in anchors(path), f"{page}: {target}"
            assert path.exists(), f"{page}: {target}"
        assert set(re.findall(r"\]\[(\w+)\]", text)) == set(re.findall(r"^\[(\w+)\]: ", text, re.MULTILINE)), page


def anchors(path: Path) -> set[str]:
    """Those of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_bundle_page_names_every_file_and_field_of_a_bundle(edge: Built) -> None:
    page = PAGES["docs/bundle-format.md"]
    written = json.loads((edge.path / "manifest.json").read_text(encoding="utf-8"))
    fields = [
        *written,
        *(name for key in ("matching", "place", "threshold", "limits", "model", "layout") for name in written[key]),
        *(name for key in ("images", "golden") for name in written[key][0]),
    ]
    fields += [field.name for field in dataclasses.fields(Alignment)]  # the parts of this bundle differ in shape
    assert [name for name in fields if f"`{name}`" not in page] == []
    assert "`reference-<16 hex>.npy`" in page and "`keys-<16 hex>.npy`" in page
    assert [
        role for role in written["files"] if not re.search(rf"\b{re.sub(r'[2-9]', '1', role)}-<16 hex>", page)
    ] == []


def test_the_architecture_page_shows_the_tiers_of_the_floor_plan() -> None:
    page = PAGES["docs/architecture.md"]
    rows = re.findall(r"^\| \d+ \| (`\w+/`.+) \|$", page, re.MULTILINE)
    assert len(rows) == len(ROOMS)
    for row, rooms in zip(rows, ROOMS, strict=True):
        for room in rooms:
            assert all(f"`{name}" in row for name in room.split("."))


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
