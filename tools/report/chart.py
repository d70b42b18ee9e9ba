"""SVG drawings: dots by class, histograms by class, and curves from 0 to 1.

Widths are in per cent wherever there is text, so that text keeps its size on a phone. Colours come from the style of
the page, which has a light and a dark form. Shapes differ, too, so that colour alone carries no information.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spade_edge.tools.report.page import counted, shortened, text

RATIO = 8  # of the ends, above which an axis is logarithmic
BINS = 48  # approximate number of bars of a histogram
LETTERS = 28  # of a class name; more would not fit on a phone
BAR = 56  # height of the highest bar of a histogram, in pixels


@dataclass(frozen=True)
class Axis:
    """A horizontal axis for numbers from 0 on, as wide as the drawing.

    Attributes:
        lowest: the smallest positive number on it.
        highest: the largest number on it.
        logarithmic: whether it is logarithmic, or linear from 0 on.
    """

    lowest: float
    highest: float
    logarithmic: bool

    @classmethod
    def of(cls, values: Iterable[float], *, limit: float) -> Axis | None:
        """Fit an axis to the values and a limit; None without a positive finite value."""
        finite = [value for value in values if 0 < value < math.inf]
        if not finite:
            return None
        ends = (*finite, limit) if 0 < limit < math.inf else finite
        lowest, highest = min(ends), max(ends)
        return cls(lowest, highest, logarithmic=highest / lowest > RATIO)

    @property
    def scale(self) -> str:
        return "logarithmic" if self.logarithmic else "linear"

    def __call__(self, value: float) -> float:
        """The position of a number in per cent of the width, clipped to the ends of the axis."""
        if self.logarithmic:
            start, end = math.log(self.lowest / 1.12), math.log(self.highest * 1.12)
            place = math.log(max(value, self.lowest / 1.12))
        else:
            start, end, place = 0.0, self.highest * 1.06, max(value, 0)
        return 1 + 98 * min(max((place - start) / (end - start), 0), 1)

    def ticks(self) -> list[float]:
        """Round numbers between the ends, about eight at most."""
        if self.logarithmic:
            rounds = [step * 10.0**power for power in range(-30, 31) for step in (1, 2, 5)]
            inside = [value for value in rounds if self.lowest <= value <= self.highest]
            if len(inside) <= 8:
                return inside
            decades = [value for value in inside if f"{value:e}"[0] == "1"]
            return decades[:: math.ceil(len(decades) / 8)]
        power = 10.0 ** math.floor(math.log10(self.highest / 8))
        step = next(step * power for step in (1, 2, 2.5, 5, 10, 20) if self.highest / (step * power) <= 8)
        return [place * step for place in range(int(self.highest / step) + 1)]


@dataclass(frozen=True)
class Row:
    """The scores of one class.

    Attributes:
        name: of the class, as people call it.
        kind: "good", "defect" or "unknown".
        scores: one for each part.
        titles: what to say of each.
    """

    name: str
    kind: str
    scores: Sequence[float]
    titles: Sequence[str] = ()


def strips(rows: Sequence[Row], *, axis: Axis, limit: float, unit: str = "") -> str:
    """One row of dots per class on a common axis, with a line at the limit."""
    row_height, first = 40, 26
    bottom = first + row_height * len(rows) + 4
    marks = [_limit(axis(limit), bottom, "threshold")]
    for place, row in enumerate(rows):
        middle = first + row_height * place + 26
        marks.append(f'<text x="0" y="{middle - 12}" class="class">{text(shortened(row.name, letters=LETTERS))}</text>')
        marks.append(f'<line x1="0" x2="100%" y1="{middle}" y2="{middle}" class="rail"/>')
        for score, title in sorted(zip(row.scores, row.titles, strict=True)):
            marks.append(
                f'<circle cx="{axis(score):.2f}%" cy="{middle}" r="5" class="dot {row.kind}">'
                f"<title>{text(title)}</title></circle>"
            )
    marks.append(_ticks(axis, bottom + 18, unit))
    parts = sum(len(row.scores) for row in rows)
    label = f"Scores of {counted(parts, 'part')} by class, {axis.scale} axis in units of the threshold"
    return drawing(label, "".join(marks), height=bottom + 26)


def histogram(rows: Sequence[Row], *, axis: Axis, limit: float, name: str) -> str:
    """One histogram per class on a common axis; no bar extends over both sides of the limit.

    Args:
        rows: of each, what is on the wrong side of the limit is drawn darker.
        axis: of all.
        limit: scores up to it are good.
        name: what to write beside the limit, in plain text.
    """
    row_height, first = BAR + 46, 20
    bottom = first + row_height * len(rows)
    middle, width = axis(limit), 98 / BINS
    marks = [_limit(middle, first + 4, name)]
    for place, row in enumerate(rows):
        base = first + row_height * (place + 1)
        marks.append(f'<line x1="{middle:.2f}%" x2="{middle:.2f}%" y1="{base - BAR - 14}" y2="{base}" class="limit"/>')
        bars = Counter(_bin(axis(score), middle, width, over=score > limit) for score in row.scores)
        most = max(bars.values(), default=1)
        for side, parts in sorted(bars.items()):
            left, right = max(0.0, middle + side * width), min(100.0, middle + (side + 1) * width)
            wrong = " wrong" if row.kind == ("good" if side >= 0 else "defect") else ""
            high = max(3.0, BAR * parts / most)
            marks.append(
                f'<rect x="{left:.2f}%" y="{base - high:.1f}" width="{max(right - left - 0.15, 0.4):.2f}%" '
                f'height="{high:.1f}" class="bar {row.kind}{wrong}"><title>{counted(parts, "image")}</title></rect>'
            )
        if bars:
            side = min(bars, key=lambda side: (-bars[side], side))
            above = min(max(middle + (side + 0.5) * width, 1.5), 98.5)
            marks.append(f'<text x="{above:.2f}%" y="{base - BAR - 5}" class="tick">{most}</text>')
        marks.append(f'<line x1="0" x2="100%" y1="{base}" y2="{base}" class="rail"/>')
        marks.append(f'<text x="0" y="{base - BAR - 22}" class="class">{text(row.name)}</text>')
    marks.append(_ticks(axis, bottom + 18, ""))
    parts = sum(len(row.scores) for row in rows)
    label = f"Histogram of the scores of {counted(parts, 'image')} by class, {axis.scale} axis, with the threshold"
    return drawing(label, "".join(marks), height=bottom + 26)


def curve(
    label: str,
    points: Sequence[tuple[float, float]],
    *,
    names: tuple[str, str],
    widest: float = 1.0,
    limit: float | None = None,
    chance: bool = False,
    point: tuple[float, float] | None = None,
) -> str:
    """A curve with a vertical axis from 0 to 1.

    Args:
        label: what it shows, in plain text.
        points: (across, up), in order.
        names: of the two axes, in plain text.
        widest: end of the horizontal axis.
        limit: up to where the area below the curve counts; it is shaded.
        chance: whether to draw the diagonal.
        point: where on the curve the threshold lies.
    """
    left, top, wide, high = 46.0, 10.0, 302.0, 236.0
    floor = top + high

    def at(across: float, up: float) -> tuple[float, float]:
        return left + wide * min(max(across / widest, 0), 1), floor - high * min(max(up, 0), 1)

    marks = []
    for place in range(6):
        tick = place / 5
        (_, y) = at(0, tick)
        marks.append(f'<line x1="{left}" x2="{left + wide}" y1="{y:.1f}" y2="{y:.1f}" class="rail"/>')
        marks.append(f'<text x="{left - 7}" y="{y + 4:.1f}" style="text-anchor:end">{tick:g}</text>')
    step = 0.1 if widest < 0.6 else 0.2
    for place in range(round(widest / step) + 1):
        tick = round(place * step, 9)
        kind = "tick strong" if tick == limit else "tick"
        marks.append(f'<text x="{at(tick, 0)[0]:.1f}" y="{floor + 17}" class="{kind}">{tick:g}</text>')
    seen = _thinned([at(*pair) for pair in points])
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in seen)
    if limit is not None:
        edge = at(limit, 0)[0]
        area = [(x, y) for x, y in seen if x <= edge + 0.05]
        shape = " ".join(f"{x:.1f},{y:.1f}" for x, y in ((left, floor), *area, (area[-1][0], floor)))
        marks.append(f'<polygon points="{shape}" class="counts"/>')
        marks.append(f'<line x1="{edge:.1f}" x2="{edge:.1f}" y1="{top}" y2="{floor}" class="limit"/>')
        marks.append(f'<text x="{edge + 6:.1f}" y="{floor - 8}" class="limit-name">limit</text>')
    if chance:
        marks.append(f'<line x1="{left}" x2="{left + wide}" y1="{floor}" y2="{top}" class="chance"/>')
    marks.append(f'<polyline points="{line}" class="curve"/>')
    if point is not None:
        x, y = at(*point)
        shift, anchor = (10, "start") if point[0] < 0.6 * widest else (-10, "end")
        drop = 18 if point[1] > 0.2 else -10
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="here"/>')
        marks.append(
            f'<text x="{x + shift:.1f}" y="{y + drop:.1f}" class="limit-name" style="text-anchor:{anchor}">'
            "threshold</text>"
        )
    marks.append(f'<text x="{left + wide / 2}" y="{floor + 38}" class="tick">{text(names[0])}</text>')
    turn = f"translate(12 {top + high / 2}) rotate(-90)"
    marks.append(f'<text transform="{turn}" class="tick">{text(names[1])}</text>')
    return f'<svg role="img" aria-label="{text(label)}" viewBox="0 0 360 290">{"".join(marks)}</svg>'


def drawing(label: str, marks: str, *, height: int) -> str:
    """A drawing as wide as the page.

    Args:
        label: what it shows, in plain text.
        marks: SVG, with widths in per cent.
        height: in pixels.
    """
    return f'<svg role="img" aria-label="{text(label)}" width="100%" height="{height}">{marks}</svg>'


def _limit(across: float, bottom: int, name: str) -> str:
    anchor, shift = ("end", -6) if across > 60 else ("start", 6)
    return (
        f'<line x1="{across:.2f}%" x2="{across:.2f}%" y1="6" y2="{bottom}" class="limit"/>'
        f'<text x="{across:.2f}%" dx="{shift}" y="15" class="limit-name" style="text-anchor:{anchor}">{text(name)}'
        "</text>"
    )


def _bin(place: float, middle: float, width: float, *, over: bool) -> int:
    """Index of the bar of a position; 0 is the first above the limit. A score equal to the limit is below."""
    side = math.ceil((place - middle) / width) - 1
    return max(side, 0) if over else min(side, -1)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points far enough apart to be visible, always with the first and the last."""
    kept = list(points[:1])
    for point in points[1:]:
        if max(abs(point[0] - kept[-1][0]), abs(point[1] - kept[-1][1])) >= 0.5:
            kept.append(point)
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _ticks(axis: Axis, y: int, unit: str) -> str:
    marks = []
    for tick in axis.ticks():
        at = f'x="{axis(tick):.2f}%"' if tick else 'x="0" style="text-anchor:start"'
        figures = (
            f"{tick:g}" if tick == 0 or 1e-4 <= tick < 1e5 else f"{tick:.0e}".replace("e+0", "e").replace("e-0", "e-")
        )
        marks.append(f'<text {at} y="{y}" class="tick">{figures}{unit if tick else ""}</text>')
    return "".join(marks)
