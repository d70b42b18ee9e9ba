"""Channels: tags such as "production" that devices follow, and the record of who moved them, when, and from where.

A channel is moved in one step, by its tag. The record is an artifact of its own beside it, under the tag
CHANNEL.record: one JSON line for each move. It is written after the tag, so it never tells of a move that was not made.
A move that it lacks, because a command was killed in between, is known from what the next one came from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from spade_edge.galleries.free_text import storable
from spade_edge.galleries.generation_log import user_and_host
from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.runtime.fields import Fields, parse
from spade_edge.tools.registry.artifact import CHANNEL, EMPTY, LINES, NOTHING, Artifact, Blob
from spade_edge.tools.registry.reference import LATEST, RECORD, Reference
from spade_edge.tools.registry.registry import Registry, artifact_of
from spade_edge.tools.remote import MissingError

PROMOTE, BACK, FOUND = "promote", "back", "found"
MOST = 1000  # moves that are kept
LARGEST = 1 << 20  # bytes of a record
TRIES = 5  # to enter a move while others enter theirs
TITLE = "moves.jsonl"


@dataclass(frozen=True)
class Move:
    """A channel was moved.

    Attributes:
        digest: of the artifact that it pointed at from then on.
        came_from: of the one before; empty for the first.
        when: UTC, ISO 8601, by the clock of the machine.
        who: user and host, or as they said.
        verb: "promote", "back", or "found" for a move that nobody had entered.
        reason: why, in the words of whoever did it.
    """

    digest: str
    came_from: str
    when: str
    who: str
    verb: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        return {"from" if name == "came_from" else name: own for name, own in value.items()}

    @classmethod
    def from_fields(cls, fields: Fields) -> Move:
        move = cls(
            digest=fields.text("digest"),
            came_from=fields.text("from"),
            when=fields.text("when"),
            who=fields.text("who"),
            verb=fields.text("verb", among=(PROMOTE, BACK, FOUND)),
            reason=fields.text("reason"),
        )
        fields.done()
        return move


@dataclass(frozen=True)
class Promotion:
    """What a channel points at now.

    Attributes:
        name: of the bundle.
        channel: its tag.
        digest: of the artifact.
        bundle: SHA-256 of the bundle's manifest.
        came_from: digest of the artifact before; empty for none.
        moved: whether it was another one before.
    """

    name: str
    channel: str
    digest: str
    bundle: str
    came_from: str
    moved: bool

    def to_json(self) -> dict[str, Any]:
        """As `spade-edge fleet promote --json` prints it."""
        value = asdict(self)
        return {"from" if name == "came_from" else name: own for name, own in value.items()}


def promote(
    registry: Registry, reference: Reference, channel: str, *, who: str = "", reason: str = "", even_so: bool = False
) -> Promotion:
    """Let a channel point at a version.

    Args:
        registry: where both are.
        reference: the version.
        channel: a tag that is a channel already, or is free.
        who: does it; "" for user and host of this process.
        reason: why.
        even_so: make a channel of a tag that names a version, as after a push to the name of a channel to be.

    Raises:
        MissingError: there is no such version.
        UsageError: the tag is no channel.
        DataError: the registry cannot be read or written.
    """
    artifact = artifact_of(registry, reference)
    name = reference.name
    now, known = _state(registry, name, channel)
    if known is None:
        if channel == LATEST or (now and not even_so):
            raise UsageError(
                f"{registry.address}: {name}:{channel}: expected a channel or a free tag, found the tag of a version; "
                "choose another name for the channel, or make a channel of it with --even-so"
            )
        known = _unentered((), now)
        _write(registry, name, channel, known)  # so that the tag is known to be a channel, whatever happens
    _move(registry, Reference(name, tag=channel), artifact, _entry(artifact.digest, now, PROMOTE, who, reason))
    return Promotion(name, channel, artifact.digest, artifact.bundle, now, moved=now != artifact.digest)


def back(registry: Registry, name: str, channel: str, *, who: str = "", reason: str = "") -> Promotion:
    """Let a channel point at the version that it had before the present one; once more goes one further back.

    Raises:
        UsageError: the tag is no channel, or has its first version.
        MissingError: that version is gone.
        DataError: the registry cannot be read or written.
    """
    now, known = _state(registry, name, channel)
    if known is None or not now:
        raise UsageError(
            f"{registry.address}: {name}:{channel}: expected a channel, found none; promote a version first"
        )
    ways = _ways((*known, *_unentered(known, now)))
    if len(ways) < 2:
        raise UsageError(f"{registry.address}: {name}:{channel}: expected a version to go back to, found its first one")
    artifact = artifact_of(registry, Reference(name, digest=ways[-2]))
    _move(registry, Reference(name, tag=channel), artifact, _entry(artifact.digest, now, BACK, who, reason))
    return Promotion(name, channel, artifact.digest, artifact.bundle, now, moved=True)


def moves(registry: Registry, name: str, channel: str) -> tuple[Move, ...]:
    """The moves of a channel, the oldest first; also one that nobody has entered.

    Raises:
        MissingError: it is no channel.
        DataError: the registry cannot be read, or the record is damaged.
    """
    now, known = _state(registry, name, channel)
    if known is None:
        raise MissingError(f"{registry.address}: {name}:{channel}: expected a channel, found none")
    return (*known, *_unentered(known, now))


def _state(registry: Registry, name: str, channel: str) -> tuple[str, tuple[Move, ...] | None]:
    """The digest that a channel points at, empty for none, and its moves; None if the tag is no channel."""
    try:
        now = artifact_of(registry, Reference(name, tag=channel)).digest
    except MissingError:
        now = ""
    source = f"{registry.address}: {name}:{channel}{RECORD}"
    try:
        raw = registry.manifest(name, f"{channel}{RECORD}")
    except MissingError:
        return now, None
    record = Artifact.from_bytes(raw, kind=CHANNEL, source=source)
    lines = registry.read(name, record.layers[0], most=LARGEST).split(b"\n")
    return now, tuple(
        Move.from_fields(parse(line, where=f"{source}: line {number}", error=DataError))
        for number, line in enumerate(lines, 1)
        if line
    )


def _entry(digest: str, before: str, verb: str, who: str, reason: str) -> Move:
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Move(digest, before, when, storable(who or user_and_host()), verb, storable(reason))


def _unentered(known: Sequence[Move], now: str) -> tuple[Move, ...]:
    """The move that the record lacks."""
    last = known[-1].digest if known else ""
    return (_entry(now, last, FOUND, "unknown", ""),) if now and now != last else ()


def _ways(known: Sequence[Move]) -> list[str]:
    """The versions on which the present one stands, the oldest first: going back takes the last one off."""
    ways: list[str] = []
    for move in known:
        if move.came_from and ways[-1:] != [move.came_from]:
            ways.append(move.came_from)  # by a move that was not entered
        if move.verb in (BACK, FOUND) and len(ways) > 1 and ways[-2] == move.digest:
            ways.pop()  # also if it was not entered: who goes back once more must not arrive where they came from
        elif not ways or ways[-1] != move.digest:
            ways.append(move.digest)
    return ways


def _move(registry: Registry, place: Reference, artifact: Artifact, move: Move) -> None:
    """Move the tag of a channel, then enter it into the record."""
    if move.came_from == artifact.digest:
        return
    name, channel = place.name, place.tag
    registry.put_tag(name, channel, artifact.to_bytes())
    for _ in range(TRIES):  # somebody else may enter a move at the same time
        _, known = _state(registry, name, channel)
        known = known or ()
        if move in known:
            return
        _write(registry, name, channel, (*known, move)[-MOST:])
    raise DataError(
        f"{registry.address}: {name}:{channel}: the channel was moved, but its record is being written by others; look "
        "at it with 'spade-edge fleet list'"
    )


def _write(registry: Registry, name: str, channel: str, known: Sequence[Move]) -> None:
    lines = "".join(json.dumps(move.to_json()) + "\n" for move in known).encode()
    config = Blob.of(NOTHING, media=EMPTY)
    layer = Blob.of(lines, media=LINES, title=TITLE)
    record = Artifact(CHANNEL, config, (layer,), known[-1].when if known else "").to_bytes()
    registry.put(name, config, NOTHING)
    registry.put(name, layer, lines)
    registry.put_manifest(name, record)
    registry.put_tag(name, f"{channel}{RECORD}", record)
