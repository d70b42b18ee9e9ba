"""Pages that tell what was found: one HTML file each, with every image inside it and nothing to load.

    write_report("report.html", ReportHeader(title="Flange, camera 2"), entries)          # frame by frame
    write_evaluation(Path("report.html"), evaluation, bundle=bundle)                      # against the truth

A page needs no script and no network; its own content policy forbids both.
"""

from __future__ import annotations

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
from spade_edge.tools.report.page import shrink

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
