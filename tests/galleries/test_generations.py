"""Generations: the log, going back, differences, and deleting."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spade_edge.galleries import (
    BuildOptions,
    Built,
    back_to,
    build,
    difference,
    exclude,
    generations,
    prune,
    set_threshold,
    undo,
)
from spade_edge.galleries.generation_log import LOG, Change, changing, read_log
from spade_edge.galleries.staging import replace_manifest, staging
from spade_edge.runtime import BundleError, DataError, Scorer, UsageError
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, textures: Path) -> Path:
    """A bundle of three generations: built, an image excluded, the threshold changed."""
    path = tmp_path_factory.mktemp("three") / "part.spade"
    build(textures, model=tiny_model, output=path, options=BuildOptions(place="free"))
    exclude(path, ["1.npy"], reason="scratched")
    set_threshold(path, score=7.0, reason="a wish")
    return path


@pytest.fixture
def bundle(three: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(three, tmp_path / "part.spade"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewritten(bundle: Path, alter: Callable[[list[bytes]], list[bytes]]) -> None:
    path = bundle / LOG
    path.write_bytes(b"".join(alter(path.read_bytes().splitlines(keepends=True))))


def test_each_line_holds_the_hash_of_the_line_before(bundle: Path) -> None:
    lines = (bundle / LOG).read_bytes().split(b"\n")
    assert lines.pop() == b"" and len(lines) == 3
    previous = "0" * 64
    for number, raw in enumerate(lines, 1):
        line = json.loads(raw)
        assert line["previous"] == previous and line["generation"] == number
        kept = bundle / HISTORY / f"{number:04d}-{line['manifest'][:16]}.json"
        assert digest(kept) == line["manifest"]
        assert line["threshold"] == json.loads(kept.read_bytes())["threshold"]["score"]
        previous = hashlib.sha256(raw).hexdigest()
    found = [json.loads(raw) for raw in lines]
    assert [line["verb"] for line in found] == ["build", "exclude", "threshold"]
    assert [line["why"] for line in found] == ["", "scratched", "a wish"]
    assert [line["from"] for line in found] == [None, 1, 2] and found[1]["names"] == ["1.npy"]
    assert found[2]["former_threshold"] == found[1]["threshold"]
    assert digest(bundle / FILE) == found[2]["manifest"]


@pytest.mark.parametrize(
    "alter",
    [
        lambda lines: [lines[0].replace(b'"build"', b'"guild"'), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [*lines, lines[2]],
        lambda lines: [*lines, b"\n"],
        lambda lines: [*lines, b"{}\n"],
        lambda lines: [*lines, b"\x00\xff\n"],
        lambda lines: [*lines, b"[" * 100_000 + b"\n"],
        lambda lines: [*lines, b" " * (5 << 20) + b"\n"],
        lambda lines: [b"x\n" * (9 << 20)],
    ],
)
def test_a_log_that_was_altered_is_refused(bundle: Path, alter: Callable[[list[bytes]], list[bytes]]) -> None:
    rewritten(bundle, alter)
    before = contents(bundle)
    for verb in (generations, undo, prune, lambda path: set_threshold(path, score=1.0, reason="x")):
        with pytest.raises(BundleError, match=r"log\.jsonl"):
            verb(bundle)
    assert contents(bundle) == before
    Scorer.open(bundle)  # a device that scores does not read it


def test_a_log_that_is_no_file_is_refused(bundle: Path) -> None:
    (bundle / LOG).unlink()
    os.mkfifo(bundle / LOG)
    for verb in (generations, undo):
        with pytest.raises(BundleError, match=r"log\.jsonl: expected a file"):
            verb(bundle)


def test_a_line_that_was_not_finished_is_overwritten(bundle: Path) -> None:
    whole = (bundle / LOG).read_bytes()
    (bundle / LOG).write_bytes(whole + b'{"generation": 4, "man')
    assert [one.number for one in generations(bundle)] == [1, 2, 3]
    set_threshold(bundle, score=8.0, reason="x")
    assert (bundle / LOG).read_bytes().startswith(whole + b'{"generation": 4, "manifest"')
    assert [one.number for one in generations(bundle)] == [1, 2, 3, 4]


def test_undo_goes_further_back_each_time_and_gives_the_same_bytes(bundle: Path) -> None:
    manifests = {int(path.name[:4]): path.read_bytes() for path in (bundle / HISTORY).iterdir()}
    assert undo(bundle, reason="a mistake", who="anna").number == 2 and (bundle / FILE).read_bytes() == manifests[2]
    assert undo(bundle).number == 1 and (bundle / FILE).read_bytes() == manifests[1]
    before = contents(bundle)
    with pytest.raises(UsageError, match="1 is the first"):
        undo(bundle)
    assert contents(bundle) == before
    assert back_to(bundle, 3).number == 3 and (bundle / FILE).read_bytes() == manifests[3]
    lines = generations(bundle)
    assert [(one.number, one.verb, one.came_from) for one in lines[3:]] == [
        (2, "undo", 3),
        (1, "undo", 2),
        (3, "back-to", 1),
    ]
    assert (lines[3].reason, lines[3].who) == ("a mistake", "anna")
    assert [one.in_force for one in lines] == [False] * 5 + [True]
    # A change after going back is made from the generation in force.
    back_to(bundle, 1)
    set_threshold(bundle, score=3.0, reason="x")
    assert [(one.number, one.came_from) for one in generations(bundle)][-1] == (4, 1) and undo(bundle).number == 1


@pytest.mark.parametrize("number", [0, 3, 4, 10**9])
def test_back_to_what_is_not_there_or_in_force(bundle: Path, number: int) -> None:
    before = contents(bundle)
    with pytest.raises(UsageError):
        back_to(bundle, number)
    assert contents(bundle) == before


@pytest.mark.parametrize("how", ["missing", "shorter", "altered", "manifest"])
def test_a_generation_that_is_not_whole_does_not_come_into_force(bundle: Path, how: str) -> None:
    needed = Manifest.from_text(next((bundle / HISTORY).glob("0001-*")).read_bytes()).files["baseline"].name
    path = next((bundle / HISTORY).glob("0001-*")) if how == "manifest" else bundle / needed
    raw = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "manifest":
        path.write_bytes(raw + b" ")  # says the same
    else:
        path.write_bytes(raw[:-1] if how == "shorter" else raw[:-2] + b"\n ")
    in_force = (bundle / FILE).read_bytes()
    with pytest.raises(BundleError, match=path.name):
        back_to(bundle, 1)
    assert (bundle / FILE).read_bytes() == in_force and len(generations(bundle)) == 3


def test_a_bundle_that_is_older_than_its_log(bundle: Path) -> None:
    """Then the history held the former manifests only, and the one in force was not in it."""
    (bundle / LOG).unlink()
    next((bundle / HISTORY).glob("0003-*")).unlink()
    before = contents(bundle)
    shown = generations(bundle)
    assert [(one.number, one.verb, one.in_force, one.kept) for one in shown] == [
        (1, "found", False, True),
        (2, "found", False, True),
        (3, "found", True, True),
    ]
    assert contents(bundle) == before
    assert difference(2, 3, bundle=bundle) == difference(2, bundle=bundle)
    set_threshold(bundle, score=8.0, reason="x")
    assert [one.manifest for one in generations(bundle)][:3] == [one.manifest for one in shown]
    assert undo(bundle).number == 3 and (bundle / FILE).read_bytes() == before[FILE]
    assert undo(bundle).number == 2


def test_a_manifest_that_was_replaced_by_hand_is_found(bundle: Path) -> None:
    shutil.copyfile(next((bundle / HISTORY).glob("0001-*")), bundle / FILE)
    assert [(one.number, one.in_force) for one in generations(bundle)][-1] == (1, True)
    other = json.loads((bundle / FILE).read_bytes())
    other["threshold"]["reason"] = "by hand"
    (bundle / FILE).write_text(json.dumps(other))
    by_hand = (bundle / FILE).read_bytes()
    set_threshold(bundle, score=8.0, reason="x")
    assert [(one.number, one.verb) for one in generations(bundle)][3:] == [(4, "found"), (5, "threshold")]
    assert undo(bundle).number == 4 and (bundle / FILE).read_bytes() == by_hand


@pytest.mark.parametrize("damage", ["{", "", None])
def test_a_damaged_manifest_is_put_right(bundle: Path, damage: str | None) -> None:
    whole = (bundle / FILE).read_bytes()
    if damage is None:
        (bundle / FILE).unlink()
    else:
        (bundle / FILE).write_text(damage)
    with pytest.raises(BundleError):
        prune(bundle)
    assert undo(bundle).number == 3 and (bundle / FILE).read_bytes() == whole


def test_two_changes_at_once_lose_none(bundle: Path, tmp_path: Path) -> None:
    code = "import sys; from spade_edge import set_threshold; set_threshold(sys.argv[1], score=8.0, reason='x')"
    before = contents(bundle)
    with changing(bundle):
        for change in (lambda: set_threshold(bundle, score=8.0, reason="x"), lambda: undo(bundle)):
            with pytest.raises(DataError, match="is being changed"):
                change()
        done = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=False)
        assert "is being changed" in done.stderr
        assert len(generations(bundle)) == 3 and Scorer.open(bundle)
    assert contents(bundle) == before
    # What was worked out from a manifest that is not in force any more is refused as well.
    old = Manifest.read(bundle)
    set_threshold(bundle, score=8.0, reason="x")
    with pytest.raises(DataError, match="has been changed meanwhile"):
        replace_manifest(bundle, old, Change("threshold", "x"), before=old)
    with pytest.raises(DataError, match="has been changed meanwhile"), staging(bundle, before=old):
        raise AssertionError  # before any work is done
    assert len(generations(bundle)) == 4 and not list(bundle.glob(".building*"))


def test_pruning_deletes_what_no_kept_generation_needs(bundle: Path) -> None:
    manifests = {int(path.name[:4]): path for path in (bundle / HISTORY).iterdir()}
    needed = {n: {x.name for x in Manifest.from_text(p.read_bytes()).files.values()} for n, p in manifests.items()}
    assert needed[1] - needed[3] and needed[2] == needed[3]
    (bundle / "signatures").mkdir()
    signatures = {
        number: bundle / "signatures" / f"{digest(path)}-{'0' * 16}.json" for number, path in manifests.items()
    }
    for path in signatures.values():
        path.write_text("{}")
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file() and path.name != LOG)
    result = prune(bundle, keep=2, who="anna")
    assert (result.numbers, result.kept) == ((1,), (2, 3))
    after = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file() and path.name != LOG)
    assert result.size == size - after > 0
    assert {path.name for path in bundle.iterdir() if "-" in path.name} == needed[2] | needed[3]
    assert [path.exists() for path in signatures.values()] == [number != 1 for number in signatures]
    assert [one.kept for one in generations(bundle)] == [False, True, True, True]
    assert generations(bundle)[-1].pruned == (1,) and generations(bundle)[-1].who == "anna"
    with pytest.raises(UsageError, match="1, which was deleted"):
        back_to(bundle, 1)
    assert undo(bundle).number == 2
    with pytest.raises(UsageError, match="1, which was deleted"):
        undo(bundle)
    assert prune(bundle, keep=1).kept == (2, 3)  # the newest, and the one in force
    with pytest.raises(UsageError):
        prune(bundle, keep=0)


def test_a_manifest_that_somebody_has_put_aside_keeps_its_files(bundle: Path) -> None:
    kept = next((bundle / HISTORY).glob("0001-*"))
    shutil.copyfile(kept, bundle / "as-delivered.json")
    names = [payload.name for payload in Manifest.from_text(kept.read_bytes()).files.values()]
    prune(bundle, keep=1)
    assert all((bundle / name).is_file() for name in names)


def test_differences_between_generations_and_between_bundles(bundle: Path, edge: Built) -> None:
    found = difference(1, 2, bundle=bundle)
    assert found.excluded == {"1.npy": "scratched"} and found.added == found.removed == found.included == ()
    assert "baseline" in found.files and "model" not in found.files
    assert difference(2, 1, bundle=bundle).included == ("1.npy",)
    old, new = (Manifest.from_text(next((bundle / HISTORY).glob(f"000{n}-*")).read_bytes()) for n in (2, 3))
    assert difference(2, 3, bundle=bundle).settings["threshold.score"] == (old.threshold.score, new.threshold.score)
    assert not difference(3, 3, bundle=bundle) and not difference(bundle, bundle)
    other = difference(bundle, edge.path)
    assert set(other.added) - {"nested/3.npy"} == {"6.npy", "7.npy"} and other.removed == ("3.npy",)
    assert other.settings["model.view.size"] == ([32, 32], [64, 64])
    with pytest.raises(UsageError):
        difference(1, 9, bundle=bundle)
    with pytest.raises(BundleError):
        difference(bundle, bundle / "none")


def test_who_changes_a_bundle_is_asked_of_the_system_and_may_be_unknown(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr("platform.node", lambda: "line\udcff3\n" + "x" * 300)
    set_threshold(bundle, score=8.0, reason="x")
    who = read_log(bundle).lines[-1].who
    assert who.startswith("unknown@line?3?xxx") and len(who) < 120


def test_names_and_reasons_of_any_bytes_are_kept(bundle: Path) -> None:
    reason = "two\nlines\udcff\0 ‘so’"
    undo(bundle, reason=reason)
    assert read_log(bundle).lines[-1].reason == "two\nlines\\udcff\\x00 ‘so’"


def test_where_there_is_no_bundle_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "absent", tmp_path / "a\0b"):
        for verb in (generations, undo, prune, lambda path: back_to(path, 1)):
            with pytest.raises(BundleError):
                verb(path)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"] and not list((tmp_path / "empty").iterdir())


def test_what_an_interrupted_change_has_left_goes_with_the_next(bundle: Path) -> None:
    (bundle / "baseline-0123456789abcdef.npy").write_bytes(b"x")
    (bundle / ".building-x").mkdir()
    (bundle / ".building-x" / "scratch-maps").write_bytes(b"x")
    before = set(contents(bundle))
    with staging(bundle):
        pass
    assert set(contents(bundle)) == before - {"baseline-0123456789abcdef.npy", ".building-x/scratch-maps"}


def test_nothing_is_written_through_a_link(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for path in (bundle / HISTORY).iterdir():
        path.unlink()
    (bundle / HISTORY).rmdir()
    (bundle / HISTORY).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    in_force = (bundle / FILE).read_bytes()
    with pytest.raises(BundleError, match="found a link"):
        set_threshold(bundle, score=8.0, reason="x")
    assert (bundle / FILE).read_bytes() == in_force and list((tmp_path / "elsewhere").iterdir()) == []
