"""Parts of a line for the tests of outputs for controllers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from spade_edge.runtime import UsageError
from spade_edge.tools.line.configuration.options import (
    CameraOptions,
    LineConfiguration,
    LineOptions,
    OutputOptions,
    RecipeOptions,
)
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.output import Output
from spade_edge.tools.line.state import TROUBLED, WELL, CameraState, Health, LineState
from spade_edge.tools.line.trigger import Trigger

AnyOutput = TypeVar("AnyOutput", bound=Output)


def configuration(
    output: OutputOptions, *, cameras: tuple[str, ...] = ("top", "side"), deadline_ms: int = 80
) -> LineConfiguration:
    """A line with two products, 7 and 12."""
    return LineConfiguration(
        line=LineOptions(name="hall3", heartbeat_ms=200),
        recipes={"bolt": RecipeOptions(bundle=Path("b"), number=7), "nut": RecipeOptions(bundle=Path("n"), number=12)},
        cameras={name: CameraOptions(source="0", recipe="bolt", deadline_ms=deadline_ms) for name in cameras},
        outputs={"plc": output},
    )


def decision(number: int, *, camera: str = "top", at: float | None = None, **others: Any) -> Decision:
    """A good part, unless the others say something else."""
    at = time.monotonic() if at is None else at
    id = others.pop("id", str(1000 + number))
    trigger = Trigger(camera=camera, number=number, id=id, at=at, time=1_700_000_000.25, deadline=at + 0.08)
    fields: dict[str, Any] = {
        "line": "hall3",
        "verdict": "good",
        "gate": "pass",
        "reason": "",
        "recipe": "bolt",
        "decided": 1_700_000_000.5,
        "milliseconds": 31.25,
        "score": 0.375,
        "threshold": 0.5,
        "pixel_threshold": 0.75,
        "p": 0.0625,
        "bundle": "0123456789abcdef",
    }
    return Decision(trigger=trigger, **(fields | others))


def state(beat: int = 1, *, troubled: tuple[str, ...] = (), cameras: tuple[str, ...] = ("top", "side")) -> LineState:
    """Two cameras that have decided on 10 parts."""
    counts = {"good": 5, "defect": 3, "cannot_judge": 2, "late": 70_000}
    shown = tuple(
        CameraState(
            name=name,
            health=Health(TROUBLED, "no light", 1_700_000_000.0) if name in troubled else Health(WELL, "", 0.0),
            recipe="nut",
            recipes=("bolt", "nut"),
            triggers=70_012,
            counts=counts,
            rejected=70_005,
            waiting=2,
            bundle="0123456789abcdef",
            threshold=0.5,
            certificate="",
        )
        for name in cameras
    )
    return LineState("hall3", "0", 1_699_999_999.0, 1_700_000_001.0, beat, shown, ())


class Asked:
    """Remembers what was asked of the line, and refuses what concerns the camera "side"."""

    def __init__(self) -> None:
        self.triggers: list[tuple[str, str | None, str | None]] = []
        self.choices: list[tuple[str, str]] = []

    def trigger(self, camera: str, *, id: str | None = None, recipe: str | None = None) -> int:
        self._refuse(camera)
        self.triggers.append((camera, id, recipe))
        return 70_000 + len(self.triggers)

    def choose(self, camera: str, recipe: str) -> None:
        self._refuse(camera)
        self.choices.append((camera, recipe))

    def _refuse(self, camera: str) -> None:
        if camera == "side":
            raise UsageError("camera side: expected a camera whose triggers are messages, found another one")


@contextmanager
def opened(output: AnyOutput) -> Iterator[AnyOutput]:
    """An output that is open meanwhile."""
    output.open()
    try:
        yield output
    finally:
        output.close()
