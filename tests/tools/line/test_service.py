"""The whole line: triggers in, decisions out, with cameras and outputs that a test controls."""

from __future__ import annotations

import math
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fake_line import LONG, Belt, Clock, Memory, numbers, until
from numpy.typing import NDArray

from spade_edge.galleries import Built, set_threshold
from spade_edge.runtime import BundleError, DataError, DeviceError, FollowingScorer, Scorer, UsageError
from spade_edge.tools.line import service as module
from spade_edge.tools.line.configuration.options import (
    CameraOptions,
    EvidenceOptions,
    FileOptions,
    GpioOptions,
    LineConfiguration,
    LineOptions,
    ModbusOptions,
    RecipeOptions,
)
from spade_edge.tools.line.configuration.source import open_camera
from spade_edge.tools.line.courier import Courier
from spade_edge.tools.line.decision import LATE, Decision
from spade_edge.tools.line.drift import CameraDrift
from spade_edge.tools.line.service import Service
from spade_edge.tools.line.state import HUNG, TROUBLED, WELL
from spade_edge.tools.line.systemd import Systemd
from spade_edge.tools.sources import Shot

Part = Callable[..., NDArray[np.uint8]]
SECONDS = 20_000  # milliseconds of a deadline that is met


class Plant:
    """A line with two cameras on belts, and one output that remembers."""

    def __init__(self, folder: Path, bundle: Path, *, trigger: str = "frame", deadline_ms: int = SECONDS) -> None:
        self.bundle = Path(shutil.copytree(bundle, folder / "bolt.spade"))
        camera = CameraOptions(source="top", recipe="bolt", deadline_ms=deadline_ms, trigger=trigger)
        self.configuration = LineConfiguration(
            line=LineOptions(name="line", heartbeat_ms=50, watchdog_s=0.5),
            recipes={"bolt": RecipeOptions(bundle=self.bundle)},
            cameras={"top": camera, "side": replace(camera, source="side")},
            outputs={"plc": FileOptions(path=folder / "x.jsonl")},
        )
        self.belts = {"top": Belt(), "side": Belt()}
        self.outputs: dict[str, Memory] = {}
        self.made = 0
        self.services: list[Service] = []

    def make(self, name: str, **_: object) -> Memory:
        self.made += 1
        self.outputs[name] = Memory()
        return self.outputs[name]

    def start(
        self,
        configuration: LineConfiguration | None = None,
        *,
        systemd: Systemd | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Service:
        service = Service(
            configuration or self.configuration,
            open_camera=lambda options: self.belts[options.source].source(),
            make=self.make,
            systemd=systemd or Systemd({}),
            clock=clock,
        )
        self.services.append(service)
        service.start()
        return service

    @property
    def taken(self) -> list[Decision]:
        return self.outputs["plc"].taken

    def of(self, camera: str) -> list[Decision]:
        return [decision for decision in self.taken if decision.trigger.camera == camera]


@pytest.fixture
def plant(tmp_path: Path, edge: Built) -> Iterator[Callable[..., Plant]]:
    made: list[Plant] = []

    def make(**options: object) -> Plant:
        made.append(Plant(tmp_path, edge.path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for line in made:
        for service in line.services:
            service.end()


@pytest.fixture
def other(edge: Built, tmp_path: Path) -> Path:
    """A bundle of another product with the same model."""
    copy = Path(shutil.copytree(edge.path, tmp_path / "nut.spade"))
    set_threshold(copy, score=1e6, reason="another product")
    return copy


Make = Callable[..., Plant]


def test_each_frame_gets_the_verdict_of_the_scorer(plant: Make, part: Part, edge: Built) -> None:
    line = plant()
    line.start()
    frames = [part(seed, flaw=seed % 2 == 1) for seed in range(20, 26)]
    for frame in frames:
        line.belts["top"].frame(frame)
    line.belts["side"].frame(frames[1])
    until(lambda: len(line.taken) == 7)
    scorer = Scorer.open(edge.path)
    for decision, frame in zip(line.of("top"), frames, strict=True):
        result = scorer(frame)
        assert (decision.verdict, decision.score, decision.regions) == (result.verdict, result.score, result.regions)
        assert decision.gate == ("pass" if result.verdict == "good" else "reject")
        assert decision.to_json()["p"] == result.p and decision.bundle == result.bundle
    assert {decision.verdict for decision in line.of("top")} == {"good", "defect"}
    assert numbers(line.of("top")) == [1, 2, 3, 4, 5, 6] and numbers(line.of("side")) == [1]


def test_lost_and_damaged_frames_have_decisions_too(plant: Make, part: Part) -> None:
    line = plant()
    line.start()
    belt, frame = line.belts["top"], part(20)
    for number in ("7", "8", "11"):
        belt.frame(frame, part=number)
    belt.put(Shot(0, None, "a packet was lost"))  # it was number 12
    belt.frame(frame.astype(np.float32), part="13")  # type: ignore[arg-type]
    belt.frame(frame, part="3")  # the counter began anew
    belt.frame(frame, part="5000")  # and that is no loss of thousands of parts
    until(lambda: len(line.taken) == 9)
    assert [decision.trigger.id for decision in line.taken] == ["7", "8", "9", "10", "11", "6", "13", "3", "5000"]
    verdicts = [decision.verdict for decision in line.taken]
    assert verdicts == ["good", "good", *["cannot_judge"] * 2, "good", *["cannot_judge"] * 2, "good", "good"]
    assert all((decision.gate == "pass") == (decision.verdict == "good") for decision in line.taken)
    assert all(decision.reason for decision in line.taken if decision.verdict != "good")


def test_frames_of_a_camera_that_does_not_number_them_are_never_lost(plant: Make, part: Part) -> None:
    line = plant()
    cameras = {name: replace(camera, numbered=False) for name, camera in line.configuration.cameras.items()}
    line.start(replace(line.configuration, cameras=cameras))
    for number in ("7", "9"):
        line.belts["top"].frame(part(20), part=number)
    until(lambda: len(line.taken) == 2)


def test_a_message_is_answered_by_the_next_frame(plant: Make, part: Part) -> None:
    line = plant(trigger="message")
    service = line.start()
    belt = line.belts["top"]
    belt.frame(part(20, flaw=True))  # nobody has asked for it
    until(lambda: belt.done_with == 1)
    assert service.trigger("top", id="A1") == 1 and service.trigger("top") == 2
    belt.frame(part(20))
    belt.frame(part(21, flaw=True))
    until(lambda: len(line.taken) == 2)
    assert [(found.trigger.id, found.verdict) for found in line.taken] == [("A1", "good"), ("2", "defect")]
    for camera, recipe in (("nose", None), ("top", "nut")):
        with pytest.raises(UsageError):
            service.trigger(camera, recipe=recipe)


def test_a_message_without_a_frame_is_late_and_its_frame_is_not_taken_for_the_next(plant: Make, part: Part) -> None:
    line = plant(trigger="message", deadline_ms=100)
    service = line.start()
    service.trigger("top", id="A1")
    until(lambda: len(line.taken) == 1)
    assert line.taken[0].verdict == LATE and line.taken[0].gate == "reject"
    assert line.taken[0].milliseconds >= 100
    line.belts["top"].frame(part(20))  # of A1; the next message comes after it
    until(lambda: line.belts["top"].done_with == 1)
    assert numbers(line.taken) == [1]


def test_frames_exposed_before_the_trigger_are_not_used(plant: Make, part: Part) -> None:
    line, clock = plant(trigger="message"), Clock()
    cameras = {name: replace(camera, frame_after_ms=300) for name, camera in line.configuration.cameras.items()}
    service = line.start(replace(line.configuration, cameras=cameras), clock=clock)
    service.trigger("top")
    clock.now += 0.29
    line.belts["top"].frame(part(20, flaw=True))  # exposed before
    until(lambda: line.belts["top"].done_with == 1)
    clock.now += 0.02
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 1)
    assert line.taken[0].verdict == "good"


def test_frames_are_triggers_or_messages_are(plant: Make) -> None:
    service = plant().start()
    with pytest.raises(UsageError):
        service.trigger("top")


def test_slow_scoring_makes_late_and_the_line_recovers(
    plant: Make, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, clock, go, scored = plant(deadline_ms=150), Clock(), threading.Event(), list[int]()
    original = Scorer.__call__

    def score(self: Scorer, frame: NDArray[np.uint8], **options: str) -> object:
        scored.append(len(scored))
        assert go.wait(LONG)
        return original(self, frame, **options)

    service = line.start(clock=clock)
    monkeypatch.setattr(Scorer, "__call__", score)
    for _ in range(5):
        line.belts["top"].frame(part(20))
    until(lambda: service.state().cameras[0].triggers == 5 and scored)
    clock.now += 0.15
    until(lambda: len(line.taken) == 5)
    assert {decision.verdict for decision in line.taken} == {LATE}
    go.set()
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 6)
    assert line.taken[-1].verdict == "good"
    assert len(scored) == 2  # the others were late before their turn came


def test_scoring_that_fails_is_a_decision_and_a_state(plant: Make, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    line = plant()
    service = line.start()
    original = Scorer.__call__
    problems = iter([MemoryError(), RuntimeError("the driver is gone"), BundleError("cut"), None])

    def score(self: Scorer, frame: NDArray[np.uint8], **options: str) -> object:
        if (problem := next(problems)) is not None:
            raise problem
        return original(self, frame, **options)

    monkeypatch.setattr(Scorer, "__call__", score)
    for number, wanted in enumerate([TROUBLED] * 3 + [WELL]):
        line.belts["top"].frame(part(20))
        until(lambda number=number: len(line.taken) > number)  # type: ignore[misc]
        until(lambda wanted=wanted: service.state().cameras[0].health.state == wanted)  # type: ignore[misc]
    assert [decision.verdict for decision in line.taken] == [*["cannot_judge"] * 3, "good"]
    assert "the driver is gone" in line.taken[1].reason and "Error" not in line.taken[2].reason


def test_a_camera_that_stops_is_told_and_opened_again(plant: Make, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spade_edge.tools.line.station.SOONEST", 0.01)
    line = plant()
    service = line.start()
    belt = line.belts["top"]
    health = lambda: service.state().cameras[0].health  # noqa: E731
    assert health().state == WELL  # a belt that stands still is no trouble
    belt.frame(part(20))
    until(lambda: len(line.taken) == 1 and health().state == WELL)
    assert health() == health()  # and well since the beginning
    belt.put(Shot(None, None, "stopped: no answer"))
    until(lambda: health().words == "stopped: no answer")
    belt.put(DeviceError("the cable was pulled"))
    until(lambda: health().words == "the cable was pulled" and belt.opened >= 2)
    assert service.state().state == TROUBLED
    belt.frame(part(21))
    until(lambda: health().state == WELL and len(line.taken) == 2)
    assert numbers(line.taken) == [1, 2]


def test_a_silent_camera_and_a_network_that_hangs_are_told(
    plant: Make, part: Part, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line, go = plant(deadline_ms=100), threading.Event()
    cameras = {**line.configuration.cameras}
    cameras["side"] = replace(cameras["side"], stall_s=0.3)
    service = line.start(replace(line.configuration, cameras=cameras))
    until(lambda: service.state().cameras[1].health.state == HUNG)
    assert service.state().cameras[0].health.state != HUNG
    monkeypatch.setattr(Scorer, "__call__", lambda *_, **__: go.wait(LONG))
    line.belts["top"].frame(part(20))
    until(lambda: service.state().cameras[0].health.state == HUNG)
    until(lambda: [decision.verdict for decision in line.taken] == [LATE])  # decided all the same
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 2)
    until(lambda: "camera top hangs" in caplog.text and "camera side hangs" in caplog.text)
    go.set()
    line.belts["top"].frame(part(20))
    until(lambda: "camera top answers again" in caplog.text)


def test_products_are_chosen_and_asked_for(plant: Make, part: Part, other: Path, tmp_path: Path) -> None:
    line = plant(trigger="message")
    recipes = {**line.configuration.recipes, "nut": RecipeOptions(bundle=other)}
    service = line.start(replace(line.configuration, recipes=recipes))
    assert service.bundle("nut").path == other
    for recipe in (None, "nut", "bolt"):
        service.trigger("top", recipe=recipe)
        line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 3)
    service.choose("top", "nut")
    service.trigger("top")
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 4)
    assert [decision.recipe for decision in line.taken] == ["bolt", "nut", "bolt", "nut"]
    digests = [decision.bundle for decision in line.taken]
    assert digests[0] == digests[2] != digests[1] == digests[3]
    assert service.state().cameras[0].recipe == "nut" and service.state().cameras[1].recipe == "bolt"
    for camera, recipe in (("top", "screw"), ("nose", "nut")):
        with pytest.raises(UsageError):
            service.choose(camera, recipe)
    now = service.configuration
    slower = replace(now.cameras["top"], deadline_ms=SECONDS + 1)
    service.reload(replace(now, cameras={**now.cameras, "top": slower}))
    state = service.state().cameras[0]
    assert state.recipe == "nut" and state.triggers == sum(state.counts.values()) == 4  # what was chosen stays
    service.reload(replace(now, recipes={"bolt": now.recipes["bolt"]}, cameras={**now.cameras, "top": slower}))
    assert service.state().cameras[0].recipe == "bolt"


def test_the_state_says_how_the_self_test_went_and_what_came_of_a_pull(
    plant: Make, other: Path, tmp_path: Path
) -> None:
    line, said = plant(), tmp_path / "pulled.json"
    bolt = replace(line.configuration.recipes["bolt"], pull_report=said)
    service = line.start(replace(line.configuration, recipes={"bolt": bolt}))
    camera = service.state().cameras[0]
    assert (camera.self_test, camera.pulled) == ("passed", None)
    new = tmp_path / "new"
    new.write_text(
        '{"format": "spade-edge rollout", "name": "bolt:production", "wanted": "12", "accepted": false, '
        '"reason": "too slow", "at": "2026-11-28T16:45:03+00:00"}'
    )
    new.replace(said)
    until(lambda: service.state().cameras[0].pulled)
    assert service.state().to_json()["cameras"][0]["pulled"]["reason"] == "too slow"
    service.end()
    untested = replace(bolt, self_test=False)
    both = {"bolt": untested, "nut": RecipeOptions(bundle=other)}  # on the network of the first, which was not tested
    service = line.start(replace(line.configuration, recipes=both))
    service.choose("side", "nut")
    assert [camera.self_test for camera in service.state().cameras] == ["off", "off"]


def test_products_with_one_model_share_its_network(plant: Make, other: Path, tmp_path: Path) -> None:
    line = plant()
    recipes = {**line.configuration.recipes, "nut": RecipeOptions(bundle=other)}
    service = line.start(replace(line.configuration, recipes=recipes))
    scorers = [service._recipes[name].scorer for name in ("bolt", "nut")]
    assert scorers[0].session is scorers[1].session and scorers[0].bundle.digest != scorers[1].bundle.digest


def test_a_new_generation_is_in_force_between_two_frames_and_a_broken_one_is_not(
    plant: Make, part: Part, caplog: pytest.LogCaptureFixture
) -> None:
    line = plant()
    service = line.start()
    belt = line.belts["top"]
    belt.frame(part(20))
    until(lambda: len(line.taken) == 1)
    set_threshold(line.bundle, score=-1000.0, reason="reject everything")
    until(lambda: service.state().cameras[0].threshold == -1000)  # also without frames
    until(lambda: "recipe bolt: frames are judged by" in caplog.text)
    belt.frame(part(20))
    until(lambda: len(line.taken) == 2)
    assert [decision.verdict for decision in line.taken] == ["good", "defect"]
    manifest = line.bundle / "manifest.json"
    former = manifest.read_bytes()
    manifest.write_bytes(former.replace(b'"model"', b'"modell"', 1))
    until(lambda: service.state().cameras[0].refused)
    belt.frame(part(20))
    until(lambda: len(line.taken) == 3)
    assert line.taken[2].threshold == -1000
    manifest.write_bytes(former)
    until(lambda: not service.state().cameras[0].refused)


def test_a_new_configuration_without_a_gap(plant: Make, part: Part, tmp_path: Path) -> None:
    line = plant()
    service = line.start()
    belt, first = line.belts["top"], line.outputs["plc"]
    belt.frame(part(20))
    until(lambda: len(line.taken) == 1)
    old = service.configuration
    service.reload(old)
    assert (line.made, belt.opened) == (1, 1)
    new = replace(old, line=replace(old.line, fail_safe="pass"), outputs={**old.outputs, "log": old.outputs["plc"]})
    service.reload(new)
    assert belt.opened == 1 and line.outputs["plc"] is first and first.closed == 0
    belt.put(Shot(0, None, "damaged"))
    until(lambda: len(first.taken) == 2 and len(line.outputs["log"].taken) == 1)
    assert first.taken[1].gate == "pass"
    faster = replace(new.cameras["top"], deadline_ms=SECONDS + 1)
    service.reload(replace(new, cameras={**new.cameras, "top": faster}, outputs=old.outputs))
    assert line.outputs["log"].closed == 1
    until(lambda: belt.opened == 2)
    assert line.belts["side"].opened == 1
    belt.frame(part(20))
    until(lambda: len(first.taken) == 3)
    assert numbers(first.taken) == [1, 2, 3]  # goes on counting


def test_a_configuration_that_cannot_be_opened_leaves_the_former_one(plant: Make, part: Part, tmp_path: Path) -> None:
    line = plant()
    service = line.start()
    old = service.configuration
    broken = RecipeOptions(bundle=tmp_path / "none.spade")
    with pytest.raises(BundleError):
        service.reload(replace(old, recipes={**old.recipes, "nut": broken}))
    with pytest.raises(UsageError):
        service.reload(replace(old, line=replace(old.line, threads=1)))

    def refuse(name: str, **options: object) -> Memory:
        raise DeviceError("no such package")

    service._make = refuse
    with pytest.raises(DeviceError):
        service.reload(replace(old, outputs={**old.outputs, "log": old.outputs["plc"]}))
    assert service.configuration is old
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 1)
    set_threshold(line.bundle, score=-1000.0, reason="still followed")
    until(lambda: service.state().cameras[0].threshold == -1000)


def test_a_product_that_is_chosen_is_that_of_later_parts_only(
    plant: Make, part: Part, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, go, reached = plant(), threading.Event(), threading.Event()
    recipes = {**line.configuration.recipes, "nut": RecipeOptions(bundle=other)}
    service = line.start(replace(line.configuration, recipes=recipes))
    original = Scorer.__call__

    def score(self: Scorer, frame: NDArray[np.uint8], **options: str) -> object:
        reached.set()
        assert go.wait(LONG)
        return original(self, frame, **options)

    monkeypatch.setattr(Scorer, "__call__", score)
    line.belts["top"].frame(part(20))
    line.belts["top"].frame(part(20))  # waits for its turn
    until(lambda: service.state().cameras[0].triggers == 2 and reached.is_set())
    service.choose("top", "nut")
    line.belts["top"].frame(part(20))
    until(lambda: service.state().cameras[0].triggers == 3)
    go.set()
    until(lambda: len(line.taken) == 3)
    assert [decision.recipe for decision in line.taken] == ["bolt", "bolt", "nut"]
    assert line.taken[1].bundle == line.taken[0].bundle != line.taken[2].bundle


def test_a_part_whose_product_has_gone_cannot_be_judged(plant: Make, part: Part, other: Path) -> None:
    line = plant(trigger="message")
    recipes = {**line.configuration.recipes, "nut": RecipeOptions(bundle=other)}
    service = line.start(replace(line.configuration, recipes=recipes))
    service.trigger("top", recipe="nut")
    service.reload(line.configuration)
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 1)
    assert (line.taken[0].recipe, line.taken[0].verdict, line.taken[0].gate) == ("nut", "cannot_judge", "reject")


def test_a_frame_that_comes_after_the_end_of_a_camera_is_no_part(plant: Make, part: Part) -> None:
    line, hangs = plant(), threading.Event()
    service = line.start()
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 1)

    class Slow(Belt):
        """A camera that does not see at once that it is to end."""

        def _read(self, ended: threading.Event) -> Iterator[Shot]:
            yield Shot(0, part(20))
            assert hangs.wait(LONG)
            yield Shot(1, part(20), part="after the end")

    now = service.configuration
    for more, belt in enumerate((Slow(), Belt()), 1):
        line.belts["top"] = belt
        camera = replace(now.cameras["top"], deadline_ms=SECONDS + more)
        service.reload(replace(now, cameras={**now.cameras, "top": camera}))
        until(lambda: len(line.taken) == 2)
    cameras = lambda: [each for each in threading.enumerate() if each.name == "camera top"]  # noqa: E731
    until(lambda: len(cameras()) == 2)  # one of them was abandoned
    former = cameras()
    hangs.set()  # and delivers one more
    until(lambda: not all(each.is_alive() for each in former))
    line.belts["top"].frame(part(20), part="last")
    until(lambda: line.taken[-1].trigger.id == "last")
    assert numbers(line.taken) == [1, 2, 3]


