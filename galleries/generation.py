"""The generations of a bundle, and going back to one of them: its manifest is put in force again, byte for byte."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from spade_edge.galleries.generation_log import LOG, Change, GenerationLog, LogLine, read_log
from spade_edge.galleries.history import adopt, kept_path, read_manifest, sweep, threshold_of, without_lines
from spade_edge.galleries.staging import Staging, staging, switch
from spade_edge.runtime import BundleError, UsageError
from spade_edge.runtime.bundle.bundle import check_files
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest
from spade_edge.runtime.digest import sha256

UNDO, BACK_TO, PRUNE = "undo", "back-to", "prune"
KEEP = 5  # generations, by default

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generation(LogLine):
    """A line of a bundle's log, and what has become of the generation.

    Attributes:
        in_force: whether frames are scored with it. Of several lines of a generation, the last says so.
        kept: whether one can go back to it: its manifest has not been deleted.
    """

    in_force: bool = False
    kept: bool = True


@dataclass(frozen=True)
class Pruned:
    """What was deleted from a bundle.

    Attributes:
        numbers: of the generations.
        kept: numbers of those that are left.
        size: bytes of the files.
    """

    numbers: tuple[int, ...]
    kept: tuple[int, ...]
    size: int


def generations(bundle: str | os.PathLike[str]) -> tuple[Generation, ...]:
    """Each time that a generation of a bundle came into force, the oldest first; nothing is written.

    Raises:
        BundleError: there is no bundle, or its log is damaged.
    """
    bundle = Path(bundle)
    _check_bundle(bundle)
    known = read_log(bundle)
    lines = [*known.lines, *without_lines(bundle, known)]
    try:
        in_force = sha256(bundle / FILE)
    except OSError:
        in_force = ""
    now = max((i for i, line in enumerate(lines) if line.manifest == in_force), default=-1)
    added = {line.number for line in lines[len(known.lines) :]}
    return tuple(
        Generation(
            **vars(line),
            in_force=i == now,
            kept=line.number in added or _path_of(bundle, line).is_file(),
        )
        for i, line in enumerate(lines)
    )


def undo(bundle: str | os.PathLike[str], *, reason: str = "", who: str = "") -> Generation:
    """Put the generation in force from which the present one was made. Another `undo` goes one further back.

    Args:
        bundle: the bundle folder.
        reason: why, for the log.
        who: does it, for the log; "" for user and host of this process.

    Returns:
        the generation that is in force now.

    Raises:
        UsageError: the generation in force is the first, or the one before it was deleted.
        BundleError: there is no bundle, or log, manifest or a file of that generation are damaged.
        DataError: the bundle cannot be written, or is being changed.
    """
    return _back(Path(bundle), None, Change(UNDO, reason, who=who))


def back_to(bundle: str | os.PathLike[str], number: int, *, reason: str = "", who: str = "") -> Generation:
    """Put a generation in force again.

    Args:
        bundle: the bundle folder.
        number: of the generation, as `generations` has it.
        reason: why, for the log.
        who: does it, for the log; "" for user and host of this process.

    Returns:
        the generation that is in force now.

    Raises:
        UsageError: there is no such generation, it was deleted, or it is in force.
        BundleError, DataError: as for `undo`.
    """
    return _back(Path(bundle), number, Change(BACK_TO, reason, who=who))


def prune(bundle: str | os.PathLike[str], *, keep: int = KEEP, who: str = "") -> Pruned:
    """Delete generations, and the files that none of the others needs. The log stays whole.

    Args:
        bundle: the bundle folder.
        keep: how many of the newest generations stay, 1 or more. The one in force stays in any case.
        who: does it, for the log; "" for user and host of this process.

    Raises:
        UsageError: `keep` is less than 1.
        BundleError: there is no bundle, its log is damaged, or no known manifest is in force.
        DataError: the bundle cannot be written, or is being changed.
    """
    if keep < 1:
        raise UsageError(f"expected to keep 1 generation or more, found {keep}")
    bundle = Path(bundle)
    _check_bundle(bundle)
    bundle = bundle.resolve()  # a link to a bundle stays a link
    with staging(bundle) as stage:
        known = _adopted(bundle, stage)
        now = known.lines[-1]
        if not (bundle / FILE).is_file() or sha256(bundle / FILE) != now.manifest:
            raise BundleError(
                f"{bundle / FILE}: expected the manifest of a generation, found another; "
                "put one in force with 'spade-edge gallery back-to' first"
            )
        there = sorted({line.number for line in known.lines if _path_of(bundle, line).is_file()})
        stay = {*there[-keep:], now.number}
        gone = tuple(number for number in there if number not in stay)
        if gone:
            change = Change(PRUNE, "", who=who)
            thresholds = (now.threshold, now.threshold)
            line = LogLine.of(
                change,
                number=now.number,
                manifest=now.manifest,
                came_from=now.number,
                thresholds=thresholds,
                pruned=gone,
            )
            known.append([line])
        size = sweep(bundle, known)
    log.info("deleted %d generations of %s", len(gone), bundle)
    return Pruned(gone, tuple(sorted(stay)), size)


def manifest_of(bundle: Path, number: int) -> Manifest:
    """The manifest of a generation.

    Raises:
        UsageError: there is no such generation, or it was deleted.
        BundleError: log or manifest are damaged.
    """
    _check_bundle(bundle)
    known = read_log(bundle)
    known.lines += without_lines(bundle, known)
    line = _line_of(bundle, known, number)
    path = _path_of(bundle, line)
    if not path.is_file():  # in force, in a bundle that is older than its log
        path = bundle / FILE
    return Manifest.from_text(_whole(path, line), source=str(path))


def _back(bundle: Path, number: int | None, change: Change) -> Generation:
    _check_bundle(bundle)
    bundle = bundle.resolve()  # a link to a bundle stays a link
    with staging(bundle) as stage:
        known = _adopted(bundle, stage)
        now = known.lines[-1]
        is_in_force = (bundle / FILE).is_file() and sha256(bundle / FILE) == now.manifest
        if number is None:
            number = _before(bundle, known) if is_in_force else now.number
        elif number == now.number and is_in_force:
            raise UsageError(f"{bundle}: expected another generation than the one in force, found {number}")
        line = _line_of(bundle, known, number)
        raw = _whole(_path_of(bundle, line), line)
        check_files(bundle, Manifest.from_text(raw, source=str(_path_of(bundle, line))))
        stage.add_manifest_bytes(raw)
        entry = LogLine.of(
            change,
            number=number,
            manifest=line.manifest,
            came_from=now.number,
            thresholds=(now.threshold, threshold_of(raw)),
        )
        known.append([entry])
        switch(bundle, stage.folder / FILE)
    log.info("%s: generation %d is in force again", bundle, number)
    return Generation(**vars(entry), in_force=True)


def _before(bundle: Path, known: GenerationLog) -> int:
    """The generation that the one in force was made from."""
    number = known.lines[-1].number
    line = known.first_line_of(number)
    if line is None or line.came_from is None:
        raise UsageError(f"{bundle}: expected a generation to go back to, found that {number} is the first")
    return line.came_from


def _line_of(bundle: Path, known: GenerationLog, number: int) -> LogLine:
    """The first line of a generation that is kept."""
    line = known.first_line_of(number)
    if line is not None and number not in known.pruned:
        return line
    kept = sorted({line.number for line in known.lines} - known.pruned)
    found = f"{number}, which was deleted by 'gallery prune'" if line is not None else str(number)
    raise UsageError(f"{bundle}: expected a generation that is kept ({_listed(kept)}), found {found}")


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[-8:]))
    return shown if len(numbers) <= 8 else f"{numbers[0]}, …, {shown}"


def _whole(path: Path, line: LogLine) -> bytes:
    """A kept manifest, which must be the one that the log names."""
    raw = read_manifest(path)
    if hashlib.sha256(raw).hexdigest() != line.manifest:
        raise BundleError(
            f"{path}: expected the manifest {line.manifest[:16]}… of generation {line.number}, found another; "
            "choose another generation"
        )
    return raw


def _path_of(bundle: Path, line: LogLine) -> Path:
    return kept_path(bundle, line.number, line.manifest)


def _adopted(bundle: Path, stage: Staging) -> GenerationLog:
    """The log of a bundle, in which every manifest has its line."""
    assert stage.log is not None  # noqa: S101  (`_check_bundle` has found a manifest or a log)
    adopt(bundle, stage.log, scratch=stage.scratch("manifest"))
    if not stage.log.lines:
        raise BundleError(
            f"{bundle}: expected a manifest in {FILE} or {HISTORY}/, found none that can be read; "
            "build the bundle again, or copy it anew"
        )
    return stage.log


def _check_bundle(bundle: Path) -> None:
    """Refuse a folder that is no bundle, so that nothing is written there.

    Raises:
        BundleError: it has neither a manifest nor a log.
    """
    try:
        found = [name for name in (FILE, LOG) if (bundle / name).is_file()]
    except (OSError, ValueError):  # ValueError for a path with a NUL
        found = []
    if not found:
        raise BundleError(f"{bundle}: expected a bundle folder with {FILE}, found none; 'spade-edge build' makes one")
