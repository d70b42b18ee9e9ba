"""A device takes a bundle if it proves itself, and else keeps what it has."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from altered import replaced
from fake_line import until
from interrupted_writes import SPACE, Killed, stopping
from kept_parts import keep
from numpy.typing import NDArray

from spade_edge.galleries import generations, set_threshold, undo
from spade_edge.galleries.history import kept_manifests, payload_of
from spade_edge.galleries.output import PULLING
from spade_edge.galleries.teaching import teach_in
from spade_edge.runtime import BundleError, DataError, FollowingScorer, Scorer, SpadeError, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE, NAME, Manifest
from spade_edge.tools.fleet.rollout import Recent, Rollout, Rules, arrival, pull, pulling
from spade_edge.tools.fleet.rollout.arrival import arriving
from spade_edge.tools.line.evidence.entry import entries
from spade_edge.tools.registry import Artifact, Blob, Reference, artifact_of, push
from spade_edge.tools.remote import UnreachableError
from spade_edge.tools.signing import PublicKey, new_key, sign

Part = Callable[..., NDArray[np.uint8]]


def digest(bundle: Path) -> str:
    return hashlib.sha256((bundle / FILE).read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bolt(tag: str) -> Reference:
    return Reference("bolt", tag=tag)


def left_about(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


# Taken


def test_a_device_without_a_bundle_gets_it_as_it_was_pushed(plant: Any, tmp_path: Path) -> None:
    bundle = tmp_path / "new" / "part.spade"
    rollout = pull(plant.registry, bolt("first"), bundle)
    assert rollout.accepted and rollout.changed and rollout.reason == ""
    assert rollout.in_force == rollout.wanted == digest(bundle) == digest(plant.versions["first"])
    manifest = Manifest.read(bundle)
    for payload in manifest.files.values():
        assert (bundle / payload.name).read_bytes() == (plant.versions["first"] / payload.name).read_bytes()
    assert rollout.fetched == manifest.size + (bundle / FILE).stat().st_size
    assert [(one.number, one.verb) for one in generations(bundle)] == [(1, "pull")]
    assert generations(bundle)[0].reason.startswith("bolt:first ")
    assert left_about(tmp_path / "new") == []
    assert "no bundle in force to compare it with" in rollout.sentence()


def test_only_what_the_device_lacks_is_fetched(plant: Any, device: Path, recording: Any) -> None:
    before = digest(device)
    registry = recording(plant.registry)
    rollout = pull(registry, bolt("lenient"), device)
    assert rollout.accepted and registry.fetched == [FILE]
    assert rollout.fetched == (plant.versions["lenient"] / FILE).stat().st_size
    assert digest(device) == digest(plant.versions["lenient"])
    assert undo(device).manifest == before == digest(device)
    assert left_about(device.parent) == []


def test_what_is_in_force_already_is_left_alone(plant: Any, device: Path, recording: Any) -> None:
    before, registry = contents(device), recording(plant.registry)
    rollout = pull(registry, bolt("first"), device)
    assert rollout.accepted and not rollout.changed and registry.fetched == []
    assert contents(device) == before and rollout.sentence().endswith("is in force already")


def test_a_running_line_takes_it_between_two_frames(plant: Any, device: Path, part: Part) -> None:
    with FollowingScorer.open(device) as scorer:
        assert scorer(part(3)).bundle == digest(device)[:16]
        pull(plant.registry, bolt("lenient"), device)
        until(lambda: scorer(part(3)).bundle == digest(plant.versions["lenient"])[:16])


def test_a_bundle_in_force_that_is_damaged_is_replaced(plant: Any, device: Path, evidence: Path) -> None:
    for payload in Manifest.read(device).files.values():
        (device / payload.name).write_bytes(b"damaged")
    rollout = pull(plant.registry, bolt("lenient"), device, recent=Recent(folder=evidence))
    assert rollout.accepted and "the bundle in force cannot be opened" in rollout.sentence()
    Bundle.open(device)


def test_a_manifest_in_force_that_is_damaged_is_replaced(plant: Any, device: Path) -> None:
    (device / FILE).write_bytes((device / FILE).read_bytes()[:-40])
    assert pull(plant.registry, bolt("first"), device).accepted
    assert digest(device) == digest(plant.versions["first"])


def test_a_link_on_the_way_to_a_bundle_stays_one(plant: Any, device: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(device.parent)
    assert pull(plant.registry, bolt("lenient"), tmp_path / "link" / "part.spade").accepted
    assert (tmp_path / "link").is_symlink() and digest(device) == digest(plant.versions["lenient"])


# Signatures


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], PublicKey]:
    def of(name: str) -> PublicKey:
        if not (tmp_path / name).exists():
            new_key(tmp_path / name)
        return PublicKey.read(tmp_path / f"{name}.pub")

    return of


def signed(plant: Any, tmp_path: Path, tag: str, key: str) -> Path:
    bundle = tmp_path / f"{tag}-{key}.spade"
    shutil.copytree(plant.versions[tag], bundle)
    sign(bundle, tmp_path / key)
    plant.push(bundle, f"{tag}-{key}")
    return bundle


def test_a_bundle_that_is_not_signed_is_refused_before_any_other_file_is_fetched(
    plant: Any, tmp_path: Path, recording: Any, keys: Callable[[str], PublicKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, bundle = Rules(keys=(keys("line"),)), tmp_path / "part.spade"
    keys("other")
    signed(plant, tmp_path, "first", "other")
    monkeypatch.setattr(Scorer, "open", lambda *arguments, **options: pytest.fail("it was opened"))
    for tag, fetched in (("first", 1), ("first-other", 2)):
        registry = recording(plant.registry)
        rollout = pull(registry, bolt(tag), bundle, rules=rules)
        assert not rollout.accepted and "expected a signature of the manifest" in rollout.reason
        assert len(registry.fetched) == fetched and PULLING not in rollout.reason
        assert "no bundle is in force" in rollout.sentence()
    assert not bundle.exists() and left_about(tmp_path) == []


def test_a_signed_bundle_is_taken_with_its_signature(
    plant: Any, tmp_path: Path, device: Path, keys: Callable[[str], PublicKey]
) -> None:
    key = keys("line")
    bundle = signed(plant, tmp_path, "lenient", "line")
    rollout = pull(plant.registry, bolt("lenient-line"), device, rules=Rules(keys=(keys("other"), key)))
    assert rollout.accepted
    (signature,) = (bundle / "signatures").iterdir()
    assert (device / "signatures" / signature.name).read_bytes() == signature.read_bytes()


def test_a_signature_that_comes_later_is_taken_too(
    plant: Any, tmp_path: Path, device: Path, keys: Callable[[str], PublicKey]
) -> None:
    keys("line")
    signed(plant, tmp_path, "first", "line")
    before = digest(device)
    rollout = pull(plant.registry, bolt("first-line"), device)
    assert rollout.accepted and not rollout.changed and digest(device) == before
    assert len(list((device / "signatures").iterdir())) == 1 and left_about(device.parent) == []
    assert len(generations(device)) == len(generations(plant.versions["first"]))


def test_a_bundle_in_force_that_is_not_signed_is_not_said_to_be_taken(
    plant: Any, tmp_path: Path, device: Path, keys: Callable[[str], PublicKey]
) -> None:
    rules, before = Rules(keys=(keys("line"),)), digest(device)
    rollout = pull(plant.registry, bolt("first"), device, rules=rules)
    assert not rollout.accepted and "expected a signature of the manifest" in rollout.reason
    assert digest(device) == before and left_about(device.parent) == []
    signed(plant, tmp_path, "first", "line")
    assert pull(plant.registry, bolt("first-line"), device, rules=rules).accepted


def test_a_signature_of_another_manifest_is_none(
    plant: Any, tmp_path: Path, device: Path, keys: Callable[[str], PublicKey]
) -> None:
    """The signature's file is renamed, so that it seems to be that of the bundle."""
    key = keys("line")
    other = signed(plant, tmp_path, "lenient", "line")
    (signature,) = (other / "signatures").iterdir()
    forged = tmp_path / "forged.spade"
    shutil.copytree(plant.versions["strict"], forged)
    (forged / "signatures").mkdir()
    shutil.copy(signature, forged / "signatures" / f"{digest(forged)}-{signature.name.split('-')[1]}")
    plant.push(forged, "forged")
    before = contents(device)
    rollout = pull(plant.registry, bolt("forged"), device, rules=Rules(keys=(key,)))
    assert not rollout.accepted and "is not what the owner of the key signed" in rollout.reason
    assert contents(device) == before


