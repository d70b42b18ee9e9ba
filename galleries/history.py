"""`history/`: the manifest of every generation of a bundle, and which payload they name."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spade_edge.galleries.disk import flush
from spade_edge.galleries.generation_log import FOUND, MOST, Change, GenerationLog, LogLine
from spade_edge.galleries.signature_files import signature_files
from spade_edge.runtime import BundleError
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, NAME
from spade_edge.runtime.bundle.manifest_file import LARGEST

_KEPT = re.compile(r"(?!0+-)([0-9]{4,9})-([0-9a-f]{16})\.json")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptManifest:
    """A manifest in the history.

    Attributes:
        number: of the generation.
        short: the first 16 digits of its SHA-256.
        path: the file.
    """

    number: int
    short: str
    path: Path


def kept_manifests(bundle: Path) -> list[KeptManifest]:
    """The manifests in the history of a bundle, by number."""
    found = []
    for path in (bundle / HISTORY).glob("*.json"):
        if name := _KEPT.fullmatch(path.name):
            found.append(KeptManifest(int(name[1]), name[2], path))
    return sorted(found, key=lambda kept: (kept.number, kept.short))


def kept_path(bundle: Path, number: int, manifest: str) -> Path:
    """Where the manifest of a generation is kept; `manifest` is its SHA-256."""
    return bundle / HISTORY / f"{number:04d}-{manifest[:16]}.json"


def read_manifest(path: Path) -> bytes:
    """The bytes of a manifest.

    Raises:
        BundleError: it is not a file, too large, or cannot be read.
    """
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            found = "something else" if path.exists() else "none"
            raise BundleError(f"{path}: expected a file of at most {LARGEST >> 20} MB, found {found}")
        return path.read_bytes()
    except OSError as problem:
        raise BundleError(f"{path}: expected a manifest, found: {problem.strerror}") from None


def keep(bundle: Path, number: int, raw: bytes, *, scratch: Path) -> Path:
    """Keep the manifest of a generation; returns its path.

    Args:
        bundle: the bundle folder.
        number: of the generation.
        raw: the manifest.
        scratch: a file on the same disk that it is written to first.

    Raises:
        BundleError: the history is a link or a file.
    """
    path = kept_path(bundle, number, hashlib.sha256(raw).hexdigest())
    make_folder(path.parent)
    scratch.write_bytes(raw)
    flush(scratch)
    scratch.replace(path)
    flush(path.parent)
    return path


def make_folder(folder: Path) -> None:
    """Make a folder of a bundle if it is not there.

    Raises:
        BundleError: there is a link or file in its place.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder}: expected a folder of the bundle, found a link or file; remove it")
    if not folder.exists():
        folder.mkdir()
        flush(folder.parent)


def next_number(bundle: Path, generations: GenerationLog) -> int:
    """The number of the next generation."""
    numbers = [line.number for line in generations.lines] + [kept.number for kept in kept_manifests(bundle)]
    number = max(numbers, default=0) + 1
    if number > MOST:
        raise BundleError(
            f"{bundle}: expected generations up to {MOST}, found more; move {generations.path.name} and history/ away"
        )
    return number


def threshold_of(raw: bytes) -> float | None:
    """The score threshold in a manifest, of whatever version; None if there is none."""
    score = _object(_object(_json(raw)).get("threshold")).get("score")
    return float(score) if isinstance(score, (int, float)) and abs(score) <= sys.float_info.max else None


def payload_of(raw: bytes) -> frozenset[str] | None:
    """The names of the files of a manifest, of whatever version; None if it is no manifest."""
    files = _object(_json(raw)).get("files")
    if not isinstance(files, dict):
        return None
    return frozenset(str(_object(payload).get("name")) for payload in files.values())