def test_a_decision_at_the_moment_of_a_new_configuration_is_carried(
    plant: Make, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = plant()
    service = line.start()
    old, original, first = service.configuration, Courier.hand_over, line.outputs["plc"]
    changed = replace(old, outputs={"plc": replace(old.outputs["plc"], queue=7)})

    def hand_over(self: Courier[object], item: object) -> bool:
        if service.configuration is old:
            service.reload(changed)
        return original(self, item)

    monkeypatch.setattr(Courier, "hand_over", hand_over)
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 1)
    assert numbers(line.taken) == [1] and first.taken == [] and first is not line.outputs["plc"]


def test_what_waits_for_an_output_is_not_lost_with_a_new_configuration(
    plant: Make, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = plant()
    service = line.start()

    def down(_: Decision) -> None:
        raise DeviceError("the broker is gone")

    line.outputs["plc"].on_send = down
    for _ in range(3):
        line.belts["top"].frame(part(20))
    until(lambda: service.state().outputs[0].waiting == 3)
    way = service._ways["plc"].courier
    monkeypatch.setattr(way, "end", partial(way.end, patience=0.1))
    service.reload(replace(service.configuration, outputs={"plc": replace(line.configuration.outputs["plc"], queue=7)}))
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 4)
    assert numbers(line.taken) == [1, 2, 3, 4]


