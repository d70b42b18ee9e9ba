"""The lines of a plant as one page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

from spade_edge.tools.fleet.status.attention import Status
from spade_edge.tools.report.page import document, heading, text

MOST_SENTENCES, MOST_ROWS = 500, 5000
STYLE = """
.concerns{list-style:none;padding:0}
.concerns li{padding:10px 0 10px 14px;border-bottom:1px solid var(--rule);border-left:3px solid var(--defect)}
body{max-width:1400px}
.lines{font-size:14px}
.lines td,.lines th{text-align:left;vertical-align:top;padding:7px 0 7px 14px;overflow-wrap:normal}
.lines th:first-child{padding-left:0}
.lines thead th{white-space:nowrap}
.lines .count{text-align:right}
.lines tr.wanting th{color:var(--defect);font-weight:650}
.lines tr.wanting th::before{content:"! "}
.lines code{font-size:13px}
"""


def status_page(
    found: Status, *, summary: str, head: Sequence[str], rows: Iterable[Sequence[str]], texts: set[int]
) -> str:
    """A page, whole in itself.

    Args:
        found: what the lines say.
        summary: of it, one sentence.
        head: names of the columns.
        rows: cells of each row, in the order of `found.rows`.
        texts: columns that are no numbers.

    Returns:
        HTML without scripts; all text of devices is escaped.
    """
    when = datetime.fromtimestamp(found.at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    sections = []
    said = [sentence for row in found.rows for sentence in row.concerns] + list(found.general)
    if said:
        sections.append(("attention", "Needs attention", _sentences(said)))
    if found.rows:
        sections.append(("lines", "Lines", _table(found, head, rows, texts)))
    if found.left_out:
        more = found.left_out - len(found.skipped)
        problems = [*found.skipped, *([f"… and {more:,} more."] if more > 0 else [])]
        sections.append(("skipped", "Reports that were skipped", _sentences(problems)))
    lead = f'<p class="lead">As of {text(when)}. Counts are since each service began.</p>'
    return document("Fleet status", header=heading(summary) + lead, sections=sections, style=STYLE)


def _sentences(said: Sequence[str]) -> str:
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in said[:MOST_SENTENCES])
    more = len(said) - MOST_SENTENCES
    rest = f'<p class="quiet">… and {more:,} more.</p>' if more > 0 else ""
    return f'<ul class="concerns">{items}</ul>{rest}'


def _table(found: Status, head: Sequence[str], rows: Iterable[Sequence[str]], texts: set[int]) -> str:
    def of(place: int) -> str:
        return "" if place in texts else ' class="count"'

    names = "".join(f'<th scope="col"{of(place)}>{text(name)}</th>' for place, name in enumerate(head))
    body = []
    for row, cells in zip(found.rows[:MOST_ROWS], rows, strict=False):
        first, *others = cells
        wanting = ' class="wanting"' if row.concerns else ""
        filled = "".join(f"<td{of(place)}>{text(cell)}</td>" for place, cell in enumerate(others, start=1))
        body.append(f'<tr{wanting}><th scope="row">{text(first)}</th>{filled}</tr>')
    more = len(found.rows) - MOST_ROWS
    rest = f'<p class="quiet">… and {more:,} more rows.</p>' if more > 0 else ""
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Lines"><table class="lines">'
        f"<thead><tr>{names}</tr></thead><tbody>{''.join(body)}</tbody></table></div>{rest}"
    )
