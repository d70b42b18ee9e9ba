"""Commands that are stopped at their n-th operation on files leave the old bundle or the new one, and nothing lost."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from interrupted_writes import SPACE, Killed, stopping
from numpy.typing import NDArray

from spade_edge.galleries import (
    BuildOptions,
    back_to,
    build,
    exclude,
    generations,
    pack,
    prune,
    set_threshold,
    undo,
    unpack,
)
from spade_edge.galleries.generation_log import read_log
from spade_edge.galleries.history import kept_manifests, payload_of
from spade_edge.galleries.teaching import take_out, teach_in
from spade_edge.runtime import BundleError, DataError, SpadeError
from spade_edge.runtime.bundle.bundle import Bundle, check_files
from spade_edge.runtime.bundle.manifest import FILE, NAME, Manifest

Frames = Callable[..., NDArray[np.uint8]]


@dataclass(frozen=True)
class Ground:
    """What the commands start from.

    Attributes:
        bundle: of five generations, the fourth in force, one of the others with an image excluded.
        images: that it was built from.
        model: its network.
        packed: another bundle, packed with its history.
        reject: an image that is taught in.
    """

    bundle: Path
    images: Path
    model: Path
    packed: Path
    reject: Path


@pytest.fixture(scope="module", autouse=True)
def _quick_disk() -> Iterator[None]:
    """Flushing takes most of the time, and no power is cut here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, textures: Path, texture: Frames) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    bundle = folder / "part.spade"
    build(textures, model=tiny_model, output=bundle, options=BuildOptions(place="free"))
    set_threshold(bundle, score=5.0, reason="first")
    pack(bundle, folder / "other.tar", history=True)
    exclude(bundle, ["0.npy"], reason="scratched")
    set_threshold(bundle, score=6.0, reason="second")
    set_threshold(bundle, score=7.0, reason="third")
    undo(bundle)
    np.save(folder / "reject.npy", texture(50))
    return Ground(bundle, textures, tiny_model, folder / "other.tar", folder / "reject.npy")


def _rebuild(ground: Ground, place: Path) -> None:
    build(ground.images, model=ground.model, output=place / "part.spade", options=BuildOptions(place="free"))


COMMANDS: dict[str, Callable[[Ground, Path], object]] = {
    "threshold": lambda ground, place: set_threshold(place / "part.spade", score=9.0, reason="x"),
    "undo": lambda ground, place: undo(place / "part.spade"),
    "back-to": lambda ground, place: back_to(place / "part.spade", 1),
    "prune": lambda ground, place: prune(place / "part.spade", keep=1),
    "unpack": lambda ground, place: unpack(ground.packed, place / "part.spade"),
    "unpack anew": lambda ground, place: unpack(ground.packed, place / "new.spade"),
    "pack": lambda ground, place: pack(place / "part.spade", place / "part.tar", history=True),
    "exclude": lambda ground, place: exclude(place / "part.spade", ["1.npy"], reason="x"),
    "add": lambda ground, place: teach_in(place / "part.spade", [ground.reject], reason="was good", even_so=True),
    "remove": lambda ground, place: take_out(place / "part.spade", ["1.npy"], reason="x"),
    "build": _rebuild,
    "build anew": lambda ground, place: build(
        ground.images, model=ground.model, output=place / "new.spade", options=BuildOptions(place="free")
    ),
}
SLOW = ("exclude", "add", "remove", "build", "build anew")  # some hundred operations, and a second each
# How many of the operations are tried in the quick run; of a change of the threshold, which is the shortest, all.
QUICK = {name: 2 if name in SLOW else 8 for name in COMMANDS} | {"threshold": 1000}
# In the slow run all of them, or so many of the slow commands; with this set, which takes an hour, of those too.
EVERY = "SPADE_EDGE_EVERY_OPERATION"
MANY = 12


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_killed_leaves_the_old_or_the_new(command: str, ground: Ground, tmp_path: Path) -> None:
    _stop_at(command, ground, tmp_path, tries=QUICK[command], error=Killed, only=None)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_fills_up_leaves_the_old_or_the_new(command: str, ground: Ground, tmp_path: Path) -> None:
    _stop_at(command, ground, tmp_path, tries=QUICK[command], error=errno.ENOSPC, only=SPACE)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("error", "only"), [(Killed, None), (errno.ENOSPC, SPACE)], ids=["killed", "full"])
