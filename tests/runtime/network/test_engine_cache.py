"""The private folder of TensorRT's engines: its key, whether it is ready, and who may have written to it."""

from __future__ import annotations

import json
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cards import card_of
from fake_gpu import Machine

from spade_edge.runtime import DeviceError
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.engine_cache import PREPARED, EngineCache
from spade_edge.runtime.network.provider import BatchRange, Provider

CARD = card_of((64, 64), (4, 5), (8, 7), (16, 9))
VIEWS = BatchRange(usual=1, most=4)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine().install(monkeypatch, tmp_path)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a network")
    return path


def engines_of(
    network: Path, provider: Provider | None = None, *, card: ModelCard = CARD, views: BatchRange = VIEWS
) -> EngineCache:
    return EngineCache.of(network, card, provider or Provider("tensorrt"), views=views)


def build(engines: EngineCache, content: bytes = b"an engine") -> None:
    with engines.building():
        (engines.folder / "x.engine").write_bytes(content)


def test_engines_lie_in_a_folder_that_is_private(machine: Machine, network: Path, tmp_path: Path) -> None:
    engines = engines_of(network)
    assert engines.folder.parent == tmp_path / "cache" / "spade-edge" / "engines"
    assert not engines.prepared() and not (tmp_path / "cache").exists()  # asking makes nothing
    umask = os.umask(0)
    try:
        build(engines)
    finally:
        os.umask(umask)
    for folder in (engines.folder, engines.folder.parent, engines.folder.parents[1]):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert engines.prepared() and engines_of(network).prepared()
    marker = json.loads((engines.folder / PREPARED).read_text())
    assert marker["key"] == engines.key and list(marker["files"]) == ["x.engine"]
    assert marker["files"]["x.engine"]["size"] == len(b"an engine")


def test_without_a_cache_variable_they_lie_in_the_home_folder(
    machine: Machine, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("", "relative/cache"):  # the standard says to ignore a relative one
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert engines_of(network).folder.is_relative_to(tmp_path / "home" / ".cache" / "spade-edge" / "engines")
    own = engines_of(network, Provider("tensorrt", engines=tmp_path / "mine"))
    assert own.folder.parent == tmp_path / "mine" / "engines"


def test_the_key_has_everything_that_an_engine_depends_on(
    machine: Machine, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, provider = engines_of(network), Provider("tensorrt")
    build(plain)
    others = {
        "fp16": engines_of(network, replace(provider, fp16=True)),
        "int8": engines_of(network, card=replace(CARD, precision="int8")),
        "tf32": engines_of(network, replace(provider, tf32=True)),
        "workspace": engines_of(network, replace(provider, workspace=5)),
        "views": engines_of(network, views=BatchRange(usual=4, most=4)),
        "gpu": engines_of(network, replace(provider, device=1)),
    }
    (tmp_path / "renamed.onnx").write_bytes(network.read_bytes())
    others["name"] = engines_of(tmp_path / "renamed.onnx")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.onnx").write_bytes(b"another network")
    others["model"] = engines_of(tmp_path / "other" / "model.onnx")
    for what, changed in (
        ("tensorrt", Machine(tensorrt=100900)),
        ("onnxruntime", Machine(version="1.23.0")),
        ("capability", Machine(gpus=[("Orin", "8.9")])),
    ):
        changed.install(monkeypatch, tmp_path)
        others[what] = engines_of(network)
    for what, engines in others.items():
        differing = {name for name in plain.key if plain.key[name] != engines.key[name]}
        assert differing == {what} | ({"capability"} if what == "gpu" else set()), what
        assert engines.folder != plain.folder and not engines.prepared(), what
    assert len({engines.folder for engines in others.values()}) == len(others)
    assert set(plain.key) == {*others, "schema"}


@pytest.mark.parametrize(("number", "major"), [(8601, 8), (100300, 10), (101602, 10), (110401, 11)])
def test_the_folder_names_the_major_version_of_tensorrt(
    network: Path, number: int, major: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Machine(tensorrt=number).install(monkeypatch, tmp_path)
    engines = engines_of(network)
    model, version, rest = engines.folder.name.split("-")
    assert len(model) == len(rest) == 16 and version == f"tensorrt{major}"
    build(engines)
    Machine(tensorrt=110500).install(monkeypatch, tmp_path)
    assert engines_of(network).others() == (engines.folder,)


def test_engines_are_found_again_whatever_else_is_chosen(machine: Machine, network: Path) -> None:
    build(engines_of(network))
    assert engines_of(network, Provider("tensorrt", memory=10**9, convolutions="default")).prepared()


@pytest.mark.parametrize("sweep", [False, True])
def test_what_is_interrupted_does_not_count_and_is_swept_away(machine: Machine, network: Path, sweep: bool) -> None:
    engines = engines_of(network)
    with pytest.raises(KeyboardInterrupt), engines.building():
        (engines.folder / "half.engine").write_bytes(b"half")
        (engines.folder / "folder").mkdir()
        (engines.folder / "folder" / "file").touch()
        (engines.folder / "link").symlink_to(network.parent)
        raise KeyboardInterrupt
    assert not engines.prepared() and (engines.folder / "half.engine").exists()
    if sweep:
        engines.sweep()
        assert list(engines.folder.iterdir()) == []
    build(engines)
    assert engines.prepared() and {path.name for path in engines.folder.iterdir()} == {"x.engine", PREPARED}
    assert network.exists()
    engines.sweep()
    assert engines.prepared()


def test_an_engine_that_was_not_written_is_an_error(machine: Machine, network: Path) -> None:
    engines = engines_of(network)
    says = "found none; is the disk full"
    with pytest.raises(DeviceError, match=says), engines.building():
        (engines.folder / "x.profile").write_bytes(b"")
    assert not engines.prepared()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "x.engine").write_bytes(b"an enginf"),
        lambda folder: (folder / "x.engine").write_bytes(b"an engine that is longer"),
        lambda folder: (folder / "x.engine").unlink(),
        lambda folder: (folder / PREPARED).unlink(),
        lambda folder: (folder / PREPARED).write_bytes(b"{"),
        lambda folder: (folder / PREPARED).write_bytes(b"[]"),
        lambda folder: (folder / PREPARED).write_bytes(b"\xff"),
        lambda folder: (folder / PREPARED).write_bytes(b"[" * 100_000),
        lambda folder: _edit(folder, files={}),
        lambda folder: _edit(folder, files=[]),
        lambda folder: _edit(folder, files={"../../x": {}}),
        lambda folder: _edit(folder, key={}),
        lambda folder: _edit(folder, key=None),
    ],
)
def test_damaged_engines_are_built_again(machine: Machine, network: Path, spoil: object) -> None:
    engines = engines_of(network)
    build(engines)
    spoil(engines.folder)  # type: ignore[operator]
    assert not engines.prepared()
    build(engines)
    assert engines.prepared()


