"""Decisions and states of a line for tests, and a configuration with two cameras and two products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spade_edge.runtime.result import Region
from spade_edge.tools.line.configuration.options import (
    CameraOptions,
    LineConfiguration,
    LineOptions,
    RecipeOptions,
)
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.state import WELL, CameraState, Health, LineState, OutputState
from spade_edge.tools.line.trigger import Trigger

BEGAN = 1_800_000_000.0  # seconds since 1970


def configuration(**options: Any) -> LineConfiguration:
    recipes = {"bolt": RecipeOptions(bundle=Path("/bolt")), "nut": RecipeOptions(bundle=Path("/nut"))}
    cameras = {name: CameraOptions(source="0", recipe="bolt", deadline_ms=100) for name in ("top", "side")}
    return LineConfiguration(line=LineOptions(name="press-3"), recipes=recipes, cameras=cameras, outputs={}, **options)


def decision(number: int = 1, *, camera: str = "top", at: float | None = None, id: str = "", **fields: Any) -> Decision:
    """A decision; a defect if not said otherwise."""
    time = BEGAN + number if at is None else at
    trigger = Trigger(camera=camera, number=number, id=id or f"part {number}", at=0.0, time=time, deadline=0.1)
    chosen: dict[str, Any] = {
        "line": "press-3",
        "verdict": "defect",
        "gate": "reject",
        "reason": "score above the threshold",
        "recipe": "bolt",
        "decided": time + 0.04,
        "milliseconds": 40.25,
        "score": 6.5,
        "threshold": 5.0,
        "pixel_threshold": 4.0,
        "p": 0.01,
        "regions": (Region(x=3, y=4, width=5, height=6, score=7.5, mean=5.5, area=25.0),),
        "bundle": "0123456789abcdef",
        "stages": {"network": 20.5, "total": 38.0},
    }
    return Decision(trigger=trigger, **(chosen | fields))


def line_state(
    beat: int = 1, *, recipe: str = "bolt", state: str = WELL, triggers: int = 0, since: float = BEGAN
) -> LineState:
    cameras = tuple(
        CameraState(
            name=name,
            health=Health(state, "" if state == WELL else "stopped", since),
            recipe=recipe,
            recipes=("bolt", "nut"),
            triggers=triggers,
            counts={"good": triggers, "defect": 0, "cannot_judge": 0, "late": 0},
            rejected=0,
            waiting=0,
            bundle="0123456789abcdef",
            threshold=5.0,
            certificate="at most 1 % of good parts are rejected",
        )
        for name in ("top", "side")
    )
    outputs = (OutputState("records", "file", Health(WELL, "", BEGAN), 1, 0, 0),)
    return LineState("press-3", "0.1", BEGAN, BEGAN + beat, beat, cameras, outputs)
