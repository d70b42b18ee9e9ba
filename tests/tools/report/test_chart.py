"""Histograms and curves are drawn to scale."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from evaluations import (
    DARK,
    FOUND,
    GOOD,
    PRO,
    THRESHOLD,
    TYPICAL,
    evaluated,
    judged,
    page_of,
    shown,
    words,
)

from spade_edge.runtime.bundle.bundle import Bundle


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_the_histogram_counts_every_score_on_its_side_of_the_threshold(
    tmp_path: Path, bundle: Bundle, spread: float
) -> None:
    good = [judged(f"g{n}", "good", score) for n, score in enumerate((4.0, 4.0, 9.99, 10.0, 10.01, 12.0))]
    scores = (9.0, 10.0, float(np.nextafter(10, 11)), 20 * spread, 22 * spread)
    bad = [judged(f"d{n}", "dent", score) for n, score in enumerate(scores)]
    text, page = page_of(tmp_path, evaluated((*good, *bad, DARK)), bundle)
    (limit,) = {line["x1"] for line in page.all("line") if line["class"] == "limit" and line["x1"].endswith("%")}
    bars = re.findall(
        r'<rect x="([\d.]+)%" y="[\d.]+" width="([\d.]+)%" height="[\d.]+" class="bar (\w+)( wrong)?"><title>(\d+) ',
        text,
    )
    sides: dict[tuple[str, bool], int] = {}
    for x, width, kind, wrong, images in bars:
        over = float(x) >= float(limit.rstrip("%")) - 0.01
        assert over or float(x) + float(width) <= float(limit.rstrip("%")) + 0.01
        assert bool(wrong) == (over == (kind == "good"))
        sides[kind, over] = sides.get((kind, over), 0) + int(images)
    assert sides == {("good", False): 4, ("good", True): 2, ("defect", False): 2, ("defect", True): 3}
    said = words(page)
    assert "Good: 2 of 6 " in said
    assert "Defective: 2 of 5 " in said
    assert "1 image without a score " in said
    assert ("logarithmic axis" in said) == (spread > 1)


def test_scores_of_nought_and_beyond_all_bounds_do_not_break_the_page(tmp_path: Path, bundle: Bundle) -> None:
    scores = (0.0, -1.0, 1e-12, 1e12, float("inf"))
    images = [judged(f"d{score}", "dent", score) for score in scores]
    text, page = page_of(tmp_path, evaluated((GOOD, *images)), bundle)
    for x, width in re.findall(r'<rect x="([-\d.]+)%"[^>]* width="([-\d.]+)%"', text):
        assert float(x) >= 0
        assert 0 < float(width) <= 100
    assert "nan" not in words(page).lower()
    zero = replace(evaluated((GOOD, FOUND)), header=replace(evaluated(()).header, threshold=0.0))
    page_of(tmp_path, replace(zero, examples=(shown("found", FOUND),)), bundle)


def points(text: str, kind: str) -> list[tuple[float, float]]:
    """Of the first line or area of a class, in the drawing's own units."""
    match = re.search(rf'points="([^"]*)" class="{kind}"', text)
    assert match is not None
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in match[1].split())]


def test_the_curves_are_drawn_to_scale(tmp_path: Path, bundle: Bundle) -> None:
    evaluation = evaluated(TYPICAL)
    text, page = page_of(tmp_path, evaluation, bundle)
    left, floor, right, top = 46.0, 246.0, 348.0, 10.0
    line = points(text, "curve")
    assert line[0] == (left, floor)
    assert line[-1] == (right, top)
    area = sum((b[0] - a[0]) * (2 * floor - a[1] - b[1]) / 2 for a, b in pairwise(line))
    assert area / (right - left) / (floor - top) == pytest.approx(evaluation.image_auroc.value, abs=0.002)
    (dot,) = (circle for circle in page.all("circle") if circle["class"] == "here")
    good = [image.score > THRESHOLD for image in TYPICAL if image.truth == "good"]
    bad = [image.score > THRESHOLD for image in TYPICAL if image.truth != "good"]
    assert float(dot["cx"]) == pytest.approx(left + np.mean(good) * (right - left), abs=0.1)
    assert float(dot["cy"]) == pytest.approx(floor - np.mean(bad) * (floor - top), abs=0.1)
    shape = points(text, "counts")
    assert max(x for x, _ in shape) == pytest.approx(left + 0.75 * (right - left), abs=0.1)  # 0.3 of 0.4
    assert min(y for _, y in shape) == pytest.approx(floor - PRO[-1][1] * (floor - top), abs=0.1)


def test_a_curve_of_a_hundred_thousand_points_is_drawn_with_few() -> None:
    from spade_edge.tools.report.chart import curve

    many = [(n / 1e5, (n / 1e5) ** 0.3) for n in range(100001)]
    drawn = curve("many", many, names=("across", "up"))
    assert len(drawn) < 20000
    line = points(drawn, "curve")
    assert (line[0], line[-1]) == ((46.0, 246.0), (348.0, 10.0))
    for x, y in line[20:]:
        assert y == pytest.approx(246 - 236 * ((x - 46) / 302) ** 0.3, abs=4)