def test_outputs_that_know_nothing_of_a_change_stay_open(plant: Make, other: Path) -> None:
    line = plant()
    outputs = {"plc": ModbusOptions(), "gate": GpioOptions(line=1), "log": line.configuration.outputs["plc"]}
    old = replace(line.configuration, outputs=outputs)
    service = line.start(old)
    plc, gate, log = (line.outputs[name] for name in outputs)
    changes = [
        replace(old, line=replace(old.line, heartbeat_ms=60)),  # the controller waits for it
        replace(old, recipes={"nut": RecipeOptions(bundle=other), **old.recipes}),
        replace(old, recipes={**old.recipes, "nut": RecipeOptions(bundle=other)}),  # another order: other numbers
    ]
    for changed in changes:
        service.reload(changed)
        assert line.outputs["plc"] is not plc and plc.closed == 1
        plc = line.outputs["plc"]
        assert line.outputs["gate"] is gate and line.outputs["log"] is log and (gate.closed, log.closed) == (0, 0)


def test_an_output_that_does_not_close_keeps_no_other_from_its_successor(plant: Make) -> None:
    line, go = plant(), threading.Event()
    outputs = dict.fromkeys(("plc", "gate"), line.configuration.outputs["plc"])
    service = line.start(replace(line.configuration, outputs=outputs))
    former = line.outputs["gate"]
    until(lambda: former.opened and line.outputs["plc"].opened)
    line.outputs["plc"].close = lambda: go.wait(LONG)
    new = replace(service.configuration, outputs={name: replace(each, queue=7) for name, each in outputs.items()})
    thread = threading.Thread(target=service.reload, args=(new,))
    thread.start()
    try:
        until(lambda: line.outputs["gate"] is not former and line.outputs["gate"].opened)
        assert thread.is_alive() and former.closed and not line.outputs["plc"].opened
    finally:
        go.set()
        thread.join()


