"""How far one way to score is from another, over some frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spade_edge.runtime.bundle.observation import Difference


@dataclass(frozen=True)
class Stage:
    """One step on the way from the network in torch to the device.

    Attributes:
        bundle: the folder.
        precision: of its model, and for int8 its target.
        provider: what ran the network.
        differences: of each frame, to the reference.
    """

    bundle: str
    precision: str
    provider: str
    differences: tuple[Difference, ...]

    @property
    def worst(self) -> dict[str, float]:
        """The largest share over all frames, by name."""
        parts = [difference.parts for difference in self.differences]
        return {name: max(part[name] for part in parts) for name in parts[0]}

    @property
    def flips(self) -> int:
        """Frames with another verdict than the reference's."""
        return sum(difference.found != difference.expected for difference in self.differences)

    def to_json(self) -> dict[str, Any]:
        return {
            "bundle": self.bundle,
            "precision": self.precision,
            "provider": self.provider,
            "worst": self.worst,
            "flips": self.flips,
            "frames": [asdict(difference) for difference in self.differences],
        }


def stage_lines(stages: Sequence[Stage]) -> list[str]:
    """A table: a line for each stage, the largest differences over all frames."""
    names = list(stages[0].worst)
    rows = [["", *names, "verdicts that differ"]]
    for stage in stages:
        shares = [f"{share:.1e}" for share in stage.worst.values()]
        label = f"{stage.bundle}, {stage.precision}, {stage.provider}"
        rows.append([label, *shares, f"{stage.flips} of {len(stage.differences)}"])
    return _aligned(rows)


def frame_lines(stage: Stage) -> list[str]:
    """A table: a line for each frame of one stage."""
    rows = [["frame", *stage.worst, "verdict"]]
    for number, difference in enumerate(stage.differences, start=1):
        same = difference.found == difference.expected
        verdict = difference.found if same else f"{difference.found}, expected {difference.expected}"
        rows.append([str(number), *(f"{share:.1e}" for share in difference.parts.values()), verdict])
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
