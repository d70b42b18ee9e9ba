"""Pages in a real browser: on a phone, on a desk and on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chromium import DESKTOP, PHONE, Chromium
from evaluations import (
    DARK,
    GOOD,
    MISS,
    THRESHOLD,
    TIMES,
    TYPICAL,
    evaluated,
    examples_of,
    hostile,
    judged,
    line_up,
    shown,
)
from pages import Page

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.result import FrameResult
from spade_edge.tools.evaluation.results import Evaluation
from spade_edge.tools.report import ReportEntry, ReportHeader, write_evaluation, write_report


def framed(path: Path) -> None:
    """The demo's page, with names that are hard to lay out."""
    entries = []
    for image in (judged("W" * 200, "good", 20.0), judged("scratch/1", "W" * 200, 5.0), MISS, GOOD):
        one = shown("found", image)
        result = FrameResult(
            score=image.score or 0.0,
            threshold=THRESHOLD,
            pixel_threshold=12.0,
            p=0.025,
            verdict=image.verdict,
            reason="W" * 200,
            heatmap=np.zeros((8, 8), np.float32),
            extent=(0, 0, 200, 200),
            looked_at=None,
            regions=one.regions,
            nearest=one.nearest,
            milliseconds=TIMES,
            provider="CPU",
        )
        entries.append(ReportEntry(image.name, image.truth, one.frame, result, one.overlay, one.nearest_patch))
    write_report(path, ReportHeader("Flange " + "W" * 100, ("W" * 300,), timings=TIMES), entries)


def typical() -> Evaluation:
    return evaluated((*TYPICAL, DARK), examples=examples_of(TYPICAL), notes=("1 image cannot be judged",))


def crowded() -> Evaluation:
    images = line_up(100, [f"a_type_of_defect_with_a_long_name_{number}" for number in range(60)], 4, seed=1)
    return evaluated(images, examples=examples_of(images))


PAGES: dict[str, Callable[[], Evaluation] | None] = {
    "typical": typical,
    "crowded": crowded,
    "hostile": hostile,
    "no defects": lambda: evaluated(line_up(12, (), 0), pixels=False),
    "one image": lambda: evaluated((GOOD,), pixels=False, examples=(shown("passed", GOOD),)),
    "nothing": lambda: replace(evaluated((), pixels=False), timings={}),
    "frames": None,
}


@pytest.mark.parametrize("name", PAGES)
def test_a_browser_shows_the_page_on_a_phone_and_a_desk_and_paper(
    tmp_path: Path, bundle: Bundle, browser: Chromium, name: str
) -> None:
    path = tmp_path / "report.html"
    make = PAGES[name]
    if make is None:
        framed(path)
    else:
        write_evaluation(path, make(), bundle=bundle)
    grounds = set()
    for width in (PHONE, DESKTOP):
        for scheme in ("light", "dark"):
            look = browser.look(path, width=width, scheme=scheme)
            assert look.page["width"] == width
            assert look.page["scroll"] <= width
            assert look.page["outside"] == []
            assert look.page["broken"] == 0
            assert look.page["images"] == len(Page(path.read_text(encoding="utf-8")).all("img"))
            assert look.requests == []
            assert look.complaints == []
            grounds.add((scheme, look.page["background"]))
    assert len(grounds) == 2
    paper = browser.look(path, width=718, scheme="dark", media="print")  # A4 without its margins
    assert paper.page["scroll"] <= 718
    assert paper.page["outside"] == []
    assert ("light", paper.page["background"]) in grounds
    assert browser.printed().startswith(b"%PDF")


def test_the_checks_above_find_what_they_look_for(tmp_path: Path, browser: Chromium) -> None:
    path = tmp_path / "bad.html"
    path.write_text(
        '<body><p style="width:1500px">wide</p><img src="data:image/png;base64,AAAA"><img src="http://127.0.0.1:9/x.png">'
        "<script>console.error('no')</script>"
    )
    look = browser.look(path, width=DESKTOP)
    assert look.page["scroll"] > DESKTOP
    assert look.page["outside"] == ["P.: wide"]
    assert look.page["broken"] == 2
    assert look.requests == ["http://127.0.0.1:9/x.png"]
    assert look.complaints
    assert browser.look(path, width=PHONE).page["width"] > PHONE
