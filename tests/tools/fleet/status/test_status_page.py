"""The page in a real browser: on a phone and on a desk, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import DESKTOP, PHONE, PROGRAM, Chromium
from plant_reports import NEW, state, write
from sample_decisions import BEGAN

from spade_edge.tools.cli.text.fleet_status import HEAD, TEXTS, cells, summary
from spade_edge.tools.fleet.status import Status, reports_in, status
from spade_edge.tools.fleet.status import page as module
from spade_edge.tools.fleet.status.page import status_page
from spade_edge.tools.report.page import write as write_page


def of(found: Status) -> str:
    return status_page(found, summary=summary(found), head=HEAD, rows=map(cells, found.rows), texts=TEXTS)


def plant(folder: Path, lines: int) -> Status:
    states = [state(f"press-{number}", cameras=1 + number % 2) for number in range(1, lines + 1)]
    states[2] = state("press-3", bundle=NEW, drift="darker by 9 %", software="0.1.dev1+" + "w" * 60)
    states[1] = state("W" * 60, at=BEGAN - 5000)
    write(folder, *states)
    (folder / "broken.json").write_text("{")
    return status(reports_in(folder), now=BEGAN + 20)


@pytest.mark.skipif(PROGRAM is None, reason="needs chromium")
def test_it_fits_and_fetches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "status.html"
    write_page(path, of(plant(tmp_path / "reports", 12)))
    with Chromium(tmp_path / "profile") as browser:
        for width in (PHONE, DESKTOP):
            for scheme in ("light", "dark"):
                look = browser.look(path, width=width, scheme=scheme)
                assert (look.requests, look.complaints) == ([], [])
                assert look.page["scroll"] <= width and look.page["outside"] == []
                assert (look.page["background"] == "rgb(251, 250, 248)") == (scheme == "light")


def test_a_large_plant_makes_a_bounded_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 10)
    monkeypatch.setattr(module, "MOST_SENTENCES", 1)
    page = of(plant(tmp_path / "reports", 40))
    assert page.count("<tr") == 11 and "more rows" in page and page.count("<li>") == 2
