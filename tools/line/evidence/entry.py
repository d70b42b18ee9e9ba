"""What was kept of one part, and finding it again: newest first, without reading what is not asked for.

    2026-11-28/16/                                  a day and an hour, UTC
        164503.123.top.4711.defect.3056k/           time, camera, number, verdict, size
            decision.json                           the decision, and the SHA-256 of the frame's file
            frame.png                               the frame as it was judged, lossless
            overlay.jpg                             the frame under its anomaly map

A folder that is named like this and has a decision.json is an entry; everything else is left alone. Another process may
read while the service writes and removes: an entry that goes in between is passed over.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.line.decision import DECISIONS

FORMAT, VERSION = "spade-edge evidence", 1
DECISION, FRAME, OVERLAY = "decision.json", "frame.png", "overlay.jpg"
LARGEST = 4_000_000  # bytes of a decision.json that is read
KILO = 1024  # bytes; the unit of the size in a name
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
HOUR = re.compile(r"[0-9]{2}")
NAME = re.compile(
    r"(?P<time>[0-9]{6}\.[0-9]{3})\.(?P<camera>[A-Za-z0-9_-]{1,64})\.(?P<number>[0-9]{1,15})\."
    rf"(?P<verdict>{'|'.join(DECISIONS)})\.(?P<size>[0-9]{{1,9}})k"
)
_CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # Windows has neither
_TEXTS = ("line", "camera", "trigger", "triggered", "decided", "verdict", "gate", "reason", "recipe", "bundle")


@dataclass(frozen=True)
class Entry:
    """What was kept of one part.

    Attributes:
        id: its path in the folder of the evidence, such as "2026-11-28/16/164503.123.top.4711.defect.3056k".
        time: of its trigger, UTC.
        decision: as `Decision.to_json` gives it.
        frame: file of the frame, PNG; None if no frame came.
        overlay: file of the frame under its anomaly map, JPEG; None if the frame was not scored.
        frame_sha256: SHA-256 of the file of the frame, hexadecimal; empty if there is none.
    """

    id: str
    time: datetime
    decision: dict[str, Any]
    frame: Path | None
    overlay: Path | None
    frame_sha256: str


def entries(
    folder: Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    cameras: Collection[str] = (),
    verdicts: Collection[str] = (),
    limit: int | None = None,
) -> Iterator[Entry]:
    """The entries of a folder, newest first; read one by one as they are asked for.

    Args:
        folder: of the evidence.
        since: the earliest time of a trigger, with a time zone; None for any.
        until: the time before which triggers came, with a time zone; None for any.
        cameras: names; empty for all.
        verdicts: empty for all.
        limit: how many at most; None for all.

    Raises:
        DataError: the folder is not there or cannot be read.
    """
    found = 0
    for id, name in _names(folder, since, until):
        if limit is not None and found >= limit:
            return
        if (cameras and name["camera"] not in cameras) or (verdicts and name["verdict"] not in verdicts):
            continue
        entry = _read(folder, id)
        if entry is not None:
            found += 1
            yield entry


def find(folder: Path, id: str) -> Entry:
    """The entry of an id, which may come from outside: nothing but an entry of this folder is found.

    Raises:
        UsageError: this is no id.
        DataError: the entry is not there, or not any more.
    """
    day, hour, name = (*id.split("/"), "", "")[:3]
    if id.count("/") != 2 or not (DAY.fullmatch(day) and HOUR.fullmatch(hour) and NAME.fullmatch(name)):
        raise UsageError("expected the id of an entry as 'spade-edge evidence list' prints it, found another text")
    places = (folder / day, folder / day / hour, folder / id)
    entry = _read(folder, id) if all(map(_is_folder, places)) else None
    if entry is None:
        raise DataError(f"expected an entry {id} in {folder}, found none; the oldest are removed")
    return entry


def path_of(time: float, *, camera: str, number: int, verdict: str, kilobytes: int) -> tuple[str, str, str]:
    """Day, hour and name of an entry.

    Args:
        time: of its trigger, in seconds since 1970.
        camera: of its decision.
        number: of its trigger.
        verdict: of its decision.
        kilobytes: space on the disk.
    """
    moment = datetime.fromtimestamp(time, timezone.utc)
    clock = f"{moment:%H%M%S}.{moment.microsecond // 1000:03d}"
    return f"{moment:%Y-%m-%d}", f"{moment:%H}", f"{clock}.{camera}.{number}.{verdict}.{kilobytes}k"


def subfolders(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    """The names of the folders in a folder that match a pattern, ascending; links are none. Empty if it is gone."""
    try:
        with os.scandir(folder) as found:
            return sorted(
                one.name for one in found if pattern.fullmatch(one.name) and one.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []


def in_order(names: Collection[str]) -> list[str]:
    """Names of entries of one hour, oldest first."""

    def order(name: str) -> tuple[str, str, int]:
        match = NAME.fullmatch(name)
        return ("", "", 0) if match is None else (match["time"], match["camera"], int(match["number"]))

    return sorted(names, key=order)


def _names(folder: Path, since: datetime | None, until: datetime | None) -> Iterator[tuple[str, re.Match[str]]]:
    """The ids in a span of time, newest first, and the parts of their names."""
    try:
        with os.scandir(folder):
            pass
    except OSError as problem:
        raise DataError(f"{folder}: expected a folder with evidence, found: {problem.strerror}") from None
    first, last = _text(since), _text(until)
    for day in reversed(subfolders(folder, DAY)):
        if (first and day < first[:10]) or (last and day > last[:10]):
            continue
        for hour in reversed(subfolders(folder / day, HOUR)):
            if (first and f"{day} {hour}" < first[:13]) or (last and f"{day} {hour}" > last[:13]):
                continue
            for name in reversed(in_order(subfolders(folder / day / hour, NAME))):
                match = NAME.fullmatch(name)
                assert match is not None  # noqa: S101
                moment = f"{day} {match['time']}"
                if (first and moment < first) or (last and moment >= last):
                    continue
                yield f"{day}/{hour}/{name}", match


def _text(moment: datetime | None) -> str:
    """A time as names have it, rounded up to the next millisecond, so that texts compare as times do."""
    if moment is None:
        return ""
    rounded = moment.astimezone(timezone.utc) + timedelta(microseconds=-moment.microsecond % 1000)
    return f"{rounded:%Y-%m-%d %H%M%S}.{rounded.microsecond // 1000:03d}"


def _read(folder: Path, id: str) -> Entry | None:
    """An entry; None if it is gone, not whole, or not what the service has written."""
    place = folder / id
    raw = _content(place / DECISION)
    try:
        fields = None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or (fields.get("format"), fields.get("version")) != (FORMAT, VERSION):
        return None
    decision, digest = fields.get("decision"), fields.get("frame_sha256", "")
    if not (isinstance(decision, dict) and _is_decision(decision) and isinstance(digest, str)):
        return None
    try:
        time = datetime.strptime(f"{id[:10]} {id[14:24]}", "%Y-%m-%d %H%M%S.%f").replace(tzinfo=timezone.utc)
    except ValueError:  # a name that is no time
        return None
    return Entry(id, time, decision, _file(place / FRAME), _file(place / OVERLAY), digest)


def _content(path: Path) -> bytes | None:
    """The content of a file; None if it is none, or too large. A link is none; a pipe would wait for ever."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _CAREFULLY)
    except OSError:
        return None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _is_decision(fields: dict[str, Any]) -> bool:
    """Whether the fields that readers rely on are there and of the right type."""
    if not all(isinstance(fields.get(name), str) for name in _TEXTS):
        return False
    score = fields.get("score")
    return type(fields.get("number")) is int and (score is None or isinstance(score, (int, float)))


def _file(path: Path) -> Path | None:
    try:
        return path if stat.S_ISREG(path.lstat().st_mode) else None
    except OSError:
        return None


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
