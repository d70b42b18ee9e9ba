"""The table of verdicts by class, with the confidence interval of each rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD
from spade_edge.tools.drawing.overlay import figure
from spade_edge.tools.evaluation.metrics import Rate
from spade_edge.tools.evaluation.results import TypeCount
from spade_edge.tools.report.chart import drawing
from spade_edge.tools.report.page import class_name, counted, shortened, text
from spade_edge.tools.report.rates import between, percent, rate_and_interval

FIRST, MOST = 12, 400  # types of defects: shown at once, and in all; the worst ones first


def verdicts(types: Sequence[TypeCount], *, missed: Rate) -> str:
    """Good images, all defects together, and each type of defect, the worst ones first.

    Args:
        types: the verdicts of each class.
        missed: rate of all defects together.
    """
    good = [row for row in types if row.truth == GOOD]
    defects = sorted(
        (row for row in types if row.truth != GOOD), key=lambda row: (-(row.wrong.fraction or 0), row.truth)
    )
    if not good and not defects:
        return '<p class="quiet">No images.</p>'
    first = [_row(row, class_name(GOOD)) for row in good]
    if len(defects) > 1:
        first.append(_row(_together(defects, missed), "all defects", kind="total"))
    kind = "part" if len(defects) > 1 else ""
    rows = [_row(row, class_name(row.truth), kind=kind) for row in defects[:MOST]]
    shown = FIRST if len(rows) > FIRST + 3 else len(rows)
    tables = _table([*first, *rows[:shown]])
    if rows[shown:]:
        says = f"{counted(len(rows) - shown, 'more type')} of defect, not missed more often"
        tables += f"<details><summary>{says}</summary>{_table(rows[shown:])}</details>"
    if len(defects) > MOST:
        tables += f'<p class="quiet">{len(defects) - MOST} more types are not shown.</p>'
    return tables


def _together(rows: Sequence[TypeCount], wrong: Rate) -> TypeCount:
    lowest = [row.lowest for row in rows if row.lowest is not None]
    highest = [row.highest for row in rows if row.highest is not None]
    return TypeCount(
        truth="",
        images=sum(row.images for row in rows),
        good=sum(row.good for row in rows),
        defect=sum(row.defect for row in rows),
        cannot_judge=sum(row.cannot_judge for row in rows),
        wrong=wrong,
        lowest=min(lowest, default=None),
        highest=max(highest, default=None),
    )


def _table(rows: Iterable[str]) -> str:
    return (
        '<table class="verdicts"><thead><tr><th scope="col">Class</th><th scope="col">Images</th>'
        '<th scope="col" class="detail">Good</th><th scope="col" class="detail">Defect</th>'
        '<th scope="col">Cannot judge</th><th scope="col">Wrong</th>'
        '<th scope="col" class="sure">Rate and its 95 % interval</th>'
        f'<th scope="col" class="detail">Scores</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _row(row: TypeCount, name: str, *, kind: str = "") -> str:
    cells = []
    for verdict, images in ((GOOD, row.good), (DEFECT, row.defect), (CANNOT_JUDGE, row.cannot_judge)):
        right = verdict == (GOOD if row.truth == GOOD else DEFECT)
        style = "none" if not images else "right" if right else ""
        detail = "" if verdict == CANNOT_JUDGE else " detail"
        cells.append(f'<td class="{style}{detail}">{images}</td>')
    wrong = row.wrong
    span = "–" if row.lowest is None or row.highest is None else f"{figure(row.lowest)} – {figure(row.highest)}"
    return (
        f'<tr class="{kind}"><th scope="row">{text(shortened(name))}</th><td>{row.images}</td>{"".join(cells)}'
        f'<td class="{"wrong" if wrong.count else "none"}">{wrong.count}</td>'
        f'<td class="sure"><div><span>{rate_and_interval(wrong)}</span>{_interval(wrong)}</div></td>'
        f'<td class="span detail">{text(span)}</td></tr>'
    )


def _interval(rate: Rate) -> str:
    """The rate as a dot and its interval as a bar, on a line from 0 to 100 %."""
    if rate.fraction is None or rate.low is None or rate.high is None:
        return ""
    low, high, middle = (100 * end for end in (rate.low, rate.high, rate.fraction))
    marks = (
        '<line x1="0" x2="100%" y1="7" y2="7" class="rail"/>'
        f'<line x1="{low:.2f}%" x2="{high:.2f}%" y1="7" y2="7" class="range"/>'
        f'<circle cx="{middle:.2f}%" cy="7" r="4" class="share"/>'
    )
    return drawing(f"{percent(rate.fraction)}, 95 % interval {between(rate)}, from 0 to 100 %", marks, height=14)