def test_an_output_may_have_the_name_of_what_is_no_output(plant: Make, part: Part, tmp_path: Path) -> None:
    line = plant()
    log = line.configuration.outputs["plc"]
    evidence = EvidenceOptions(folder=tmp_path / "evidence")
    old = replace(line.configuration, outputs={"evidence": log}, evidence=evidence)
    service = line.start(old)
    changed = {"evidence": replace(log, queue=7)}
    service.reload(replace(old, outputs=changed, evidence=replace(evidence, good_share=1.0)))
    line.belts["top"].frame(part(20))
    until(lambda: line.outputs["evidence"].taken and list((tmp_path / "evidence").glob("[0-9]*/*/*.good.*")))
    until(lambda: [output.sent for output in service.state().outputs] == [1, 1])


def test_heartbeats_go_on_after_a_fault_of_ours(
    plant: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line, original, failed = plant(), Service.state, list[int]()

    def state(self: Service) -> object:
        if len(failed) < 2 and threading.current_thread().name == "heartbeat":
            failed.append(1)
            raise MemoryError
        return original(self)

    monkeypatch.setattr(Service, "state", state)
    line.start()
    until(lambda: len(line.outputs["plc"].beats) > 2)
    assert len(failed) == 2 and caplog.text.count("a heartbeat was not given") == 1


def test_a_dead_disk_for_what_was_learned_stops_no_heartbeat_and_no_end(
    plant: Make, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, hangs, go = plant(), threading.Event(), threading.Event()
    monkeypatch.setattr(module, "KEEP", 0.05)
    monkeypatch.setattr(CameraDrift, "keep", lambda _: hangs.set() or go.wait(LONG))
    service = line.start()
    assert hangs.wait(LONG)
    beats = len(line.outputs["plc"].beats)
    until(lambda: len(line.outputs["plc"].beats) > beats + 2)
    line.belts["top"].frame(part(20))
    until(lambda: len(line.taken) == 1)
    ended = threading.Thread(target=service.end)
    ended.start()
    ended.join(LONG / 2)
    assert not ended.is_alive() and line.outputs["plc"].closed
    go.set()


@pytest.mark.parametrize("hanging", [(CameraDrift, "_read"), (FollowingScorer, "newest")], ids=("state", "bundle"))
def test_a_dead_disk_keeps_no_frame_waiting(
    plant: Make, part: Part, hanging: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, go, reached = plant(), threading.Event(), threading.Event()
    monkeypatch.setattr(*hanging, lambda *_, **__: reached.set() or go.wait(LONG))
    service = line.start()
    for number in range(1, 4):
        line.belts["top"].frame(part(20))
        until(lambda number=number: len(line.taken) == number)  # type: ignore[misc]
    assert {decision.verdict for decision in line.taken} == {"good"} and reached.wait(LONG)
    ended = threading.Thread(target=service.end)
    ended.start()
    ended.join(LONG / 2)
    assert not ended.is_alive() and line.outputs["plc"].closed and not go.is_set()
    go.set()


def test_an_id_is_text_whatever_a_file_is_called(plant: Make, part: Part) -> None:
    line = plant()
    line.start()
    line.belts["top"].put(Shot("caf\udce9.png", part(20)))
    until(lambda: len(line.taken) == 1)
    assert line.taken[0].trigger.id == "caf?.png"


def test_an_output_gets_the_cameras_that_it_asks_for(plant: Make, part: Part) -> None:
    line = plant()
    outputs = {
        "plc": line.configuration.outputs["plc"],
        "side": replace(line.configuration.outputs["plc"], cameras=("side",)),
    }
    line.start(replace(line.configuration, outputs=outputs))
    for belt in line.belts.values():
        belt.frame(part(20))
    until(lambda: len(line.taken) == 2 and line.outputs["side"].taken)
    assert [decision.trigger.camera for decision in line.outputs["side"].taken] == ["side"]


def test_files_are_a_trial_that_comes_to_its_end(plant: Make, part: Part, tmp_path: Path) -> None:
    line = plant(deadline_ms=SECONDS)
    folder = tmp_path / "frames"
    folder.mkdir()
    for seed in range(12):
        np.save(folder / f"{seed:02}.npy", part(seed))
    cameras = {"top": replace(line.configuration.cameras["top"], source=str(folder))}
    service = Service(replace(line.configuration, cameras=cameras), make=line.make, systemd=Systemd({}))
    with service:
        assert service.wait(LONG)
    assert [decision.trigger.id for decision in line.taken] == [f"{seed:02}.npy" for seed in range(12)]
    assert {decision.verdict for decision in line.taken} <= {"good", "defect"}


def test_a_bundle_that_is_missing_or_not_signed_is_an_error_at_the_start(plant: Make, tmp_path: Path) -> None:
    line = plant()
    with pytest.raises(BundleError):
        line.start(replace(line.configuration, recipes={"bolt": RecipeOptions(bundle=tmp_path / "none")}))
    signed = replace(line.configuration.line, require_signature=(tmp_path / "none.pub",))
    with pytest.raises(DataError):
        line.start(replace(line.configuration, line=signed))


def test_what_is_open_at_the_end_is_decided_and_carried(plant: Make, part: Part) -> None:
    line = plant(trigger="message")
    service = line.start()
    for _ in range(3):
        service.trigger("top")
    service.end()
    assert [decision.verdict for decision in line.taken] == [LATE] * 3
    with pytest.raises(UsageError):
        service.trigger("top")


def test_drift_goes_on_after_a_restart(plant: Make, part: Part, tmp_path: Path) -> None:
    line = plant()
    configuration = replace(line.configuration, line=replace(line.configuration.line, state=tmp_path / "state"))
    for _ in range(2):
        service = line.start(configuration)
        for seed in range(5):
            line.belts["top"].frame(part(seed))
        until(lambda: len(line.of("top")) == 5)
        service.end()
    ((name, series),) = [(file.name, file.read_text()) for file in (tmp_path / "state").iterdir()]
    assert name == "drift-top-bolt.json" and '"spade_edge_drift"' in series
    (tmp_path / "state" / name).write_text("no state")
    service = line.start(configuration)
    line.belts["top"].frame(part(0))
    until(lambda: len(line.of("top")) == 1)  # learned anew


def test_systemd_is_told(plant: Make, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(LONG)
        line = plant()
        service = line.start(systemd=Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}))
        assert b"READY=1" in manager.recv(4096)
        assert b"WATCHDOG=1" in manager.recv(4096)
        assert b"WATCHDOG=1" in manager.recv(4096)
        service.reload(service.configuration)
        found = b""
        while b"READY=1" not in found:
            found += manager.recv(4096)
        assert b"RELOADING=1" in found and b"MONOTONIC_USEC=" in found
        found = b""

        def read() -> LineConfiguration:
            raise UsageError("a mistake in the file")

        with pytest.raises(UsageError):
            service.reload(read)
        while b"READY=1" not in found:  # else 'systemctl reload' would wait for it
            found += manager.recv(4096)
        assert b"RELOADING=1" in found
        service.end()
        while b"STOPPING=1" not in found:
            found = manager.recv(4096)


def test_systemd_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "none")}, {"NOTIFY_SOCKET": "@none", "WATCHDOG_PID": "1"}):
        systemd = Systemd(environment)
        systemd.ready("well")
        systemd.alive("well")
        assert systemd.watchdog_s is None