# What this device was taught


def test_what_a_device_was_taught_is_not_lost_unless_it_is_asked_for(
    plant: Any, device: Path, part: Part, tmp_path: Path, recording: Any
) -> None:
    np.save(tmp_path / "shiny.npy", part(40, size=(96, 80)))
    teach_in(device, [tmp_path / "shiny.npy"], reason="shiny, but good", even_so=True)
    before, registry = contents(device), recording(plant.registry)
    rollout = pull(registry, bolt("lenient"), device)
    assert not rollout.accepted and contents(device) == before and registry.fetched == [FILE]
    assert "lacks 1 of them (shiny.npy); push the bundle of this device first" in rollout.reason

    plant.push(device, "taught")  # what the message says
    set_threshold(device, score=9.0, reason="x")
    assert pull(plant.registry, bolt("taught"), device).accepted
    assert pull(plant.registry, bolt("lenient"), device, rules=Rules(even_so=True)).accepted
    undo(device)
    assert "shiny.npy" in Manifest.read(device).names


def test_what_people_have_changed_at_the_device_is_named_when_it_is_replaced(plant: Any, device: Path) -> None:
    set_threshold(device, score=9.0, reason="x")
    rollout = pull(plant.registry, bolt("lenient"), device)
    assert rollout.accepted and any("is replaced (threshold, at last by " in note for note in rollout.notes)
    undo(device)
    assert Manifest.read(device).threshold.score == 9.0
    assert pull(plant.registry, bolt("lenient"), device).accepted
    assert not any("replaced" in note for note in pull(plant.registry, bolt("first"), device).notes)


