"""A bundle is tried before it is in force: golden frames, then recent frames of the line with both bundles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.like_good import Reading
from spade_edge.runtime import DataError, FrameError, Scorer
from spade_edge.runtime.result import GOOD
from spade_edge.tools.fleet.rollout.rules import Recent
from spade_edge.tools.line.evidence.entry import Entry, entries

SEARCHED = 50  # entries that are looked at for each frame that is wanted
ROUNDS = 3  # of the golden frames, where there are no others to time
TOLD = 10  # ids of frames that are newly rejected
WARM = 2  # frames whose time does not count, where there are more


@dataclass(frozen=True)
class Shadow:
    """Recent frames of the line, scored with the bundle in force and with the new one.

    Attributes:
        frames: number of frames.
        good: how many of them the bundle in force judges good.
        newly_rejected: how many of those the new one does not.
        newly_passed: how many of the others the new one judges good.
        unread: frames that could not be read or scored.
        ms_before, ms_after: half of the frames took less, in milliseconds; None without frames.
        rejected: ids of the newly rejected ones in the evidence, the newest first, and not more than ten.
    """

    frames: int
    good: int
    newly_rejected: int
    newly_passed: int
    unread: int
    ms_before: float | None
    ms_after: float | None
    rejected: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"rejected": list(self.rejected)}


@dataclass(frozen=True)
class Trial:
    """What a bundle has shown.

    Attributes:
        golden: the largest difference of a golden frame from the machine that built the bundle; None without golden
            frames.
        shadow: of recent frames; None where there is no bundle in force, or no evidence.
        ms: half of the frames took less, in milliseconds; of golden frames if there are no others; None without any.
        notes: what could not be tried, in whole sentences.
    """

    golden: float | None
    shadow: Shadow | None
    ms: float | None
    notes: tuple[str, ...]


def trial(new: Scorer, former: Scorer | None, recent: Recent | None, *, generations: frozenset[str]) -> Trial:
    """Try a bundle.

    Args:
        new: the bundle, opened as the line would.
        former: the one in force; None if there is none that can be opened, or nothing to compare on.
        recent: which frames of the line; None for none.
        generations: the first 16 digits of the manifests that were in force on this device; empty for none.

    Raises:
        DeviceError: this machine does not reproduce the golden frames.
        DataError: the evidence cannot be read.
    """
    notes = []
    golden = None
    if new.bundle.golden is None:
        notes.append("it has no golden frames to test this machine with")
    else:
        golden = max((difference.largest for difference in new.self_test()), default=0.0)
    shadow = None
    if not generations:
        notes.append("there is no bundle in force to compare it with")
    elif recent is None:
        notes.append("it was compared on no frames of the line, because no evidence was named, or none is there")
    elif former is not None:
        shadow = compare(new, former, frames(recent, generations))
        if not shadow.frames:
            notes.append(f"it was compared on no frames of the line, because {recent.folder} has none of this product")
        elif not shadow.good:
            notes.append("none of the frames that it was compared on is good by the bundle in force")
    ms = shadow.ms_after if shadow is not None else None
    return Trial(golden, shadow, _time(new) if ms is None else ms, tuple(notes))


def frames(recent: Recent, generations: frozenset[str]) -> Iterator[tuple[str, NDArray[np.uint8] | None]]:
    """Recent frames and their ids, the newest first: uint8 (H, W, 3) BGR or (H, W) grey; None if it cannot be read.

    Raises:
        DataError: the folder is not there.
    """
    looked_at = islice(entries(recent.folder, cameras=recent.cameras), recent.most * SEARCHED)
    chosen = (entry for entry in looked_at if _is_of(entry, recent.recipe, generations))
    for entry in islice(chosen, recent.most):
        yield entry.id, _frame(entry)


def compare(new: Scorer, former: Scorer, recent: Iterator[tuple[str, NDArray[np.uint8] | None]]) -> Shadow:
    """Score frames with two bundles, one after the other, so that both have the same machine."""
    good = newly_passed = unread = 0
    rejected: list[str] = []
    times: list[tuple[float, float]] = []
    for id, frame in recent:
        if frame is None:
            unread += 1
            continue
        try:
            before, after = former(frame), new(frame)
        except FrameError:
            unread += 1
            continue
        good += before.verdict == GOOD
        if before.verdict == GOOD != after.verdict:
            rejected.append(id)
        newly_passed += before.verdict != GOOD == after.verdict
        times.append((before.milliseconds["total"], after.milliseconds["total"]))
    counted = times[WARM:] if len(times) > 2 * WARM else times
    return Shadow(
        frames=len(times),
        good=good,
        newly_rejected=len(rejected),
        newly_passed=newly_passed,
        unread=unread,
        ms_before=median(before for before, _ in counted) if counted else None,
        ms_after=median(after for _, after in counted) if counted else None,
        rejected=tuple(rejected[:TOLD]),
    )


def _is_of(entry: Entry, recipe: str, generations: frozenset[str]) -> bool:
    """Whether a frame shows the product."""
    if entry.frame is None:
        return False
    return entry.decision["recipe"] == recipe if recipe else entry.decision["bundle"] in generations


def _frame(entry: Entry) -> NDArray[np.uint8] | None:
    assert entry.frame is not None  # noqa: S101  (`_is_of` has looked)
    path: Path = entry.frame
    try:
        if entry.frame_sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != entry.frame_sha256:
            return None
        return Reading().image(path)
    except (OSError, DataError, FrameError):  # the ring removes the oldest meanwhile
        return None


def _time(scorer: Scorer) -> float | None:
    """How long half of the golden frames take at most, in milliseconds."""
    if scorer.bundle.golden is None:
        return None
    times = [scorer(frame).milliseconds["total"] for _ in range(ROUNDS) for frame in scorer.bundle.golden.frames]
    return median(times) if times else None
