"""Building a plan: once, in place, and not at all if it is there."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fleet_tasks import Here

from spade_edge.galleries import BuildOptions, build, pack, set_threshold, undo
from spade_edge.galleries.generation_log import read_log
from spade_edge.runtime import DataError, Scorer, UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.fleet import sharding
from spade_edge.tools.fleet.building import Row, build_fleet, survey
from spade_edge.tools.fleet.executors import Processes
from spade_edge.tools.fleet.plan import BundlePlan, FleetPlan
from spade_edge.tools.fleet.scratch import scratch
from spade_edge.tools.fleet.tasks import REMARKS

Planned = Callable[..., FleetPlan]
BOLT, NUT = BuildOptions(place="free"), BuildOptions(place="free", area=9.0)


def run(plan: FleetPlan, here: Here | None = None, only: tuple[str, ...] = ()) -> dict[str, Row]:
    here = here or Here()
    return {row.name: row for row in build_fleet(plan, lambda: here, only=only)}


def states(rows: dict[str, Row]) -> dict[str, str]:
    return {name: row.state for name, row in rows.items()}


def tar(bundle: Path, folder: Path) -> bytes:
    return pack(bundle, folder / f"{bundle.parent.name}.tar").path.read_bytes()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_there_is_not_done_again(planned: Planned, tmp_path: Path, images: Path) -> None:
    plan, here = planned(bolt=BOLT, nut=NUT), Here()
    assert {row.name: row.state for row in survey(plan)} == {"bolt": "to be built", "nut": "to be built"}
    assert not (tmp_path / "cache").exists() and not (tmp_path / "out").exists()
    assert states(run(plan, here)) == {"bolt": "built", "nut": "built"}
    assert here.closed and sorted(here.ran) == ["bolt", "nut"]
    before = contents(tmp_path / "out")
    assert states(run(plan, here)) == {"bolt": "unchanged", "nut": "unchanged"}
    assert contents(tmp_path / "out") == before
    # Elsewhere, on another day, from a copy of the images with other times: the same work.
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in images.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    moved = replace(planned(output="elsewhere", bolt=BOLT), bundles=(replace(plan.bundles[0], images=str(copy)),))
    assert states(run(moved, here)) == {"bolt": "from the cache"}
    assert len(here.ran) == 2
    assert tar(tmp_path / "elsewhere" / "bolt.spade", tmp_path) == tar(tmp_path / "out" / "bolt.spade", tmp_path)
    assert Scorer.open(tmp_path / "elsewhere" / "bolt.spade")(np.load(copy / "0.npy")).verdict == "good"


def test_the_same_work_under_two_names_is_done_once(planned: Planned) -> None:
    here = Here()
    assert states(run(planned(a=BOLT, b=replace(BOLT, threads=1)), here)) == {"a": "built", "b": "built"}
    assert here.ran == ["a"]


def test_a_changed_image_makes_a_new_generation(planned: Planned, tmp_path: Path, images: Path) -> None:
    plan = planned(bolt=BOLT)
    first = run(plan)["bolt"]
    image = np.load(images / "3.npy")
    np.save(images / "3.npy", image // 2 + 20)
    second = run(plan)["bolt"]
    assert second.state == "built" and second.key != first.key and second.manifest != first.manifest
    assert [line.verb for line in read_log(tmp_path / "out" / "bolt.spade").lines] == ["unpack", "unpack"]
    assert f"bolt-{second.key[:16]}" in read_log(tmp_path / "out" / "bolt.spade").lines[-1].reason
    np.save(images / "3.npy", image)  # and back, which is known
    third = run(plan, None)["bolt"]
    assert (third.state, third.manifest) == ("from the cache", first.manifest)


def test_the_bundle_is_the_one_that_build_makes(planned: Planned, tmp_path: Path, images: Path, model: Path) -> None:
    run(planned(bolt=BOLT))
    newest = "2026-09-21T14:13:25+00:00"  # the time of 5.npy, the youngest
    built = build(images, model=model, output=tmp_path / "own.spade", options=replace(BOLT, created=newest))
    assert tar(tmp_path / "out" / "bolt.spade", tmp_path) == tar(built.path, tmp_path)
    assert Manifest.read(built.path).created == newest


def test_processes_and_shards_make_the_same_bytes(planned: Planned, tmp_path: Path) -> None:
    run(planned(bolt=BOLT))
    whole = tar(tmp_path / "out" / "bolt.spade", tmp_path)
    processes = planned(output="processes", cache="second", bolt=BOLT)
    assert [row.state for row in build_fleet(processes, lambda: Processes(2))] == ["built"]
    assert tar(tmp_path / "processes" / "bolt.spade", tmp_path) == whole
    here = Here()
    shards = planned(output="shards", cache="third", shards=4, bolt=BOLT)
    assert states(run(shards, here)) == {"bolt": "built"}
    assert here.ran == [f"part {number} of 4" for number in (1, 2, 3, 4)]
    assert tar(tmp_path / "shards" / "bolt.spade", tmp_path) == whole
    again = run(shards, here)["bolt"]
    assert again.state == "unchanged" and len(again.facts["parts"]) == 4
    # Of the parts, nothing is left: the bundle and the model.
    assert len(list((tmp_path / "third" / "content").iterdir())) == 2
    assert not list((tmp_path / "third" / "results" / "shards").iterdir())


def test_more_shards_than_images(planned: Planned) -> None:
    here = Here()
    assert states(run(planned(shards=50, bolt=BOLT), here)) == {"bolt": "built"}
    assert len(here.ran) == 6


def test_an_interrupted_build_in_shards_goes_on_where_it_stopped(planned: Planned, tmp_path: Path) -> None:
    class Interrupted(Here):
        def outcomes(self, tasks):  # type: ignore[no-untyped-def]
            for number, outcome in enumerate(super().outcomes(tasks)):
                yield outcome
                if number == 1:
                    raise KeyboardInterrupt

    plan, first, second = planned(shards=3, bolt=BOLT), Interrupted(), Here()
    with pytest.raises(KeyboardInterrupt):
        build_fleet(plan, lambda: first)
    assert first.closed and first.ran == ["part 1 of 3", "part 2 of 3"]
    assert list((tmp_path / "out").iterdir()) == []  # no bundle, and nothing that was needed meanwhile
    assert states(run(plan, second)) == {"bolt": "built"}
    assert second.ran == ["part 3 of 3"]


def test_a_part_that_is_damaged_or_removed_meanwhile_is_made_again(
    planned: Planned, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "cache" / "content"

    class Spoiling(Here):
        """Damages the first part, and takes the second one away, after all are made."""

        def outcomes(self, tasks):  # type: ignore[no-untyped-def]
            outcomes = list(super().outcomes(tasks))
            if len(outcomes) == 3:
                damaged, gone, _ = (store / outcome.result["content"]["sha256"] for outcome in outcomes)
                damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0" + b"\0")
                gone.unlink()
            yield from outcomes

    here = Spoiling()
    assert states(run(planned(shards=3, bolt=BOLT), here)) == {"bolt": "built"}
    assert here.ran[3:] == ["part 1 of 3", "part 2 of 3"]
    assert sum("it is made anew" in record.getMessage() for record in caplog.records) == 2
    run(planned(output="whole", cache="other", bolt=BOLT))
    assert tar(tmp_path / "out" / "bolt.spade", tmp_path) == tar(tmp_path / "whole" / "bolt.spade", tmp_path)


def test_two_builders_of_one_gallery_do_not_take_the_parts_from_each_other(planned: Planned, tmp_path: Path) -> None:
    store = tmp_path / "cache" / "content"

    class Robbed(Here):
        """The other one is done, and forgets its parts, when this one begins its second."""

        def outcomes(self, tasks):  # type: ignore[no-untyped-def]
            for task in tasks:
                if self.ran == ["part 1 of 3"]:
                    for what in ("views", "coding"):
                        (store / task.arguments[what]["sha256"]).unlink()
                yield from super().outcomes([task])

    here = Robbed()
    assert states(run(planned(shards=3, bolt=BOLT), here)) == {"bolt": "built"}
    assert here.ran == ["part 1 of 3", "part 2 of 3", "part 3 of 3", "part 2 of 3", "part 3 of 3"]
    run(planned(output="whole", cache="other", bolt=BOLT))
    assert tar(tmp_path / "out" / "bolt.spade", tmp_path) == tar(tmp_path / "whole" / "bolt.spade", tmp_path)


@pytest.mark.parametrize("shards", [1, 2])
def test_folders_may_have_any_name(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    odd = tmp_path / "c++ [a (b"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    assert states(run(planned(output="c++ [a (b/out", shards=shards, bolt=BOLT), Here())) == {"bolt": "built"}


def test_not_every_remark_of_thousands_is_kept(planned: Planned, images: Path) -> None:
    for number in range(REMARKS + 2):
        (images / f"broken-{number}.png").write_bytes(b"x")
    remarks = run(planned(bolt=replace(BOLT, skip_bad=True)))["bolt"].facts["remarks"]
    assert len(remarks) == REMARKS + 1 and remarks[-1].endswith(" more remarks like these")


def test_a_part_that_is_always_removed_ends_in_one_line(planned: Planned, tmp_path: Path) -> None:
    class Emptying(Here):
        def outcomes(self, tasks):  # type: ignore[no-untyped-def]
            for outcome in list(super().outcomes(tasks)):
                (tmp_path / "cache" / "content" / outcome.result["content"]["sha256"]).unlink(missing_ok=True)
                yield outcome

    row = run(planned(shards=2, bolt=BOLT), Emptying())["bolt"]
    assert row.state == "failed" and row.message.endswith(
        "is the cache being emptied, or do workers have another one? Run this again"
    )
    assert "\n" not in row.message
    assert sharding.TRIES == 3


@pytest.mark.parametrize("what", ["cut", "gone", "result", "nonsense"])
def test_a_damaged_entry_of_the_cache_is_named_and_made_anew(
    planned: Planned, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    plan = planned(bolt=BOLT)
    row = run(plan)["bolt"]
    result = tmp_path / "cache" / "results" / "bundles" / f"{row.key}.json"
    content = tmp_path / "cache" / "content" / json.loads(result.read_bytes())["content"]["sha256"]
    raw = content.read_bytes()
    if what == "cut":
        content.write_bytes(raw[:9000] + b"!" + raw[9001:-512])
    elif what == "gone":
        content.unlink()
    else:
        result.write_bytes(
            {
                "result": b'{"content": {"sha256": "../../x", "size": 1}, "facts": {}}',
                "nonsense": b"\xff[",
            }[what]
        )
    here = Here()
    again = run(replace(plan, output=tmp_path / "again"), here)["bolt"]
    assert (again.state, again.manifest, here.ran) == ("built", row.manifest, ["bolt"])
    assert any(str(tmp_path / "cache") in record.getMessage() for record in caplog.records)
    assert content.read_bytes() == raw
    assert states(run(replace(plan, output=tmp_path / "third"), here)) == {"bolt": "from the cache"}


def test_what_fails_does_not_stop_the_others(planned: Planned, tmp_path: Path, images: Path, model: Path) -> None:
    spoilt = tmp_path / "spoilt"
    spoilt.mkdir()
    for path in images.iterdir():
        (spoilt / path.name).write_bytes(path.read_bytes())
    (spoilt / "2.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "out" / "taken.spade").mkdir(parents=True)
    (tmp_path / "out" / "taken.spade" / "notes.txt").write_text("mine")
    plan = planned(bolt=BOLT, taken=BOLT)
    plan = replace(
        plan,
        bundles=(
            BundlePlan("gone", str(tmp_path / "nothing"), str(model)),
            BundlePlan("spoilt", str(spoilt), str(model)),
            BundlePlan("modelless", str(images), str(tmp_path / "no.onnx")),
            *plan.bundles,
        ),
    )
    rows = run(plan)
    assert states(rows) == {
        "gone": "failed", "spoilt": "failed", "modelless": "failed", "bolt": "built", "taken": "failed",
    }  # fmt: skip
    assert rows["spoilt"].message.startswith(f"{spoilt}/2.npy: expected ") or str(spoilt) in rows["spoilt"].message
    assert all("\n" not in row.message and ".spade-edge-fleet" not in row.message for row in rows.values())
    assert (tmp_path / "out" / "taken.spade" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "out" / "bolt.spade" / "manifest.json").exists()


def test_changes_by_hand_are_left_alone_until_the_images_change(planned: Planned, tmp_path: Path, images: Path) -> None:
    plan, bundle = planned(bolt=BOLT), tmp_path / "out" / "bolt.spade"
    run(plan)
    set_threshold(bundle, rate=0.2, reason="fewer misses")
    before = contents(bundle)
    row = run(plan)["bolt"]
    assert row.state == "changed by hand" and row.there
    assert re.match(r"threshold, at last by .+ on \d{4}-\d\d-\d\d; it stays as it is", row.message)
    assert contents(bundle) == before
    np.save(images / "9.npy", np.load(images / "5.npy") // 2 + 9)
    row = run(plan)["bolt"]
    assert row.state == "built" and row.message.startswith("replaces what was changed by hand (threshold, at last by ")
    undo(bundle, reason="")
    assert run(plan)["bolt"].state == "changed by hand"


def test_only_some_bundles(planned: Planned, tmp_path: Path) -> None:
    plan = planned(bolt=BOLT, nut=NUT)
    assert states(run(plan, only=("nut",))) == {"nut": "built"}
    assert not (tmp_path / "out" / "bolt.spade").exists()
    with pytest.raises(UsageError, match=r"expected names of bundles \(bolt, nut\), found 'screw'"):
        run(plan, only=("nut", "screw"))


def test_a_cache_that_cannot_be_written_is_said_before_the_work(planned: Planned, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    here = Here()
    with pytest.raises(DataError, match="cache"):
        run(planned(bolt=BOLT), here)
    assert here.ran == []


def test_an_image_that_changes_between_planning_and_building_is_refused(
    planned: Planned, tmp_path: Path, images: Path
) -> None:
    class Late(Here):
        def outcomes(self, tasks):  # type: ignore[no-untyped-def]
            (images / "4.npy").write_bytes((images / "1.npy").read_bytes())
            yield from super().outcomes(tasks)

    row = run(planned(bolt=BOLT), Late())["bolt"]
    assert row.state == "failed" and "4.npy" in row.message and "it has been changed" in row.message
    assert not (tmp_path / "cache" / "results").exists()


def test_other_software_on_a_worker_is_refused(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    from spade_edge.tools.fleet import tasks

    monkeypatch.setattr(tasks, "software", lambda: {"onnxruntime": "0.1"})
    row = run(planned(bolt=BOLT))["bolt"]
    assert row.state == "failed" and "install the same versions on every worker" in row.message


@pytest.mark.parametrize("shards", [1, 2])
def test_a_worker_that_has_another_cache_says_so(planned: Planned, tmp_path: Path, shards: int) -> None:
    class Elsewhere(Here):
        def outcomes(self, tasks):  # type: ignore[no-untyped-def]
            for task in tasks:
                arguments = task.arguments | {"cache": str(tmp_path / "of the worker")}
                yield from super().outcomes([replace(task, arguments=arguments)])

    row = run(planned(shards=shards, bolt=BOLT), Elsewhere())["bolt"]
    said = (
        "every worker must reach the same cache under this address" if shards == 1 else "do workers have another one?"
    )
    assert row.state == "failed" and said in row.message


def test_many_may_begin_at_once_in_one_folder(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for _ in range(20):
            with scratch(tmp_path) as folder:
                (folder / "mine").write_text(str(number))
                assert (folder / "mine").read_text() == str(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert not list(tmp_path.glob(".*"))


def test_a_killed_build_leaves_nothing_that_stays(planned: Planned, tmp_path: Path) -> None:
    left = tmp_path / "out" / ".spade-edge-fleet-abandoned"
    left.mkdir(parents=True)
    (left / "views").write_bytes(bytes(10))
    run(planned(bolt=BOLT))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bolt.spade"]