# The trial


@pytest.fixture
def evidence(pushed: Any, part: Part, tmp_path: Path) -> Path:
    """Frames that the first version has judged on a line: eight, two of them with a flaw."""
    frames = [part(seed, size=(96, 80), flaw=seed % 4 == 3) for seed in range(20, 28)]
    keep(tmp_path / "evidence", pushed.versions["first"], frames)
    return tmp_path / "evidence"


def verdicts(bundle: Path, part: Part) -> list[str]:
    scorer = Scorer.open(bundle)
    return [scorer(part(seed, size=(96, 80), flaw=seed % 4 == 3)).verdict for seed in range(20, 28)]


def test_a_bundle_that_rejects_more_good_frames_is_refused_with_exact_counts(
    plant: Any, device: Path, evidence: Path, part: Part
) -> None:
    old, new = (verdicts(plant.versions[tag], part) for tag in ("first", "strict"))
    good = old.count("good")
    assert good >= 2 and new.count("good") == 0
    before = contents(device)
    rollout = pull(plant.registry, bolt("strict"), device, recent=Recent(folder=evidence))
    assert not rollout.accepted and contents(device) == before and left_about(device.parent) == []
    assert rollout.shadow is not None and rollout.ms is not None
    assert (rollout.shadow.frames, rollout.shadow.good) == (8, good)
    assert (rollout.shadow.newly_rejected, rollout.shadow.newly_passed, rollout.shadow.unread) == (good, 0, 0)
    assert f"of 8 recent frames, it rejects {good} of the {good} good ones and passes 0 of the {8 - good} " in (
        rollout.reason
    )
    judged = {entry.id: entry.decision["verdict"] for entry in entries(evidence)}
    assert len(rollout.shadow.rejected) == good
    assert {judged[id] for id in rollout.shadow.rejected} == {"good"} and rollout.shadow.rejected[0] in rollout.reason
    assert "the bundle in force stays" in rollout.sentence() and rollout.in_force == digest(device)
    assert pull(
        plant.registry, bolt("strict"), device, rules=Rules(most_changes=1.0), recent=Recent(folder=evidence)
    ).accepted


def test_frames_that_newly_pass_are_counted(plant: Any, device: Path, evidence: Path, part: Part) -> None:
    old = verdicts(plant.versions["first"], part)
    rollout = pull(plant.registry, bolt("lenient"), device, recent=Recent(folder=evidence))
    assert rollout.accepted and rollout.shadow is not None
    assert (rollout.shadow.newly_rejected, rollout.shadow.newly_passed) == (0, 8 - old.count("good"))
    assert f"passes {8 - old.count('good')} of the {8 - old.count('good')} others" in rollout.sentence()
    value = rollout.to_json()
    assert json.loads(json.dumps(value)) == value and value["changes"]["newly_passed"] == 8 - old.count("good")