def test_nearly_every_operation(
    command: str, error: type[Killed] | int, only: frozenset[str] | None, ground: Ground, tmp_path: Path
) -> None:
    tries = MANY if command in SLOW and EVERY not in os.environ else None
    _stop_at(command, ground, tmp_path, tries=tries, error=error, only=only)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_cannot_be_written_is_said_in_one_line(command: str, ground: Ground, tmp_path: Path) -> None:
    place = _place(ground, tmp_path, 0)
    before = _contents(place)
    with pytest.raises(DataError), stopping(place, at=1, error=errno.EROFS):
        COMMANDS[command](ground, place)
    assert _contents(place) == before


def test_a_clock_that_goes_back_changes_nothing(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = _place(ground, tmp_path, 0)

    class Past(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(1970, 1, 1, tzinfo=timezone.utc)

    monkeypatch.setattr("spade_edge.galleries.generation_log.datetime", Past)
    monkeypatch.setattr("spade_edge.galleries.threshold_change.datetime", Past)
    for score in (3.0, 4.0):
        set_threshold(place / "part.spade", score=score, reason="x")
    known = generations(place / "part.spade")
    assert [one.number for one in known[-2:]] == [6, 7] and known[-1].when.startswith("1970")
    assert undo(place / "part.spade").number == 6


def _stop_at(
    command: str,
    ground: Ground,
    tmp_path: Path,
    *,
    tries: int | None,
    error: type[Killed] | int,
    only: frozenset[str] | None,
) -> None:
    """Stop a command at some of its operations, or at each, and look at what is left."""
    place = _place(ground, tmp_path, 0)
    with stopping(place, at=1 << 30, error=error, only=only) as shim:
        COMMANDS[command](ground, place)
    total = shim.count
    assert total >= 5
    shutil.rmtree(place)
    numbers = range(1, total + 1) if tries is None else np.unique(np.linspace(1, total, tries).round().astype(int))
    for at in map(int, numbers):
        place = _place(ground, tmp_path, at)
        before = {path.name: (path / FILE).read_bytes() for path in place.glob("*.spade")}
        with pytest.raises((Killed, SpadeError)) as caught, stopping(place, at=at, error=error, only=only):
            COMMANDS[command](ground, place)
        where = f"{command} stopped at operation {at} of {total}"
        if error is not Killed:
            assert isinstance(caught.value, (DataError, BundleError)), where
        _check_whole(place, before, where)
        _check_swept(command, ground, place, where)
        shutil.rmtree(place)


def _check_whole(place: Path, before: dict[str, bytes], where: str) -> None:
    """Each bundle opens, and is the old one or the one that the log says, bit for bit."""
    for bundle in place.glob("*.spade"):
        manifest = (bundle / FILE).read_bytes()
        if manifest != before.get(bundle.name):
            assert hashlib.sha256(manifest).hexdigest() == read_log(bundle).lines[-1].manifest, where
        Bundle.open(bundle)
        read_log(bundle)
    for name, raw in before.items():
        if (place / name / FILE).read_bytes() == raw:
            assert [one.number for one in generations(place / name) if one.in_force] == [4], where


def _check_swept(command: str, ground: Ground, place: Path, where: str) -> None:
    """The next command works, and removes what lies about; nothing that a generation needs is gone."""
    if command in ("pack", "unpack anew", "build anew"):
        COMMANDS[command](ground, place)
    for bundle in place.glob("*.spade"):
        change = set_threshold(bundle, score=11.0, reason="after")
        assert read_log(bundle).path.read_bytes().endswith(b"\n"), where
        lines = generations(bundle)
        assert lines[-1].in_force and lines[-1].verb == "threshold" and change.threshold.score == 11.0, where
        names = {path.name for path in bundle.iterdir() if NAME.fullmatch(path.name)}
        needed: set[str] = set()
        for kept in kept_manifests(bundle):
            needed |= payload_of(kept.path.read_bytes()) or set()
        assert names == needed, where
        assert {kept.number for kept in kept_manifests(bundle)} == {one.number for one in lines if one.kept}, where
        for kept in kept_manifests(bundle):
            check_files(bundle, Manifest.from_text(kept.path.read_bytes()))
    left = [path.name for path in place.rglob("*") if path.name.startswith((".building-", ".packing-"))]
    assert left == [], where


def _place(ground: Ground, tmp_path: Path, number: int) -> Path:
    """A folder with a copy of the bundle."""
    place = tmp_path / str(number)
    place.mkdir()
    shutil.copytree(ground.bundle, place / "part.spade")
    return place


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
