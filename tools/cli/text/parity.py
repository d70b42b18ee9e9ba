"""What `spade-edge parity` prints."""

from __future__ import annotations

from collections.abc import Sequence

from spade_edge.tools.evaluation.device_parity import ParityStage


def stage_lines(stages: Sequence[ParityStage]) -> list[str]:
    """A table with one line per stage: the largest differences over all frames."""
    names = list(stages[0].worst)
    rows = [["", *names, "verdicts that differ"]]
    for stage in stages:
        fractions = [f"{fraction:.1e}" for fraction in stage.worst.values()]
        label = f"{stage.bundle}, {stage.precision}, {stage.provider}"
        rows.append([label, *fractions, f"{stage.flips} of {len(stage.differences)}"])
    return _aligned(rows)


def frame_lines(stage: ParityStage) -> list[str]:
    """A table with one line per frame of a stage."""
    rows = [["frame", *stage.worst, "verdict"]]
    for number, difference in enumerate(stage.differences, start=1):
        same = difference.found == difference.expected
        verdict = difference.found if same else f"{difference.found}, expected {difference.expected}"
        rows.append([str(number), *(f"{fraction:.1e}" for fraction in difference.parts.values()), verdict])
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
