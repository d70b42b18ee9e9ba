"""What the line looks like at one moment: for heartbeats, the page, metrics and the watchdog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

WELL, TROUBLED, HUNG = "well", "troubled", "hung"
PASSED, OFF = "passed", "off"  # of a self-test; where it fails, the bundle is refused


@dataclass(frozen=True)
class Health:
    """How a part of the service is.

    Attributes:
        state: "well"; "troubled": it has reported a fault; "hung": it does not answer.
        words: what is wrong, one short sentence; empty if it is well.
        since: when this state began, in seconds since 1970, UTC.
    """

    state: str
    words: str
    since: float

    def to_json(self) -> dict[str, Any]:
        moment = datetime.fromtimestamp(self.since, timezone.utc).isoformat(timespec="seconds")
        return {"state": self.state, "words": self.words, "since": moment}


@dataclass(frozen=True)
class Pulled:
    """What came of the last pull of a bundle from a registry.

    Attributes:
        name: of the bundle, with its channel.
        wanted: SHA-256 of the manifest that the registry has; empty if it is not known.
        accepted: whether that one is in force.
        reason: why it is not, in one sentence; empty if it is.
        at: when, ISO 8601, UTC.
    """

    name: str
    wanted: str
    accepted: bool
    reason: str
    at: str

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "wanted": self.wanted,
            "accepted": self.accepted,
            "reason": self.reason,
            "at": self.at,
        }


@dataclass(frozen=True)
class CameraState:
    """A camera at one moment.

    Attributes:
        name: of the camera.
        health: of the camera and its scoring.
        recipe: name of the product that is chosen.
        recipes: names of all products.
        triggers: number of triggers so far.
        counts: verdict to number of decisions so far; "good", "defect", "cannot_judge" and "late".
        rejected: number of parts rejected so far.
        waiting: triggers without a decision yet.
        bundle: first 16 hexadecimal digits of the SHA-256 of the manifest in force.
        threshold: of the bundle in force.
        certificate: one sentence: what false-reject rate the threshold stands for.
        refused: why a newer bundle is not in force; empty if none was refused.
        drift: how parts look different; empty if they do not.
        self_test: "passed" where the golden frames were scored with this network on this machine, "off" where not.
        pulled: what came of the last pull of this product from a registry; None if it is not known.
        p50, p99, longest: milliseconds from trigger to decision, of the latest decisions; None before the first.
    """

    name: str
    health: Health
    recipe: str
    recipes: tuple[str, ...]
    triggers: int
    counts: Mapping[str, int]
    rejected: int
    waiting: int
    bundle: str
    threshold: float
    certificate: str
    refused: str = ""
    drift: str = ""
    self_test: str = OFF
    pulled: Pulled | None = None
    p50: float | None = None
    p99: float | None = None
    longest: float | None = None


@dataclass(frozen=True)
class OutputState:
    """An output at one moment; the evidence and the page are listed here too.

    Attributes:
        name: of the output.
        kind: "mqtt", "opc_ua", "modbus", "gpio", "webhook", "file", "evidence" or "page".
        health: of the output.
        sent: decisions that it has taken.
        lost: decisions that it never got, because it was down or slow.
        waiting: decisions that wait for it.
    """

    name: str
    kind: str
    health: Health
    sent: int
    lost: int
    waiting: int


@dataclass(frozen=True)
class LineState:
    """The service at one moment.

    Attributes:
        line: its name.
        version: of spade-edge.
        started: when the service began, in seconds since 1970, UTC.
        at: when this was taken, in seconds since 1970, UTC.
        beat: number of the heartbeat, counted from 1 and up.
        cameras, outputs: each of them, in the order of the configuration.
        news: what was last said of the service as a whole, such as a configuration that was refused; empty for nothing.
    """

    line: str
    version: str
    started: float
    at: float
    beat: int
    cameras: tuple[CameraState, ...]
    outputs: tuple[OutputState, ...]
    news: str = ""

    @property
    def state(self) -> str:
        """The worst state of a camera, "well" if all are well. An output in trouble does not count: see `outputs`."""
        return worst([camera.health.state for camera in self.cameras])

    def to_json(self) -> dict[str, Any]:
        """The payload of a heartbeat: JSON values, documented in docs/line.md."""
        return {
            "version": 1,
            "line": self.line,
            "software": self.version,
            "started": _time(self.started),
            "at": _time(self.at),
            "beat": self.beat,
            "state": self.state,
            "cameras": [_camera(camera) for camera in self.cameras],
            "outputs": [
                {
                    "name": o.name,
                    "kind": o.kind,
                    **o.health.to_json(),
                    "sent": o.sent,
                    "lost": o.lost,
                    "waiting": o.waiting,
                }
                for o in self.outputs
            ],
            "news": self.news,
        }


def worst(states: list[str]) -> str:
    """The worst of some states."""
    return max(states, key=(WELL, TROUBLED, HUNG).index, default=WELL)


def _camera(camera: CameraState) -> dict[str, Any]:
    return {
        "name": camera.name,
        **camera.health.to_json(),
        "recipe": camera.recipe,
        "triggers": camera.triggers,
        "counts": dict(camera.counts),
        "rejected": camera.rejected,
        "waiting": camera.waiting,
        "bundle": camera.bundle,
        "threshold": camera.threshold,
        "refused": camera.refused,
        "drift": camera.drift,
        "self_test": camera.self_test,
        "pulled": None if camera.pulled is None else camera.pulled.to_json(),
        "milliseconds": {"p50": camera.p50, "p99": camera.p99, "longest": camera.longest},
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
