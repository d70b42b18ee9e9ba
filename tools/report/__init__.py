"""Report pages: one HTML file each, with all images embedded and nothing to load.

    write_report("report.html", ReportHeader(title="Flange, camera 2"), entries)          # frame by frame
    write_evaluation(Path("report.html"), evaluation, bundle=bundle)                      # against the ground truth

A page uses no script and no network; its content security policy forbids both.
"""

from __future__ import annotations

from spade_edge.tools.drawing.picture_size import shrink
from spade_edge.tools.report.evaluation import summary, write_evaluation
from spade_edge.tools.report.frames import (
    MOST_CARDS,
    ClassCount,
    ReportEntry,
    ReportHeader,
    count,
    headline,
    write_report,
)

__all__ = [
    "MOST_CARDS",
    "ClassCount",
    "ReportEntry",
    "ReportHeader",
    "count",
    "headline",
    "shrink",
    "summary",
    "write_evaluation",
    "write_report",
]
