"""`spade-edge gallery log`, `undo`, `back-to`, `diff`, `prune`, and `pack` and `unpack`: what they print and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import run

from spade_edge.galleries import BuildOptions, build, exclude, generations, set_threshold
from spade_edge.galleries.generation_log import changing
from spade_edge.runtime.bundle.manifest import FILE, Manifest

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, textures: Path) -> Path:
    """A bundle of three generations."""
    path = tmp_path_factory.mktemp("three") / "part.spade"
    build(textures, model=tiny_model, output=path, options=BuildOptions(place="free"))
    exclude(path, ["1.npy"], reason="scratched\x1b[31m\nbadly")
    set_threshold(path, score=7.0, reason="a wish")
    return path


@pytest.fixture
def bundle(three: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(three, tmp_path / "part.spade"))


def test_the_log_has_a_line_for_each_change(capsys: Capture, bundle: Path) -> None:
    run(capsys, "gallery", "back-to", "--bundle", bundle, "2", "--reason", "x", "--who", "anna")
    run(capsys, "gallery", "prune", "--bundle", bundle, "--keep", "2")
    code, out, err = run(capsys, "gallery", "log", "--bundle", bundle)
    assert (code, err) == (0, "")
    lines = out.splitlines()[1:]
    known = generations(bundle)
    assert len(lines) == len(known) == 5
    for line, one in zip(lines, known, strict=True):
        number, manifest, *rest = line.split()
        assert int(number) == one.number and one.manifest.startswith(manifest) and one.who in rest
        assert ("IN FORCE" in line) == one.in_force and ("(deleted)" in line) == (one.number == 1)
    assert lines[1].endswith("exclude 1.npy: scratched?[31m badly") and "\x1b" not in out
    assert "7 → " in lines[3] and "back-to: x" in lines[3] and "prune 1" in lines[4]
    code, out, _ = run(capsys, "gallery", "log", "--bundle", bundle, "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert [line["generation"] for line in told] == [1, 2, 3, 2, 2]
    assert [line["in_force"] for line in told] == [False] * 4 + [True]
    assert [line["kept"] for line in told] == [False] + [True] * 4
    assert told[4]["pruned"] == [1] and told[3]["who"] == "anna" and told[1]["names"] == ["1.npy"]


def test_undo_back_to_and_prune_say_what_they_did(capsys: Capture, bundle: Path) -> None:
    scores = [Manifest.from_text(path.read_bytes()).threshold.score for path in sorted((bundle / "history").iterdir())]
    code, out, err = run(capsys, "gallery", "undo", "--bundle", bundle)
    assert (code, out, err) == (0, f"generation 3 → 2; threshold 7 → {scores[1]:.6g}\n", "")
    code, out, _ = run(capsys, "gallery", "undo", "--bundle", bundle, "--json")
    told = json.loads(out)
    assert (told["generation"], told["from"], told["in_force"]) == (1, 2, True)
    code, out, _ = run(capsys, "gallery", "back-to", "--bundle", bundle, "3")
    assert (code, out) == (0, f"generation 1 → 3; threshold {scores[0]:.6g} → 7\n")
    code, out, _ = run(capsys, "gallery", "prune", "--bundle", bundle)
    assert (code, out) == (0, "no generation deleted; 3 kept: 1, 2, 3\n")
    code, out, _ = run(capsys, "gallery", "prune", "--bundle", bundle, "--keep", "1", "--json")
    told = json.loads(out)
    assert (told["deleted"], told["kept"]) == ([1, 2], [3]) and told["bytes"] > 0


def test_differences_are_printed_and_told(capsys: Capture, bundle: Path, three: Path) -> None:
    code, out, err = run(capsys, "gallery", "diff", "--bundle", bundle, "1", "2")
    assert (code, err) == (0, "") and out.splitlines()[0] == "excluded 1: 1.npy (scratched?[31m badly)"
    code, out, _ = run(capsys, "gallery", "diff", "--bundle", bundle, "2", "--json")
    told = json.loads(out)
    assert told["settings"]["threshold.score"]["new"] == 7.0 and told["excluded"] == {}
    assert run(capsys, "gallery", "diff", bundle, three)[1] == "no difference\n"


def test_packing_and_unpacking(capsys: Capture, bundle: Path, tmp_path: Path) -> None:
    code, out, err = run(capsys, "pack", "--bundle", bundle, tmp_path / "a.tar", "--history", "--json")
    assert (code, err) == (0, "") and json.loads(out)["generations"] == 3
    assert json.loads(out)["bytes"] == (tmp_path / "a.tar").stat().st_size
    code, out, _ = run(capsys, "unpack", tmp_path / "a.tar", tmp_path / "b.spade")
    assert code == 0 and "a new bundle with 5 good images, threshold 7, with its history" in out
    assert (tmp_path / "b.spade" / FILE).read_bytes() == (bundle / FILE).read_bytes()
    code, out, _ = run(capsys, "unpack", tmp_path / "a.tar", bundle, "--json")
    told = json.loads(out)
    assert (told["images"], told["threshold"], told["history"]) == (5, 7.0, False)
    assert Path(told["former"]).name.startswith("0003-")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["gallery", "back-to", "--bundle", "B", "9"], 2, "expected a generation that is kept (1, 2, 3), found 9"),
        (["gallery", "back-to", "--bundle", "B", "3"], 2, "found 3"),
        (["gallery", "back-to", "--bundle", "B", "0"], 2, "1 or more"),
        (["gallery", "back-to", "--bundle", "B"], 2, "N"),
        (["gallery", "prune", "--bundle", "B", "--keep", "0"], 2, "1 or more"),
        (["gallery", "diff", "B"], 2, "expected two bundle folders"),
        (["gallery", "diff", "--bundle", "B", "one", "2"], 2, "expected a whole number"),
        (["gallery", "diff", "B", "absent"], 3, "expected a bundle folder"),
        (["gallery", "log", "--bundle", "absent"], 3, "expected a bundle folder"),
        (["gallery", "undo", "--bundle", "absent"], 3, "expected a bundle folder"),
        (["pack", "--bundle", "absent", "a.tar"], 3, "absent"),
        (["pack", "--bundle", "B"], 2, "FILE"),
        (["unpack", "absent.tar", "b.spade"], 3, "absent.tar"),
        (["unpack", "B", "b.spade"], 3, "found a folder"),
    ],
)
def test_mistakes_are_one_line(
    capsys: Capture, bundle: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(bundle.parent)
    before = sorted(path.relative_to(bundle.parent) for path in bundle.parent.rglob("*"))
    found, out, err = run(capsys, *[str(bundle) if word == "B" else word for word in arguments])
    assert (found, out) == (code, "") and says in err and err.count("\n") == 1
    assert sorted(path.relative_to(bundle.parent) for path in bundle.parent.rglob("*")) == before


def test_a_bundle_that_is_being_changed_is_said_in_one_line(capsys: Capture, bundle: Path, tmp_path: Path) -> None:
    run(capsys, "pack", "--bundle", bundle, tmp_path / "a.tar")
    with changing(bundle):
        for line in (
            ["threshold", "--bundle", bundle, "--score", 5, "--reason", "x"],
            ["gallery", "undo", "--bundle", bundle],
            ["unpack", tmp_path / "a.tar", bundle],
        ):
            code, out, err = run(capsys, *line)
            assert (code, out) == (3, "") and err.count("\n") == 1 and "found that it is being changed" in err
        assert run(capsys, "gallery", "log", "--bundle", bundle)[0] == 0
    assert len(generations(bundle)) == 3