def without_lines(bundle: Path, generations: GenerationLog) -> list[LogLine]:
    """Lines that the log lacks: of kept manifests, and of the one in force if the last line names another.

    They are missing in bundles that are older than the log, after somebody has replaced `manifest.json` by hand, and
    after a change that was killed. The manifest in force gets a number even if it is not kept yet.
    """
    lines: list[LogLine] = []
    known = {line.number: line.manifest for line in generations.lines}
    previous = generations.lines[-1] if generations.lines else None
    for kept in kept_manifests(bundle):
        if kept.number in known:
            continue
        raw = _read(kept.path)
        digest = hashlib.sha256(raw).hexdigest()
        if payload_of(raw) is None or not digest.startswith(kept.short):
            continue  # not what its name says
        previous = _found(kept.number, digest, raw, previous, "kept in the history without a line in this log")
        known[kept.number] = digest
        lines.append(previous)
    raw = _read(bundle / FILE)
    digest = hashlib.sha256(raw).hexdigest()
    if payload_of(raw) is None or (previous is not None and previous.manifest == digest):
        return lines
    number = max((number for number, manifest in known.items() if manifest == digest), default=None)
    if number is None:
        reason = "in force without a line in this log"
        number = max([*known, *(kept.number for kept in kept_manifests(bundle))], default=0) + 1
    else:
        reason = "in force again, though the line before this one names another"
    return [*lines, _found(number, digest, raw, previous, reason)]


def adopt(bundle: Path, generations: GenerationLog, *, scratch: Path) -> None:
    """Write the lines that the log lacks, and keep the manifest in force.

    Args:
        bundle: the bundle folder.
        generations: its log, locked.
        scratch: as for `keep`.
    """
    lines = without_lines(bundle, generations)
    raw = _read(bundle / FILE)
    last = lines[-1] if lines else generations.lines[-1] if generations.lines else None
    if last is not None and payload_of(raw) is not None:
        path = kept_path(bundle, last.number, last.manifest)
        if last.number not in generations.pruned and not path.exists():
            keep(bundle, last.number, raw, scratch=scratch)
    if lines:
        generations.append(lines)


def sweep(bundle: Path, generations: GenerationLog) -> int:
    """Delete what no generation needs: what was pruned, and payload that an interrupted change has left.

    Args:
        bundle: the bundle folder.
        generations: its log, locked.

    Returns:
        how many bytes were deleted.
    """
    manifests = {line.number: line.manifest for line in generations.lines}
    needed = {manifest for number, manifest in manifests.items() if number not in generations.pruned}
    size = 0
    for kept in kept_manifests(bundle):
        if kept.number in generations.pruned and manifests.get(kept.number, "").startswith(kept.short):
            size += _delete(kept.path)
    for number in generations.pruned:
        manifest = manifests.get(number)
        if manifest is not None and manifest not in needed:
            for path in signature_files(bundle, manifest):
                size += _delete(path)
    for path in _unneeded(bundle):
        size += _delete(path)
    return size


def _unneeded(bundle: Path) -> list[Path]:
    """Payload that no manifest names, nor any other JSON file that lies beside `manifest.json`."""
    in_force = payload_of(_read(bundle / FILE))
    if in_force is None:
        return []  # nothing is sure
    present = {path.name: path for path in bundle.iterdir() if NAME.fullmatch(path.name) and path.is_file()}
    left = set(present) - in_force
    for path in bundle.glob("*.json"):
        left -= payload_of(_read(path)) or frozenset()
    for kept in reversed(kept_manifests(bundle)):
        if not left:
            break
        names = payload_of(_read(kept.path))
        if names is None:
            return []
        left -= names
    return [present[name] for name in sorted(left)]


def _delete(path: Path) -> int:
    size = path.stat().st_size
    try:
        path.unlink()
    except PermissionError:  # on Windows, where a running scorer has the file mapped
        log.info("%s is in use and stays until the next change", path)
        return 0
    log.info("deleted %s", path)
    return size


def _found(number: int, manifest: str, raw: bytes, previous: LogLine | None, reason: str) -> LogLine:
    return LogLine.of(
        Change(FOUND, reason),
        number=number,
        manifest=manifest,
        came_from=None if previous is None else previous.number,
        thresholds=(None if previous is None else previous.threshold, threshold_of(raw)),
    )


def _read(path: Path) -> bytes:
    """The bytes of a manifest; none if it cannot be read."""
    try:
        return read_manifest(path)
    except BundleError:
        return b""


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
