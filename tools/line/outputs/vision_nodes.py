"""The nodes of the OPC UA server. docs/line/controllers.md shows these tables.

Names and arrangement follow OPC 40100-1 (Machine Vision) where it has something for what a line knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from spade_edge.runtime.result import DEFECT, GOOD
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.state import WELL, CameraState, LineState

NAMESPACE = "urn:spade-edge:line:1"  # of all nodes; another one would be another arrangement
COMPLETED, FAILED = 1, 4  # values of ResultState in OPC 40100-1


@dataclass(frozen=True)
class Variable:
    """A variable.

    Attributes:
        path: names from the line or the camera down to it, with dots between.
        type: of its value, as OPC UA calls it; "String[]" for an array.
        about: what it is.
        specified: whether OPC 40100-1 has this name, with this meaning, at this place.
    """

    path: str
    type: str
    about: str
    specified: bool = False


LINE = (
    Variable("Heartbeat", "UInt32", "number of the heartbeat; another one at each heartbeat"),
    Variable("State", "String", "the worst state of a camera: well, troubled or hung"),
    Variable("Started", "DateTime", "when the service began"),
    Variable("SoftwareVersion", "String", "of spade-edge"),
    Variable("News", "String", "what was last said of the service as a whole"),
)

_RESULT = "ResultManagement.Result"
RESULT = (
    Variable(f"{_RESULT}.Number", "UInt32", "running number of the decision"),
    Variable(f"{_RESULT}.IsPartial", "Boolean", "false: each decision is whole", True),
    Variable(f"{_RESULT}.IsSimulated", "Boolean", "true: a test message, and there is no part", True),
    Variable(f"{_RESULT}.ResultState", "Int32", "1 completed: good or defect; 4 failed: cannot_judge or late", True),
    Variable(f"{_RESULT}.PartId", "String", "id of the trigger", True),
    Variable(f"{_RESULT}.InternalRecipeId", "String", "name of the product that it was judged as", True),
    Variable(f"{_RESULT}.InternalConfigurationId", "String", "first 16 digits of the bundle's digest", True),
    Variable(f"{_RESULT}.CreationTime", "DateTime", "when it was decided", True),
    Variable(f"{_RESULT}.Verdict", "String", "good, defect, cannot_judge or late"),
    Variable(f"{_RESULT}.Gate", "String", "what the gate has to do: pass or reject"),
    Variable(f"{_RESULT}.Reason", "String", "why the verdict is not good; empty if it is"),
    Variable(f"{_RESULT}.Score", "Double", "NaN where no frame was judged, as for the next two"),
    Variable(f"{_RESULT}.Threshold", "Double", "scores above it are defects"),
    Variable(
        f"{_RESULT}.P", "Double", "how many good parts score as high, as a fraction; NaN if the bundle cannot say"
    ),
    Variable(f"{_RESULT}.Milliseconds", "Double", "from the trigger to the decision"),
    Variable(f"{_RESULT}.ResultContent", "String", "the whole decision as JSON, the payload of every output", True),
    Variable(f"{_RESULT}.ResultId", "String", "camera, hyphen, number; written last", True),
)

CAMERA = (
    Variable("VisionStateMachine.CurrentState", "LocalizedText", "Operational, or Error where it is in trouble", True),
    Variable("VisionStateMachine.Health", "String", "well, troubled or hung"),
    Variable("VisionStateMachine.Words", "String", "what is wrong; empty if it is well"),
    Variable("RecipeManagement.ActiveRecipe", "String", "name of the product that is chosen"),
    Variable("RecipeManagement.RecipeNames", "String[]", "names of all products"),
    Variable("Counts.Triggers", "UInt32", "triggers so far"),
    Variable("Counts.Good", "UInt32", "decisions so far, as for the next three"),
    Variable("Counts.Defect", "UInt32", ""),
    Variable("Counts.CannotJudge", "UInt32", ""),
    Variable("Counts.Late", "UInt32", ""),
    Variable("Counts.Rejected", "UInt32", "parts that were to be rejected so far"),
    Variable("Counts.Waiting", "UInt32", "triggers without a decision yet"),
)

METHODS = (
    (
        "Trigger",
        (
            ("PartId", "String", "id of the trigger; empty for the running number"),
            ("RecipeName", "String", "product that this part is; empty for the one that is chosen"),
        ),
        (("Number", "UInt32", "running number that it got; 0 if it was refused"),),
    ),
    ("RecipeManagement.SelectRecipe", (("RecipeName", "String", "product to choose"),), ()),
)  # path, what goes in, what comes out before Error and Message
ANSWER = (("Error", "Int32", "0 done, 1 refused"), ("Message", "String", "why it was refused"))


def folders(paths: Sequence[str]) -> list[str]:
    """The objects that contain some nodes, each after the one that contains it."""
    found: list[str] = []
    for path in paths:
        names = path.split(".")[:-1]
        for end in range(1, len(names) + 1):
            folder = ".".join(names[:end])
            if folder not in found:
                found.append(folder)
    return found


def values_of_line(state: LineState) -> list[Any]:
    """The values of `LINE`, in its order."""
    return [state.beat & 0xFFFFFFFF, state.state, moment(state.started), state.version, state.news]


def values_of_camera(camera: CameraState) -> list[Any]:
    """The values of `CAMERA`, in its order."""
    counts = [camera.counts.get(verdict, 0) for verdict in ("good", "defect", "cannot_judge", "late")]
    numbers = [camera.triggers, *counts, camera.rejected, camera.waiting]
    return [
        "Operational" if camera.health.state == WELL else "Error",
        camera.health.state,
        camera.health.words,
        camera.recipe,
        list(camera.recipes),
        *(number & 0xFFFFFFFF for number in numbers),
    ]


def values_of_result(decision: Decision) -> list[Any]:
    """The values of `RESULT`, in its order."""
    return [
        decision.trigger.number & 0xFFFFFFFF,
        False,
        decision.test,
        COMPLETED if decision.verdict in (GOOD, DEFECT) else FAILED,
        decision.trigger.id,
        decision.recipe,
        decision.bundle,
        moment(decision.decided),
        decision.verdict,
        decision.gate,
        decision.reason,
        *(float("nan") if each is None else each for each in (decision.score, decision.threshold, decision.p)),
        decision.milliseconds,
        json.dumps(decision.to_json()),
        f"{decision.trigger.camera}-{decision.trigger.number}",
    ]


def moment(seconds: float) -> datetime:
    """A moment in seconds since 1970, UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc)