def test_the_newest_frames_of_this_product_are_taken(
    plant: Any, device: Path, evidence: Path, tmp_path: Path, part: Part
) -> None:
    assert _shadow(plant, device, Recent(folder=evidence, most=3)).frames == 3
    assert _shadow(plant, device, Recent(folder=evidence, recipe="bolt")).frames == 8
    assert _shadow(plant, device, Recent(folder=evidence, cameras=("top",))).frames == 8
    for recent in (
        Recent(folder=evidence, recipe="nut"),
        Recent(folder=evidence, cameras=("side",)),
        Recent(folder=_of_another_bundle(plant, tmp_path, part)),
    ):
        rollout = pull(plant.registry, bolt("strict"), _copy(device), recent=recent)
        assert rollout.accepted and "compared on no frames of the line, because" in rollout.sentence()
    assert "because no evidence was named" in pull(plant.registry, bolt("strict"), _copy(device)).sentence()


def _shadow(plant: Any, device: Path, recent: Recent) -> Any:
    rollout = pull(plant.registry, bolt("lenient"), _copy(device), recent=recent)
    assert rollout.shadow is not None
    return rollout.shadow


def _copy(device: Path) -> Path:
    place = device.with_name(f"{len(list(device.parent.iterdir()))}.spade")
    shutil.copytree(device, place)
    return place


def _of_another_bundle(plant: Any, tmp_path: Path, part: Part) -> Path:
    other = tmp_path / "other.spade"
    shutil.copytree(plant.versions["first"], other)
    set_threshold(other, score=1.25, reason="another product")
    keep(tmp_path / "other", other, [part(20, size=(96, 80))])
    return tmp_path / "other"


def test_frames_that_were_altered_or_cannot_be_read_do_not_count(plant: Any, device: Path, evidence: Path) -> None:
    pictures = sorted(evidence.rglob("frame.png"))
    pictures[0].write_bytes(pictures[1].read_bytes())
    pictures[2].write_bytes(b"no picture")
    pictures[3].unlink()
    shadow = _shadow(plant, device, Recent(folder=evidence))
    assert (shadow.frames, shadow.unread) == (5, 2)


def test_a_bundle_that_is_too_slow_is_refused(plant: Any, device: Path, evidence: Path) -> None:
    for recent in (None, Recent(folder=evidence)):
        rollout = pull(plant.registry, bolt("lenient"), device, rules=Rules(deadline_ms=1e-6), recent=recent)
        assert not rollout.accepted and "expected half of the frames within 1e-06 ms" in rollout.reason
    assert pull(plant.registry, bolt("lenient"), device, rules=Rules(deadline_ms=1e9)).accepted


def test_a_machine_that_does_not_reproduce_the_golden_frames_keeps_its_bundle(
    plant: Any, device: Path, tmp_path: Path
) -> None:
    first = plant.versions["first"]
    heatmaps = np.load(first / Manifest.read(first).files["golden_heatmaps"].name)
    plant.push(replaced(first, tmp_path / "x.spade", "golden_heatmaps", 2 * heatmaps), "elsewhere")
    before = contents(device)
    rollout = pull(plant.registry, bolt("elsewhere"), device)
    assert not rollout.accepted and rollout.reason.startswith("golden frame 1: expected what the machine")
    assert contents(device) == before and left_about(device.parent) == []


def test_a_bundle_that_does_not_open_is_refused(plant: Any, device: Path, tmp_path: Path) -> None:
    first = plant.versions["first"]
    squares = np.load(first / Manifest.read(first).files["squares"].name)
    plant.push(replaced(first, tmp_path / "x.spade", "squares", squares[:-1]), "cut")
    before = contents(device)
    rollout = pull(plant.registry, bolt("cut"), device)
    assert not rollout.accepted and rollout.reason.startswith("bolt:cut/squares-") and contents(device) == before


# Interrupted