def _edit(folder: Path, **changes: object) -> None:
    value = json.loads((folder / PREPARED).read_text())
    (folder / PREPARED).write_text(json.dumps(value | changes))


def test_a_file_that_tensorrt_updates_does_not_void_its_engine(machine: Machine, network: Path) -> None:
    engines = engines_of(network)
    build(engines)
    (engines.folder / "cache_sm87.timing").write_bytes(b"newer")
    assert engines.prepared()


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_to_is_refused(machine: Machine, network: Path, level: int, mode: int) -> None:
    engines = engines_of(network)
    build(engines)
    folder = [engines.folder, *engines.folder.parents][level]
    folder.chmod(mode)
    for use in (engines.prepared, lambda: build(engines)):
        with pytest.raises(DeviceError, match=f"{folder}: .*mode {mode:o};"):
            use()
    folder.chmod(0o750)  # to read is allowed
    assert engines.prepared()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_symbolic_link_is_refused(machine: Machine, network: Path, tmp_path: Path, level: int) -> None:
    engines = engines_of(network)
    build(engines)
    folder = [engines.folder, *engines.folder.parents][level]
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    for use in (engines.prepared, lambda: build(engines)):
        with pytest.raises(DeviceError, match=f"{folder}: .*found a symbolic link"):
            use()
    there = sorted((tmp_path / "elsewhere").rglob("*"))
    if level > 0:
        with pytest.raises(DeviceError, match=f"{folder}: .*found a symbolic link"):
            build(engines_of(network, Provider("tensorrt", workspace=7)))
    assert sorted((tmp_path / "elsewhere").rglob("*")) == there  # nothing is written behind it
    (tmp_path / "elsewhere").rename(tmp_path / "gone")
    if level == 0:
        with pytest.raises(DeviceError, match="found a symbolic link"):
            engines.prepared()
    with pytest.raises(DeviceError, match="symbolic link|cannot be made"):
        build(engines)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_folder_of_another_user_is_refused(machine: Machine, network: Path, level: int) -> None:
    engines = engines_of(network)
    build(engines)
    folder = [engines.folder, *engines.folder.parents][level]
    try:
        os.chown(folder, 12345, -1)
    except PermissionError:
        pytest.skip("only root can give a folder away")
    for use in (engines.prepared, lambda: build(engines)):
        with pytest.raises(DeviceError, match=f"{folder}: .*user 12345"):
            use()


def test_a_file_in_the_folders_place_is_refused(machine: Machine, network: Path) -> None:
    engines = engines_of(network)
    engines.folder.parent.mkdir(parents=True, mode=0o700)
    engines.folder.touch()
    with pytest.raises(DeviceError, match="found something else"):
        engines.prepared()
    with pytest.raises(DeviceError, match="cannot be made"):
        build(engines)


def test_a_place_that_cannot_be_written_says_what_to_set(
    machine: Machine, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    with pytest.raises(DeviceError, match="XDG_CACHE_HOME"):
        build(engines_of(network))


def test_engines_never_lie_in_a_bundle(machine: Machine, network: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()
    for inside in (tmp_path, tmp_path / "cache"):
        with pytest.raises(DeviceError, match="outside the bundle"):
            engines_of(network, Provider("tensorrt", engines=inside))


def test_of_two_that_want_the_same_engines_the_second_waits(machine: Machine, network: Path) -> None:
    engines, inside, go = engines_of(network), threading.Event(), threading.Event()

    def first() -> None:
        with engines.building():
            inside.set()
            assert go.wait(20)
            (engines.folder / "x.engine").write_bytes(b"the first")

    def second() -> None:
        with engines.building():
            found.append((engines.folder / "x.engine").read_bytes())

    found: list[bytes] = []
    threads = [threading.Thread(target=run) for run in (first, second)]
    threads[0].start()
    assert inside.wait(20)
    threads[1].start()
    threads[1].join(0.2)
    assert threads[1].is_alive() and not found
    go.set()
    for thread in threads:
        thread.join(20)
    assert found == [b"the first"] and engines.prepared()


def test_engines_of_the_same_model_for_other_machines_can_be_removed(
    machine: Machine, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = engines_of(network)
    older = engines_of(network, Provider("tensorrt", fp16=True))
    (tmp_path / "foreign.onnx").write_bytes(b"of another bundle")
    foreign = engines_of(tmp_path / "foreign.onnx")
    for each in (engines, older, foreign):
        build(each)
    assert engines.others() == (older.folder,)
    engines.remove(older.folder)
    assert engines.others() == () and engines.prepared() and foreign.prepared()
    assert not older.folder.exists() and not older.folder.with_suffix(".lock").exists()
