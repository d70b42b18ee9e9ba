"""Reports of lines for tests: as a line writes them, with what a test says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sample_decisions import BEGAN, line_state

from spade_edge.tools.line.state import LineState

OLD, NEW = "0123456789abcdef", "fedcba9876543210"


def state(
    line: str = "press-3",
    *,
    at: float = BEGAN,
    good: int = 980,
    defect: int = 20,
    late: int = 0,
    cameras: int = 1,
    software: str = "0.1",
    news: str = "",
    **camera: Any,
) -> LineState:
    """A line whose cameras are alike."""
    whole = line_state()
    counts = {"good": good, "defect": defect, "cannot_judge": 0, "late": late}
    fields = {"counts": counts, "rejected": defect + late, "p50": 40.0, "p99": 61.4, "self_test": "passed", **camera}
    made = tuple(replace(whole.cameras[number], **fields) for number in range(cameras))
    return replace(whole, line=line, version=software, at=at, cameras=made, news=news)


def write(folder: Path, *states: LineState) -> Path:
    """Files as an output of kind "report" writes them."""
    folder.mkdir(exist_ok=True)
    for number, each in enumerate(states):
        (folder / f"{number:03}-{each.line}.json").write_text(json.dumps(each.to_json()) + "\n")
    return folder
