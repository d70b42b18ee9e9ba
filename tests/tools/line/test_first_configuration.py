"""`spade-edge init`: the first configuration of a line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run
from machines import DEVICE, Commands, folder_of, industrial

from spade_edge.galleries import Built
from spade_edge.runtime import BundleError, UsageError
from spade_edge.tools.doctor import Host
from spade_edge.tools.doctor.cameras import connected
from spade_edge.tools.line.configuration.reader import mistakes, read
from spade_edge.tools.line.first_configuration import write_first

HARVESTERS = replace(DEVICE, versions={**DEVICE.versions, "harvesters": "1.4.3"})


@pytest.fixture
def machine(tmp_path: Path) -> Host:
    """A machine with one webcam, whose second device has no pictures, and two GenICam cameras."""
    host = industrial(tmp_path / "machine")
    folder_of(host.root, {f"sys/class/video4linux/video{number}/index": f"{number}\n" for number in range(2)})
    genicam = {
        "cameras": [["genicam:AB-1", "Maker Model"], ["genicam:C 2", "Maker\u2028Model"], ["genicam:C 2", "Other"], 5]
    }
    return replace(host, run=Commands({}, {"genicam": genicam}))


def bundles(folder: Path, edge: Built, *names: str) -> None:
    for name in names:
        shutil.copytree(edge.path, folder / name)


def test_the_cameras_of_a_machine(machine: Host) -> None:
    webcam = ("0", "HD Pro Webcam C920")
    assert connected(machine, DEVICE) == [webcam]
    assert connected(machine, HARVESTERS) == [webcam, ("genicam:AB-1", "Maker Model"), ("genicam:C 2", "Other")]
    assert connected(replace(machine, environment={}), HARVESTERS) == [webcam]
    for value in ({}, {"cameras": 5}, {"cameras": [["a"], [1, 2], None]}, {"error": "no"}):
        assert connected(replace(machine, run=Commands({}, {"genicam": value})), HARVESTERS) == [webcam]


def test_it_names_what_is_found(tmp_path: Path, edge: Built, machine: Host) -> None:
    folder = tmp_path / "line"
    bundles(folder, edge, "cap.spade", "lid 2.spade", "lid-2.spade", "other")
    (folder / "empty.spade").mkdir()
    (folder / "file.spade").touch()
    path = folder / "line.toml"
    written = write_first(path, folder=folder, host=machine, packages=HARVESTERS)
    assert mistakes(path) == ()
    configuration = read(path)
    assert {name: recipe.bundle for name, recipe in configuration.recipes.items()} == {
        "cap": folder / "cap.spade", "lid-2": folder / "lid 2.spade", "lid-2-2": folder / "lid-2.spade",
    }  # fmt: skip
    assert {name: (camera.source, camera.recipe) for name, camera in configuration.cameras.items()} == {
        "camera-0": ("0", "cap"), "camera-AB-1": ("genicam:AB-1", "cap"), "camera-C-2": ("genicam:C 2", "cap"),
    }  # fmt: skip
    assert list(written.left_out) == [str(folder / "empty.spade")]
    assert 'bundle = "cap.spade"' in path.read_text()  # as it was found: below the folder of the file


def test_bundles_that_are_named(tmp_path: Path, edge: Built, machine: Host) -> None:
    bundles(tmp_path / "far", edge, "~a.spade", "b")
    path = tmp_path / "line" / "press.toml"
    write_first(path, bundles=[tmp_path / "far/~a.spade", tmp_path / "far/b"], host=machine, packages=DEVICE)
    assert [recipe.bundle for recipe in read(path).recipes.values()] == [tmp_path / "far/~a.spade", tmp_path / "far/b"]
    beside = tmp_path / "far" / "press.toml"
    write_first(beside, bundles=[tmp_path / "far/~a.spade"], host=machine, packages=DEVICE)
    assert read(beside).recipes["a"].bundle == tmp_path / "far/~a.spade"
    with pytest.raises(BundleError):
        write_first(tmp_path / "x.toml", bundles=[tmp_path / "line"], host=machine, packages=DEVICE)
    with pytest.raises(UsageError):
        write_first(tmp_path / "x.toml", folder=tmp_path / "gone", host=machine, packages=DEVICE)
    assert not (tmp_path / "x.toml").exists()


def test_names_that_no_configuration_can_hold(tmp_path: Path, edge: Built, machine: Host) -> None:
    bundles(tmp_path, edge, "a\nb.spade", "\u2028.spade", "é.spade")
    path = tmp_path / "line.toml"
    written = write_first(path, folder=tmp_path, host=machine, packages=DEVICE)
    assert len(written.left_out) == 2 and mistakes(path) == ()
    assert read(path).recipes["part"].bundle == tmp_path / "é.spade"
    with pytest.raises(UsageError):
        write_first(tmp_path / "x.toml", bundles=[tmp_path / "a\nb.spade"], host=machine, packages=DEVICE)


@pytest.mark.parametrize("kind", ["file", "link", "broken link", "folder"])
def test_nothing_is_replaced(tmp_path: Path, machine: Host, kind: str) -> None:
    path, target = tmp_path / "line.toml", tmp_path / "target"
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("kept")
    else:
        path.symlink_to(target)
        if kind == "link":
            target.write_text("kept")
    with pytest.raises(UsageError):
        write_first(path, host=machine, packages=DEVICE, folder=tmp_path)
    assert path.is_dir() or not path.exists() or path.read_text() == "kept"
    expected = {"line.toml", "machine", *(["target"] if kind == "link" else [])}
    assert {entry.name for entry in tmp_path.iterdir()} == expected


def test_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, edge: Built, machine: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Host, "here", classmethod(lambda cls: machine))
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "init")
    assert (code, err) == (0, "")
    assert "camera-0 (HD Pro Webcam C920)" in out and "an example of a recipe" in out
    assert mistakes(Path("line.toml")) == ()
    code, _, err = run(capsys, "init")
    assert code == 2 and err.count("\n") == 1
    code, out, _ = run(capsys, "init", "--output", "o.toml", "--bundle", edge.path, "--json")
    value = json.loads(out)
    assert code == 0 and value["config"] == "o.toml" and list(value["recipes"].values()) == [str(edge.path)]
    assert run(capsys, "init", "--bundle", "x", "--folder", "y")[0] == 2
    assert run(capsys, "run", "--config", "o.toml", "--check")[0] == 0


def test_sources_that_somebody_names(tmp_path: Path, edge: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundles(tmp_path, edge, "cap.spade")
    (tmp_path / "new parts").mkdir()
    path = tmp_path / "line" / "trial.toml"
    path.parent.mkdir()
    sources = ["new parts", "watch:new parts", "0", "rtsp://10.0.0.5/stream", "genicam:AB 1", "later"]
    written = write_first(path, bundles=[Path("cap.spade")], sources=sources)
    assert mistakes(path) == ()
    assert [(camera.name, camera.source) for camera in written.cameras] == [
        ("new-parts", str(tmp_path / "new parts")),
        ("new-parts-2", f"watch:{tmp_path / 'new parts'}"),
        ("camera-0", "0"),
        ("camera-rtsp-10-0-0-5-stream", "rtsp://10.0.0.5/stream"),
        ("camera-AB-1", "genicam:AB 1"),
        ("camera-later", "later"),
    ]
    deadlines = [camera.deadline_ms for camera in read(path).cameras.values()]
    assert deadlines[0] == 60_000 and set(deadlines[1:]) == {500}
    assert [camera.source for camera in read(path).cameras.values()][:3] == [
        str(tmp_path / "new parts"), f"watch:{tmp_path / 'new parts'}", "0",
    ]  # fmt: skip
    with pytest.raises(UsageError):
        write_first(tmp_path / "other.toml", sources=["a\0b"])