def test_beats_have_the_state(plant: Make, part: Part) -> None:
    line = plant()
    line.start()
    line.belts["top"].frame(part(20, flaw=True))
    until(lambda: any(beat.cameras[0].counts["defect"] for beat in line.outputs["plc"].beats))
    beats = line.outputs["plc"].beats
    assert [beat.beat for beat in beats] == sorted(beat.beat for beat in beats)
    found = beats[-1].to_json()
    assert found["cameras"][0]["counts"] == {"good": 0, "defect": 1, "cannot_judge": 0, "late": 0}
    assert found["cameras"][0]["rejected"] == 1 and found["outputs"][0]["kind"] == "file"


def test_sources_of_a_configuration(tmp_path: Path, part: Part) -> None:
    of = partial(open_camera, reopen=math.inf)
    np.save(tmp_path / "1.npy", part(1))
    files = of(CameraOptions(source=str(tmp_path), recipe="bolt", deadline_ms=1))
    assert not files.endless and len(list(files)) == 1
    watched = of(CameraOptions(source=f"watch:{tmp_path}", recipe="bolt", deadline_ms=1, frozen=0))
    assert watched.endless
    with pytest.raises(DataError):
        of(CameraOptions(source=str(tmp_path / "none"), recipe="bolt", deadline_ms=1))