@pytest.fixture(scope="module")
def _quick_disk() -> Iterator[None]:
    """Flushing takes most of the time, and no power is cut here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.mark.parametrize("anew", [True, False], ids=["anew", "again"])
@pytest.mark.parametrize(
    ("error", "only"),
    [(Killed, None), (errno.ENOSPC, SPACE)],
    ids=["killed", "full"],
)
@pytest.mark.usefixtures("_quick_disk")
def test_whatever_stops_it_the_old_or_the_new_bundle_is_whole_and_the_next_try_ends_well(
    anew: bool, error: type[Killed] | int, only: frozenset[str] | None, plant: Any, tmp_path: Path
) -> None:
    _stop(plant, tmp_path, anew=anew, error=error, only=only, tries=4)


EVERY = "SPADE_EDGE_EVERY_OPERATION"  # as in tests/unlucky


@pytest.mark.slow
@pytest.mark.parametrize("anew", [True, False], ids=["anew", "again"])
@pytest.mark.parametrize(("error", "only"), [(Killed, None), (errno.ENOSPC, SPACE)], ids=["killed", "full"])
@pytest.mark.usefixtures("_quick_disk")
def test_at_many_operations(
    anew: bool, error: type[Killed] | int, only: frozenset[str] | None, plant: Any, tmp_path: Path
) -> None:
    _stop(plant, tmp_path, anew=anew, error=error, only=only, tries=None if EVERY in os.environ else 30)


def _stop(
    plant: Any, tmp_path: Path, *, anew: bool, error: type[Killed] | int, only: frozenset[str] | None, tries: int | None
) -> None:
    def place(number: int) -> Path:
        folder = tmp_path / str(number)
        folder.mkdir()
        if not anew:
            shutil.copytree(plant.versions["first"], folder / "part.spade")
        return folder

    folder = place(0)
    with stopping(folder, at=1 << 30, error=error, only=only) as shim:
        assert pull(plant.registry, bolt("lenient"), folder / "part.spade").accepted
    total, wanted = shim.count, digest(plant.versions["lenient"])
    assert total >= 10
    numbers = range(1, total + 1) if tries is None else np.unique(np.linspace(1, total, tries).round().astype(int))
    for at in map(int, numbers):
        folder = place(at)
        bundle, where = folder / "part.spade", f"stopped at operation {at} of {total}"
        try:
            with stopping(folder, at=at, error=error, only=only):
                rollout: Rollout | None = pull(plant.registry, bolt("lenient"), bundle)
        except (Killed, SpadeError) as problem:
            assert error is Killed or isinstance(problem, DataError), where
            rollout = None
        if (bundle / FILE).exists():
            Bundle.open(bundle)
            assert digest(bundle) in (wanted, digest(plant.versions["first"])), where
        else:
            assert anew and not bundle.exists(), where
        if rollout is not None:  # what failed was no more than clearing up
            assert rollout.accepted and digest(bundle) == wanted, where
        assert pull(plant.registry, bolt("lenient"), bundle).accepted, where
        assert digest(bundle) == wanted, where
        Bundle.open(bundle)
        set_threshold(bundle, score=11.0, reason="after")
        assert left_about(folder) == [], where
        names = {path.name for path in bundle.iterdir() if NAME.fullmatch(path.name)}
        assert names == set().union(*(payload_of(one.path.read_bytes()) or () for one in kept_manifests(bundle))), where
        shutil.rmtree(folder)


def test_a_disk_that_cannot_be_written_is_said_in_one_line(plant: Any, device: Path) -> None:
    before = contents(device)
    with pytest.raises(DataError, match="expected a place that can be written") as caught:  # noqa: SIM117
        with stopping(device.parent, at=1, error=errno.EROFS):
            pull(plant.registry, bolt("lenient"), device)
    assert "\n" not in str(caught.value) and contents(device) == before


def test_what_has_arrived_is_not_fetched_again(plant: Any, tmp_path: Path, recording: Any) -> None:
    bundle, lost = tmp_path / "new" / "part.spade", UnreachableError("the registry is gone")
    fetched: list[str] = []
    for most in (0, 3, 5, 1 << 30):
        registry = recording(plant.registry, most=most, error=lost)
        try:
            pull(registry, bolt("first"), bundle)
        except UnreachableError:
            assert not bundle.exists()
        fetched += registry.fetched
    manifest = Manifest.read(bundle)
    assert sorted(fetched) == sorted([FILE, *(payload.name for payload in manifest.files.values())])
    assert left_about(tmp_path / "new") == []


def test_what_has_arrived_of_another_bundle_is_removed_and_what_is_damaged_is_fetched_anew(
    plant: Any, tmp_path: Path, recording: Any
) -> None:
    bundle = tmp_path / "new" / "part.spade"
    registry = recording(plant.registry, most=6, error=UnreachableError("gone"))
    with pytest.raises(UnreachableError):
        pull(registry, bolt("strict"), bundle)
    (side,) = (tmp_path / "new").iterdir()
    damaged = next(path for path in side.iterdir() if NAME.fullmatch(path.name))
    damaged.write_bytes(bytes(damaged.stat().st_size))
    (side / "model-0000000000000000.onnx").write_bytes(b"of another bundle")
    (side / "sub").mkdir()
    (side / "sub" / "x").write_bytes(b"x")
    (side / "link").symlink_to("/etc/passwd")
    again = recording(plant.registry, most=1, error=UnreachableError("gone"))
    with pytest.raises(UnreachableError):
        pull(again, bolt("first"), bundle)
    left = {path.name for path in side.iterdir()} - {FILE, "lock"}
    assert left <= {payload.name for payload in Manifest.read(plant.versions["first"]).files.values()}
    last = recording(plant.registry)
    assert pull(last, bolt("first"), bundle).accepted and damaged.name in last.fetched
    Bundle.open(bundle)


def test_a_bundle_that_is_changed_during_the_trial_is_left_as_it_was_changed(
    plant: Any, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = pulling.trial

    def changed(*arguments: Any, **options: Any) -> Any:
        set_threshold(device, score=4.0, reason="by the foreman, meanwhile")
        return trial(*arguments, **options)

    monkeypatch.setattr(pulling, "trial", changed)
    with pytest.raises(DataError, match="changed meanwhile"):
        pull(plant.registry, bolt("lenient"), device)
    assert Manifest.read(device).threshold.score == 4.0
    monkeypatch.setattr(pulling, "trial", trial)
    assert pull(plant.registry, bolt("lenient"), device).accepted


def test_two_at_once_do_not_disturb_each_other(plant: Any, device: Path) -> None:
    with arriving(device), pytest.raises(DataError, match="being pulled; wait"):
        pull(plant.registry, bolt("lenient"), device)
    assert pull(plant.registry, bolt("lenient"), device).accepted


def test_what_another_pull_fetches_as_soon_as_this_one_has_ended_stays(
    plant: Any, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_use = arrival.in_use

    @contextmanager
    def followed(folder: Path) -> Iterator[None]:
        with in_use(folder):
            yield
        folder.mkdir(exist_ok=True)
        (folder / FILE).write_bytes(b"of another pull")

    monkeypatch.setattr(arrival, "in_use", followed)
    assert pull(plant.registry, bolt("lenient"), device).accepted
    assert (device / PULLING / FILE).read_bytes() == b"of another pull"


def test_too_little_space_is_said_before_anything_large_is_fetched(
    plant: Any, tmp_path: Path, recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    registry = recording(plant.registry)
    with pytest.raises(
        DataError, match=r"expected [\d.]+ MB of free disk space for .*bolt:first, found 0 MB; free some"
    ):
        pull(registry, bolt("first"), tmp_path / "part.spade")
    assert registry.fetched == [FILE]


def test_what_is_no_bundle_is_not_touched(plant: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="expected a bundle or an empty folder"):
        pull(plant.registry, bolt("first"), tmp_path / "mine")
    assert contents(tmp_path / "mine") == {"letter.txt": b"dear"}
    with pytest.raises(DataError, match="expected a folder with evidence"):
        pull(plant.registry, bolt("first"), tmp_path / "part.spade", recent=Recent(folder=tmp_path / "none"))


# Registries that lie


def _forged(plant: Any, tag: str, change: Callable[[Artifact], Sequence[Blob]]) -> None:
    """Push the lenient version with other layers."""
    registry = plant.registry
    artifact = artifact_of(registry, bolt("lenient"))
    raw = replace(artifact, layers=tuple(change(artifact))).to_bytes()
    registry.put_manifest("bolt", raw)
    registry.put_tag("bolt", tag, raw)


EXTRA = b"#!/bin/sh\n"


@pytest.mark.parametrize(
    "title",
    [
        "../../outside", "/etc/outside", "signatures/../../outside", "log.jsonl", "history/0001-0123456789abcdef.json",
        "lock", "model.onnx", "signatures/x.json", "signatures/" + "a" * 64 + "-0123456789abcdef.json", ".",
        "manifest.json\0", "CON", "C:\\x", "model-0123456789abcdef.onnx",
    ],
)  # fmt: skip
def test_a_file_that_belongs_in_no_bundle_is_refused(title: str, plant: Any, device: Path, tmp_path: Path) -> None:
    extra = Blob.of(EXTRA, media="x", title=title)
    plant.registry.put("bolt", extra, EXTRA)
    _forged(plant, "forged", lambda artifact: (*artifact.layers, extra))
    before = contents(tmp_path / "device")
    with pytest.raises(DataError, match="expected") as caught:
        pull(plant.registry, bolt("forged"), device)
    assert "\n" not in str(caught.value)
    assert {name: raw for name, raw in contents(tmp_path / "device").items() if PULLING not in name} == before
    assert not list(tmp_path.rglob("outside*"))


def test_files_that_are_missing_or_others_are_refused(plant: Any, device: Path) -> None:
    for number, change in enumerate(
        (
            lambda artifact: artifact.layers[:-1],
            lambda artifact: (*artifact.layers[:-1], replace(artifact.layers[-1], size=artifact.layers[-1].size + 1)),
            lambda artifact: (*artifact.layers[:-1], replace(artifact.layers[-1], sha256="0" * 64)),
            lambda artifact: (replace(artifact.layers[0], size=artifact.layers[0].size - 1), *artifact.layers[1:]),
            lambda artifact: (replace(artifact.layers[0], size=1 << 39), *artifact.layers[1:]),
            lambda artifact: (replace(artifact.layers[0], sha256="0" * 64), *artifact.layers[1:]),
            lambda artifact: (
                *artifact.layers,
                *(replace(artifact.layers[-1], title=f"signatures/{artifact.bundle}-{i:016x}.json") for i in range(33)),
            ),
        )
    ):
        _forged(plant, f"forged{number}", change)
        before = digest(device)
        with pytest.raises(DataError, match="expected") as caught:
            pull(plant.registry, bolt(f"forged{number}"), device)
        assert "\n" not in str(caught.value) and digest(device) == before
        Bundle.open(device)


def test_a_file_with_other_bytes_is_refused_and_kept_from_every_reader(plant: Any, tmp_path: Path) -> None:
    model = Manifest.read(plant.versions["first"]).files["model"]
    blob = Path(plant.address) / "blobs" / "sha256" / model.sha256
    whole = blob.read_bytes()
    for raw in (whole[:-1] + b"x", whole[:-1], whole + b"x", b""):
        blob.write_bytes(raw)
        with pytest.raises(DataError, match="expected"):
            pull(plant.registry, bolt("first"), tmp_path / "part.spade")
        assert not list(tmp_path.rglob(f"{PULLING}*/{model.name}")) and not (tmp_path / "part.spade").exists()
    blob.write_bytes(whole)
    assert pull(plant.registry, bolt("first"), tmp_path / "part.spade").accepted


def test_a_manifest_that_is_none_is_refused(plant: Any, device: Path) -> None:
    for number, raw in enumerate((b"", b"{}", b"[" * 50_000, b'{"schema": 99}')):
        first = Blob.of(raw, media="application/json", title=FILE)
        plant.registry.put("bolt", first, raw)
        _forged(plant, f"none{number}", lambda artifact, first=first: (first, *artifact.layers[1:]))
        before = contents(device)
        rollout = pull(plant.registry, bolt(f"none{number}"), device)
        assert not rollout.accepted and "manifest.json: expected" in rollout.reason
        assert contents(device) == before


def test_a_bundle_of_a_newer_spade_edge_is_named(plant: Any, device: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.spade"
    shutil.copytree(plant.versions["first"], newer)
    raw = (newer / FILE).read_text(encoding="utf-8").replace('"schema": 9', '"schema": 10')
    (newer / FILE).write_text(raw, encoding="utf-8")
    with pytest.raises(BundleError):
        push(newer, plant.registry, bolt("newer"))
    first = Blob.of(raw.encode(), media="application/json", title=FILE)
    plant.registry.put("bolt", first, raw.encode())
    _forged(plant, "newer", lambda artifact: (first, *artifact.layers[1:]))
    assert "update this machine's spade-edge" in pull(plant.registry, bolt("newer"), device).reason
