"""Packed bundles: the bytes against Python's tarfile, and files that are no packed bundles, or not only that."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
from spade_edge.galleries.generation_log import LOG
from spade_edge.galleries.tar import Member, TarReader, header
from spade_edge.runtime import BundleError, DataError, SpadeError, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest

Alter = Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, textures: Path) -> Path:
    """A signed bundle of three generations in `part.spade`; packed alone in `one.tar`, with history in `all.tar`."""
    folder = tmp_path_factory.mktemp("packed")
    bundle = folder / "part.spade"
    build(textures, model=tiny_model, output=bundle, options=BuildOptions(place="free"))
    exclude(bundle, ["1.npy"], reason="scratched")
    set_threshold(bundle, score=7.0, reason="a wish")
    (bundle / "signatures").mkdir()
    for path in (bundle / HISTORY).iterdir():
        (bundle / "signatures" / f"{digest(path)}-{'0' * 16}.json").write_text(path.name)
    pack(bundle, folder / "one.tar")
    pack(bundle, folder / "all.tar", history=True)
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tar_reads_what_was_packed(ground: Path) -> None:
    bundle = contents(ground / "part.spade")
    manifest = Manifest.read(ground / "part.spade")
    for name, history in (("one.tar", False), ("all.tar", True)):
        with tarfile.open(ground / name, "r:") as tar:
            members = tar.getmembers()
            found = {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]
        assert members[0].name == FILE and len(found) == len(members)
        payload = [member.name for member in members if member.name.endswith((".npy", ".hnsw", ".onnx"))]
        assert payload == sorted(payload) == [member.name for member in members][-len(payload) :]
        for member in members:
            assert (member.mode, member.uid, member.gid, member.mtime) == (0o644, 0, 0, 0) and member.isreg()
            assert (member.uname, member.gname, member.pax_headers) == ("", "", {})
        if history:
            assert found == bundle
        else:
            signature = f"signatures/{digest(ground / 'part.spade' / FILE)}-{'0' * 16}.json"
            names = {FILE, signature} | {payload.name for payload in manifest.files.values()}
            assert found == {name: bundle[name] for name in names}


def test_the_same_bundle_gives_the_same_bytes(ground: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(ground / "part.spade", tmp_path / "copy.spade", copy_function=shutil.copyfile)
    for name, history in (("one.tar", False), ("all.tar", True)):
        packed = pack(copy, tmp_path / name, history=history)
        assert (tmp_path / name).read_bytes() == (ground / name).read_bytes()
        assert packed.size == (tmp_path / name).stat().st_size and packed.generations == (3 if history else 1)
        pack(copy, tmp_path / name, history=history)  # replaces what `pack` wrote
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.tar", "copy.spade", "one.tar"]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**11 - 1, 8**11, 9 << 30])
def test_headers_are_those_of_tar(size: int) -> None:
    found = tarfile.TarInfo.frombuf(header(Member("history/0001-x.json", size)), "ascii", "strict")
    assert (found.name, found.size, found.type) == ("history/0001-x.json", size, tarfile.REGTYPE)
    reader = TarReader(io.BytesIO(header(Member("a", size))), source="x")
    assert next(reader) == Member("a", size)


def test_unpacking_gives_the_same_bundle(ground: Path, tmp_path: Path) -> None:
    before = contents(ground / "part.spade")
    result = unpack(ground / "all.tar", tmp_path / "a.spade")
    after = contents(tmp_path / "a.spade")
    log = after.pop(LOG)
    assert result.history and result.former is None and not result.left_out
    assert log.startswith(before[LOG]) and after == {name: raw for name, raw in before.items() if name != LOG}
    assert [(one.number, one.verb) for one in generations(tmp_path / "a.spade")][-1] == (3, "unpack")
    assert undo(tmp_path / "a.spade").number == 2 and back_to(tmp_path / "a.spade", 1).number == 1
    result = unpack(ground / "one.tar", tmp_path / "b.spade")
    assert (tmp_path / "b.spade" / FILE).read_bytes() == before[FILE] and not result.history
    assert [(one.number, one.verb, one.reason) for one in generations(result.path)] == [(1, "unpack", "from one.tar")]
    assert len(list((result.path / "signatures").iterdir())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.spade", "b.spade"]


@pytest.mark.parametrize("name", ["one.tar", "all.tar"])
def test_unpacking_over_a_bundle_is_a_new_generation(ground: Path, tmp_path: Path, name: str, edge: Any) -> None:
    bundle = Path(shutil.copytree(edge.path, tmp_path / "part.spade"))
    before = contents(bundle)
    result = unpack(ground / name, bundle)
    assert result.former is not None and result.former.read_bytes() == before[FILE] and not result.history
    assert result.left_out == (name == "all.tar")
    assert [one.verb for one in generations(bundle)] == ["build", "unpack"]
    after = contents(bundle)
    assert {name: raw for name, raw in after.items() if name in before and name not in (FILE, LOG)} == {
        name: raw for name, raw in before.items() if name not in (FILE, LOG)
    }
    assert Bundle.open(bundle).manifest == Manifest.read(ground / "part.spade")
    names = {payload.name for payload in Manifest.read(ground / "part.spade").files.values()}
    assert {path for path in set(after) - set(before) if "/" not in path} <= names
    assert undo(bundle).number == 1 and (bundle / FILE).read_bytes() == before[FILE]
    Bundle.open(bundle)


def test_deleted_generations_are_not_packed(ground: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(ground / "part.spade", tmp_path / "part.spade"))
    prune(bundle, keep=1)
    pack(bundle, tmp_path / "a.tar", history=True)
    unpack(tmp_path / "a.tar", tmp_path / "b.spade")
    assert [one.kept for one in generations(tmp_path / "b.spade")] == [False, False, True, True, True]
    assert contents(tmp_path / "b.spade").keys() == contents(bundle).keys()


@pytest.mark.parametrize("how", ["missing", "longer", "altered"])
def test_a_damaged_bundle_is_not_packed(ground: Path, tmp_path: Path, how: str) -> None:
    bundle = Path(shutil.copytree(ground / "part.spade", tmp_path / "part.spade"))
    path = bundle / Manifest.read(bundle).files["squares"].name
    raw = path.read_bytes()
    path.unlink() if how == "missing" else path.write_bytes(raw + b"x" if how == "longer" else raw[:-1] + b"\1")
    (tmp_path / "a.tar").write_bytes((ground / "one.tar").read_bytes())
    with pytest.raises(BundleError, match=path.name):
        pack(bundle, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == (ground / "one.tar").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "part.spade"]


def test_nothing_else_is_replaced(ground: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("mine")
    (tmp_path / "link").symlink_to(ground / "one.tar")
    for place in (tmp_path / "text", tmp_path / "link", tmp_path, ground / "part.spade" / "a.tar"):
        with pytest.raises(UsageError):
            pack(ground / "part.spade", place)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    for place in (tmp_path / "text", tmp_path / "folder"):
        with pytest.raises(UsageError):
            unpack(ground / "one.tar", place)
    assert (tmp_path / "text").read_text() == (tmp_path / "folder" / "mine").read_text() == "mine"


def members(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path, "r:") as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def packed(files: list[tuple[str, bytes]]) -> bytes:
    """As `pack` writes them, with whatever names."""
    return b"".join(header(Member(name, len(raw))) + raw + bytes(-len(raw) % 512) for name, raw in files) + bytes(1024)


def by_tarfile(files: list[tuple[str, bytes]], alter: Callable[[tarfile.TarInfo], Any] = lambda member: None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, raw in files:
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            alter(member)
            tar.addfile(member, io.BytesIO(raw) if member.isreg() else None)
    return stream.getvalue()


def _kind(kind: bytes) -> Callable[[list[tuple[str, bytes]]], bytes]:
    def alter(member: tarfile.TarInfo) -> None:
        if member.name.startswith("squares"):
            member.type, member.size, member.linkname = kind, 0, "/etc/passwd"

    return lambda files: by_tarfile(files, alter)


def _field(start: int, value: bytes) -> Callable[[list[tuple[str, bytes]]], bytes]:
    """A field of the first header is another, with the right sum."""

    def altered(files: list[tuple[str, bytes]]) -> bytes:
        block = bytearray(packed(files))
        block[start : start + len(value)] = value
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block[:512])
        return bytes(block)

    return altered


def _files(alter: Alter) -> Callable[[list[tuple[str, bytes]]], bytes]:
    return lambda files: packed(alter(files))


def _renamed(start: str, name: str) -> Callable[[list[tuple[str, bytes]]], bytes]:
    return _files(lambda files: [(name if old.startswith(start) else old, raw) for old, raw in files])


HOSTILE: dict[str, Callable[[list[tuple[str, bytes]]], bytes]] = {
    "empty": lambda files: b"",
    "zeros": lambda files: bytes(10240),
    "text": lambda files: b"spade" * 1000,
    "compressed": lambda files: gzip.compress(packed(files)),
    "only the manifest": _files(lambda files: files[:1]),
    "no manifest": _files(lambda files: files[1:]),
    "manifest last": _files(lambda files: [*files[1:], files[0]]),
    "manifest twice": _files(lambda files: [files[0], *files]),
    "a file twice": _files(lambda files: [*files, files[-1]]),
    "a signature twice": _files(lambda files: [*files[:2], *files[1:]]),
    "a file less": _files(lambda files: files[:-1]),
    "a file more": _files(lambda files: [*files, ("more.txt", b"x")]),
    "a payload more": _files(lambda files: [*files, ("squares-0123456789abcdef.npy", b"x")]),
    "a file above": _files(lambda files: [*files, ("../more.txt", b"x")]),
    "a file at the root": _files(lambda files: [*files, ("/more.txt", b"x")]),
    "a payload elsewhere": _renamed("squares", "../squares-0123456789abcdef.npy"),
    "a signature elsewhere": _renamed("signatures", "signatures/../../x.json"),
    "a signature of another": _renamed("signatures", f"signatures/{'0' * 64}-{'0' * 16}.json"),
    "a large signature": _files(
        lambda files: [(name, raw if name[:4] != "sign" else bytes(5000)) for name, raw in files]
    ),
    "history without a log": _files(
        lambda files: [files[0], (f"history/0001-{'0' * 16}.json", files[0][1]), *files[1:]]
    ),
    "altered bytes": _files(
        lambda files: [(n, raw[:-1] + b"\7" if n.startswith("squares") else raw) for n, raw in files]
    ),
    "a byte less": _files(lambda files: [(n, raw[:-1] if n.startswith("squares") else raw) for n, raw in files]),
    "a byte more": _files(lambda files: [(n, raw + b"x" if n.startswith("squares") else raw) for n, raw in files]),
    "manifest of another version": _files(
        lambda files: [(FILE, files[0][1].replace(b'"schema": ', b'"schema": 9')), *files[1:]]
    ),
    "manifest with a path": _files(
        lambda files: [(FILE, files[0][1].replace(b'"name": "squares', b'"name": "../squares')), *files[1:]]
    ),
    "manifest with great sizes": _files(
        lambda files: [(FILE, files[0][1].replace(b'"size": ', b'"size": 99999999999')), *files[1:]]
    ),
    "cut off in a header": lambda files: packed(files)[:700],
    "cut off in a file": lambda files: packed(files)[:-3000],
    "without an end": lambda files: packed(files)[:-1024],
    "one block of zeros": lambda files: packed(files)[:-512],
    "more behind the end": lambda files: packed(files) + b"x",
    "something in the padding": lambda files: packed(files)[:-1025] + b"x" + bytes(1024),
    "a header's sum": lambda files: packed(files)[:148] + b"7" + packed(files)[149:],
    "owner": _field(108, b"0000001"),
    "time": _field(136, b"00000000001"),
    "set-user-ID": _field(100, b"0004755"),
    "prefix": _field(345, b"/etc"),
    "a name that goes on": _field(20, b"x"),
    "a size below zero": _field(124, b"\xff" * 12),
    "a great size": _field(124, b"\x80" + b"\x7f" * 11),
    "a size in spaces": _field(124, b" " * 12),
    "a size with a sign": _field(124, b"-0000000001\0"),
    "by GNU": _field(257, b"ustar  \0"),
    "links": _kind(tarfile.SYMTYPE),
    "hard links": _kind(tarfile.LNKTYPE),
    "folders": _kind(tarfile.DIRTYPE),
    "devices": _kind(tarfile.CHRTYPE),
    "pipes": _kind(tarfile.FIFOTYPE),
    "sparse files": _kind(tarfile.GNUTYPE_SPARSE),
    "pax headers": lambda files: by_tarfile(files, lambda member: member.pax_headers.update(comment="x")),
    "as tarfile writes it": lambda files: by_tarfile(files, lambda member: setattr(member, "mtime", 1e9)),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_files_that_are_no_packed_bundles_leave_nothing(ground: Path, tmp_path: Path, trick: str) -> None:
    raw = HOSTILE[trick](members(ground / "one.tar"))
    assert raw != (ground / "one.tar").read_bytes()
    _check_refused(raw, ground, tmp_path)


HOSTILE_HISTORY: dict[str, Alter] = {
    "an altered log": lambda files: [
        (n, raw.replace(b"scratched", b"stretched") if n == LOG else raw) for n, raw in files
    ],
    "no log": lambda files: [(n, raw) for n, raw in files if n != LOG],
    "a long log": lambda files: [(n, raw * 99_999 if n == LOG else raw) for n, raw in files],
    "another manifest": lambda files: [(n, raw + b" " if n.startswith(HISTORY) else raw) for n, raw in files],
    "another name": lambda files: [(n.replace("y/0001-", "y/0001-0")[:34] + ".json", raw) for n, raw in files],
    "a payload of a former one altered": lambda files: [
        (n, raw[:-1] + b"\7" if n.startswith("baseline") and n not in str(files[0][1]) else raw) for n, raw in files
    ],
    "a payload of a former one less": lambda files: [
        (n, raw) for n, raw in files if not n.startswith("baseline") or n in str(files[0][1])
    ],
}


@pytest.mark.parametrize("trick", HOSTILE_HISTORY)
def test_a_history_that_is_not_its_logs_is_refused(ground: Path, tmp_path: Path, trick: str) -> None:
    _check_refused(packed(HOSTILE_HISTORY[trick](members(ground / "all.tar"))), ground, tmp_path)


def test_a_place_without_room_is_said_before_anything_is_written(
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(DataError, match="free disk space"):
        unpack(ground / "one.tar", tmp_path / "new.spade")
    assert list(tmp_path.iterdir()) == []


def test_pipes_and_folders_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "absent", Path("/dev/zero")):
        with pytest.raises(DataError):
            unpack(path, tmp_path / "new.spade")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def _check_refused(raw: bytes, ground: Path, tmp_path: Path) -> None:
    """Where there is no bundle there is none; a bundle that is there is as before."""
    file = tmp_path / "a.tar"
    file.write_bytes(raw)
    bundle = shutil.copytree(ground / "part.spade", tmp_path / "part.spade")
    for place in (tmp_path / "new.spade", bundle):
        with pytest.raises(SpadeError) as caught:
            unpack(file, place)
        assert caught.value.exit_code == 3 and "\n" not in str(caught.value) and ".building" not in str(caught.value)
    assert contents(bundle) == contents(ground / "part.spade")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "part.spade"]
