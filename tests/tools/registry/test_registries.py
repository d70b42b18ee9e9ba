"""What every kind of registry does: a docker-registry, a folder, and a bucket of an S3 server."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from registries import Passing

from spade_edge.galleries import set_threshold
from spade_edge.runtime import BundleError, DataError, SpadeError, UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.registry import (
    Artifact,
    Blob,
    Reference,
    Registry,
    artifact_of,
    back,
    channel,
    moves,
    open_registry,
    promote,
    published,
    push,
)
from spade_edge.tools.remote import MissingError
from spade_edge.tools.signing import PublicKey, new_key, sign

BOLT = Reference("press-3/bolt")
everywhere = pytest.mark.parametrize("address", ["docker", "folder", "s3"], indirect=True)


def short(bundle: Path) -> str:
    return hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()[:16]


class Gone(BaseException):
    """The process is gone: nothing catches this."""


@dataclass
class Counting(Passing):
    """A registry of which only so many changes are done, and then the process is gone."""

    most: int
    done: int = 0

    def put(self, name: str, blob: Blob, content: bytes | Path, *, siblings: Sequence[str] = ()) -> int:
        self._step()
        return self.inner.put(name, blob, content, siblings=siblings)

    def put_manifest(self, name: str, raw: bytes) -> None:
        self._step()
        self.inner.put_manifest(name, raw)

    def put_tag(self, name: str, tag: str, raw: bytes) -> None:
        self._step()
        self.inner.put_tag(name, tag, raw)

    def _step(self) -> None:
        self.done += 1
        if self.done > self.most:
            raise Gone


def whole(registry: Registry, name: str, folder: Path) -> dict[str, str]:
    """Tag to bundle of all that a registry shows, after every file was fetched."""
    found = {}
    try:
        tags = registry.tags(name)
    except MissingError:
        return {}
    for tag in tags:
        if not tag.endswith(".record"):
            artifact = artifact_of(registry, Reference(name, tag=tag))
            for layer in artifact.layers:
                registry.fetch(name, layer, folder / layer.title)
            found[tag] = artifact.bundle[:16]
    return found


# Push


@everywhere
def test_a_bundle_comes_back_as_it_was_pushed(
    registry: Registry, two_versions: tuple[Path, Path], tmp_path: Path
) -> None:
    first, _ = two_versions
    pushed = push(first, registry, BOLT)
    assert (pushed.name, pushed.tag, pushed.bundle[:16]) == ("press-3/bolt", short(first), short(first))
    artifact = artifact_of(registry, Reference.of(f"press-3/bolt@{pushed.digest}"))
    assert artifact == artifact_of(registry, Reference.of(f"press-3/bolt:{pushed.tag}"))
    assert artifact == artifact_of(registry, Reference.of(f"press-3/bolt@{pushed.digest[:12]}"))
    manifest = Manifest.read(first)
    assert [layer.title for layer in artifact.layers] == [
        "manifest.json",
        *sorted(payload.name for payload in manifest.files.values()),
    ]
    for layer in artifact.layers:
        registry.fetch("press-3/bolt", layer, tmp_path / "out" / layer.title)
        assert (tmp_path / "out" / layer.title).read_bytes() == (first / layer.title).read_bytes()
    assert json.loads(registry.read("press-3/bolt", artifact.config, most=10_000)) == {
        "bundle": hashlib.sha256((first / "manifest.json").read_bytes()).hexdigest(),
        "schema": 9,
        "version": manifest.writer,
        "created": manifest.created,
        "images": 4,
        "threshold": manifest.threshold.score,
    }


def test_the_same_bundle_has_the_same_digest_in_every_registry(
    docker: str, buckets: Callable[[], str], two_versions: tuple[Path, Path], tmp_path: Path
) -> None:
    places = [f"{docker}/same", buckets(), str(tmp_path)]
    raw = set()
    for place in places:
        registry = open_registry(place)
        pushed = push(two_versions[0], registry, BOLT)
        raw.add(registry.manifest("press-3/bolt", pushed.tag))
        assert hashlib.sha256(registry.manifest("press-3/bolt", pushed.digest)).hexdigest() == pushed.digest
    assert len(raw) == 1


@everywhere
def test_only_what_is_missing_is_sent(registry: Registry, two_versions: tuple[Path, Path]) -> None:
    first, second = two_versions
    once = push(first, registry, BOLT)
    assert once.sent == once.size
    assert push(first, registry, BOLT).sent == 0
    again = push(second, registry, BOLT)
    manifest = (second / "manifest.json").stat().st_size
    assert manifest < again.sent < manifest + 1000 < again.size / 10  # and the config
    other = push(first, registry, Reference("nut"))
    model = Manifest.read(first).files["model"]
    assert other.sent <= other.size - model.size  # the model is taken over from the other bundle


def test_a_push_that_is_killed_anywhere_publishes_nothing_and_is_completed_by_the_next(
    registry: Registry, two_versions: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = two_versions
    total = Counting(registry, most=1 << 30)
    push(first, total, Reference("counted"))
    push(first, registry, BOLT)
    for most in (0, 1, total.done // 2, total.done - 2, total.done - 1):
        with pytest.raises(Gone):
            push(second, Counting(registry, most=most), BOLT)
        assert whole(registry, "press-3/bolt", tmp_path) == {short(first): short(first)}
        with pytest.raises(Gone):
            push(second, Counting(registry, most=most), Reference("nut"))
        assert whole(registry, "nut", tmp_path) == {}
    assert push(second, registry, BOLT).sent == 0  # everything but the tag was there
    assert whole(registry, "press-3/bolt", tmp_path) == {one: one for one in (short(first), short(second))}


def test_a_tag_of_a_version_is_not_moved_but_latest_is(registry: Registry, two_versions: tuple[Path, Path]) -> None:
    first, second = two_versions
    for tag in ("v1", "latest"):
        push(first, registry, Reference("press-3/bolt", tag=tag))
    push(first, registry, Reference("press-3/bolt", tag="v1"))
    with pytest.raises(UsageError, match="names another version"):
        push(second, registry, Reference("press-3/bolt", tag="v1"))
    promote(registry, Reference("press-3/bolt", tag="v1"), "production")
    with pytest.raises(UsageError, match="names another version.*promote"):
        push(second, registry, Reference("press-3/bolt", tag="production"))
    assert artifact_of(registry, Reference("press-3/bolt", tag="v1")).bundle[:16] == short(first)
    push(second, registry, Reference("press-3/bolt", tag="latest"))
    assert artifact_of(registry, Reference("press-3/bolt", tag="latest")).bundle[:16] == short(second)
    with pytest.raises(UsageError, match="found a digest"):
        push(first, registry, Reference.of("press-3/bolt@" + "a" * 64))


def test_signatures_go_with_the_bundle_and_may_come_later(
    registry: Registry, two_versions: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle = tmp_path / "part.spade"
    shutil.copytree(two_versions[0], bundle)
    unsigned = push(bundle, registry, BOLT)
    public = new_key(tmp_path / "line.key")
    with pytest.raises(BundleError, match="expected a signature"):
        push(bundle, registry, BOLT, keys=[public])
    signed = sign(bundle, tmp_path / "line.key")
    pushed = push(bundle, registry, BOLT, keys=[PublicKey.read(tmp_path / "line.key.pub")])
    assert (pushed.tag, pushed.bundle) == (unsigned.tag, unsigned.bundle) and pushed.digest != unsigned.digest
    versions, problems = published(registry, "press-3/bolt")
    assert [one.signed_by for one in versions] == [(signed.key[:16],)] and problems == ()
    artifact = artifact_of(registry, Reference("press-3/bolt", tag=pushed.tag))
    assert artifact.layers[1].title == f"signatures/{signed.signature.name}"
    signed.signature.rename(tmp_path / "kept")
    with pytest.raises(UsageError, match="expected a bundle with the signatures that it has there"):
        push(bundle, registry, BOLT)
    assert artifact_of(registry, Reference("press-3/bolt", tag=pushed.tag)) == artifact
    (tmp_path / "kept").rename(signed.signature)
    set_threshold(bundle, score=8.0, reason="x")  # signatures of former manifests stay where they are
    assert len(artifact_of(registry, Reference("press-3/bolt", tag=push(bundle, registry, BOLT).tag)).layers) == (
        len(artifact.layers) - 1
    )


def test_a_damaged_bundle_is_not_pushed(two_versions: tuple[Path, Path], tmp_path: Path) -> None:
    bundle = tmp_path / "part.spade"
    shutil.copytree(two_versions[0], bundle)
    model = bundle / Manifest.read(bundle).files["model"].name
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    registry = open_registry(str(tmp_path / "registry"))
    with pytest.raises(BundleError, match="was altered"):
        push(bundle, registry, BOLT)
    assert registry.names() == () and not (tmp_path / "registry").exists()


# What there is


def test_versions_are_listed_with_tags_and_channels(registry: Registry, two_versions: tuple[Path, Path]) -> None:
    assert registry.names() == ()
    with pytest.raises(MissingError, match="bolt"):
        published(registry, "press-3/bolt")
    one = push(two_versions[0], registry, BOLT)
    push(two_versions[1], registry, Reference("press-3/bolt", tag="latest"))
    push(two_versions[0], registry, Reference("nut"))
    promote(registry, Reference("press-3/bolt", digest=one.digest), "production")
    assert registry.names() == ("nut", "press-3/bolt")
    versions, problems = published(registry, "press-3/bolt")
    assert problems == ()
    assert {found.about.bundle[:16]: (set(found.tags), found.channels) for found in versions} == {
        short(two_versions[0]): ({one.tag, "production"}, ("production",)),
        short(two_versions[1]): ({"latest"}, ()),
    }
    assert {found.about.threshold for found in versions} == {5.0, Manifest.read(two_versions[0]).threshold.score}


def test_what_spade_edge_did_not_push_is_named_and_left_out(
    registry: Registry, two_versions: tuple[Path, Path]
) -> None:
    push(two_versions[0], registry, BOLT)
    config = Blob.of(b"{}", media="application/vnd.oci.empty.v1+json")
    layer = Blob.of(b"x", media="text/plain", title="readme")
    for blob, content in ((config, b"{}"), (layer, b"x")):
        registry.put("press-3/bolt", blob, content)
    foreign = Artifact("application/vnd.example", config, (layer,), "2026").to_bytes()
    registry.put_manifest("press-3/bolt", foreign)
    registry.put_tag("press-3/bolt", "readme", foreign)
    versions, problems = published(registry, "press-3/bolt")
    assert len(versions) == 1 and len(problems) == 1 and "press-3/bolt:readme: expected what spade-edge" in problems[0]
    with pytest.raises(DataError, match=r"found 'application/vnd\.example'"):
        promote(registry, Reference("press-3/bolt", tag="readme"), "production")


def test_what_is_not_there_is_said(registry: Registry, two_versions: tuple[Path, Path]) -> None:
    push(two_versions[0], registry, BOLT)
    for text in ("press-3/bolt:other", "nut:v1", "press-3/bolt@" + "0" * 64, "press-3/bolt@00000000"):
        with pytest.raises(MissingError, match="expected a (bundle that was pushed|version), found none"):
            artifact_of(registry, Reference.of(text))
    with pytest.raises(UsageError, match="found a name alone"):
        artifact_of(registry, BOLT)


# Channels


@everywhere
def test_a_channel_goes_forth_and_back_and_tells_who_moved_it(
    registry: Registry, two_versions: tuple[Path, Path]
) -> None:
    one, two = (push(bundle, registry, BOLT).digest for bundle in two_versions)
    name = "press-3/bolt"
    assert promote(registry, Reference(name, digest=one), "production", who="Anna", reason="first").came_from == ""
    assert promote(registry, Reference(name, digest=two), "production", who="Ben").came_from == one
    assert not promote(registry, Reference(name, digest=two), "production").moved
    assert back(registry, name, "production", who="Cleo", reason="too many rejects").digest == one
    with pytest.raises(UsageError, match="found its first one"):
        back(registry, name, "production")
    assert promote(registry, Reference(name, digest=two), "production").moved
    assert artifact_of(registry, Reference(name, tag="production")).digest == two
    assert [(m.digest, m.came_from, m.who, m.verb, m.reason) for m in moves(registry, name, "production")[:3]] == [
        (one, "", "Anna", "promote", "first"),
        (two, one, "Ben", "promote", ""),
        (one, two, "Cleo", "back", "too many rejects"),
    ]
    assert len(moves(registry, name, "production")) == 4


def test_a_version_is_no_channel(registry: Registry, two_versions: tuple[Path, Path]) -> None:
    pushed = push(two_versions[0], registry, Reference("press-3/bolt", tag="v1"))
    for tag in ("v1", "latest"):
        with pytest.raises(UsageError, match="expected a channel or a free tag"):
            promote(registry, Reference("press-3/bolt", digest=pushed.digest), tag)
    with pytest.raises(UsageError, match="found the tag of a version"):
        promote(registry, Reference("press-3/bolt", digest=pushed.digest), "latest", even_so=True)
    with pytest.raises(UsageError, match="expected a channel, found none"):
        back(registry, "press-3/bolt", "v1")
    with pytest.raises(MissingError, match="expected a channel"):
        moves(registry, "press-3/bolt", "v1")


def test_a_version_that_was_pushed_to_the_name_of_a_channel_becomes_one_if_it_is_asked_for(
    registry: Registry, two_versions: tuple[Path, Path]
) -> None:
    name = "press-3/bolt"
    one, two = (
        push(bundle, registry, Reference(name, tag=tag)).digest
        for bundle, tag in zip(two_versions, ("production", "v2"), strict=True)
    )
    done = promote(registry, Reference(name, tag="v2"), "production", who="Anna", even_so=True)
    assert (done.digest, done.came_from, done.moved) == (two, one, True)
    assert [(m.digest, m.came_from, m.verb) for m in moves(registry, name, "production")] == [
        (one, "", "found"),
        (two, one, "promote"),
    ]
    assert back(registry, name, "production").digest == one


def test_a_promotion_that_is_killed_anywhere_leaves_the_old_or_the_new_and_the_way_back(
    two_versions: tuple[Path, Path], tmp_path: Path
) -> None:
    name = "press-3/bolt"
    one, two = (push(bundle, open_registry(str(tmp_path / "pushed")), BOLT).digest for bundle in two_versions)
    for most in range(20):
        shutil.copytree(tmp_path / "pushed", tmp_path / str(most))
        registry = open_registry(str(tmp_path / str(most)))
        counting = Counting(registry, most=most)
        try:
            promote(counting, Reference(name, digest=one), "production")
            promote(counting, Reference(name, digest=two), "production")
            ended = True
        except Gone:
            ended = False
        try:
            now = artifact_of(registry, Reference(name, tag="production")).digest
        except MissingError:
            now = ""
        assert now in ("", one, two)
        promote(registry, Reference(name, digest=one), "production")
        promote(registry, Reference(name, digest=two), "production")
        assert moves(registry, name, "production")[-1].digest == two
        assert back(registry, name, "production").digest == one
        if ended:
            assert most > 8
            return
    raise AssertionError("it never ended")


def test_a_way_back_that_is_killed_and_repeated_does_not_lead_forth(
    two_versions: tuple[Path, Path], tmp_path: Path
) -> None:
    registry, name = open_registry(str(tmp_path)), "press-3/bolt"
    one, two = (push(bundle, registry, BOLT).digest for bundle in two_versions)
    for version in (one, two):
        promote(registry, Reference(name, digest=version), "production")
    with pytest.raises(Gone):
        back(Counting(registry, most=1), name, "production")  # the tag is moved, the record is not written
    assert artifact_of(registry, Reference(name, tag="production")).digest == one
    with pytest.raises(UsageError, match="found its first one"):
        back(registry, name, "production")
    assert [move.verb for move in moves(registry, name, "production")] == ["promote", "promote", "found"]
    promote(registry, Reference(name, digest=two), "production")
    assert back(registry, name, "production").digest == one


def test_moves_of_two_people_at_once_are_both_entered(
    two_versions: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = open_registry(str(tmp_path))
    one, two = (push(bundle, registry, BOLT).digest for bundle in two_versions)
    write, others = channel._write, iter([True])

    def written_over(where: Registry, name: str, tag: str, known: Sequence[channel.Move]) -> None:
        """While Anna writes her move, Ben, who has read the record before, writes his over it."""
        write(where, name, tag, known)
        if any(move.who == "Anna" for move in known) and next(others, False):
            ben = channel.Move(two, one, "2026-11-28T00:00:00+00:00", "Ben", "promote", "")
            write(where, name, tag, (*(move for move in known if move.who != "Anna"), ben))

    promote(registry, Reference("press-3/bolt", digest=one), "production", who="first")
    monkeypatch.setattr(channel, "_write", written_over)
    promote(registry, Reference("press-3/bolt", digest=two), "production", who="Anna")
    assert [move.who for move in moves(registry, "press-3/bolt", "production")] == ["first", "Ben", "Anna"]


# Registries that lie


@pytest.mark.parametrize("what", ["manifest", "blob", "tag"])
def test_what_was_altered_in_a_folder_is_noticed(what: str, two_versions: tuple[Path, Path], tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path / "registry"))
    pushed = push(two_versions[0], registry, BOLT)
    layer = artifact_of(registry, Reference("press-3/bolt", tag=pushed.tag)).layers[0]
    places = {
        "manifest": f"bundles/press-3/bolt/manifests/{pushed.digest}.json",
        "blob": f"blobs/sha256/{layer.sha256}",
        "tag": f"bundles/press-3/bolt/tags/{pushed.tag}",
    }
    path = tmp_path / "registry" / places[what]
    raw = path.read_bytes()
    path.write_bytes(re.sub(rb'created":"\d{4}', b'created":"1999', raw) if what == "manifest" else raw[:-3] + b"x")
    with pytest.raises(SpadeError, match="expected"):
        registry.fetch(
            "press-3/bolt", artifact_of(registry, Reference("press-3/bolt", tag=pushed.tag)).layers[0], tmp_path / "x"
        )
    assert not (tmp_path / "x").exists()
