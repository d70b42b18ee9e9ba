"""What a change of a gallery would do, found out before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import find_images, name_of
from spade_edge.galleries.images.like_good import Reading
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.remembering import Remembering
from spade_edge.runtime import DataError, FrameError, Scorer
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.matching.matcher import Matcher

RECENT = 500  # frames of a folder, the last ones by the time of their files
SAMPLE = 8  # good images whose cells are searched for in a graph


@dataclass(frozen=True)
class Prospect:
    """What a change would do.

    Attributes:
        manifest: as it would be.
        opened: the bundle as it is.
        scorer: of the bundle as it would be; only until the change is done.
        former_keys, keys: (items * cells, D) uint8, of the gallery as it is and as it would be; None without codes.
    """

    manifest: Manifest
    opened: Bundle
    scorer: Scorer
    former_keys: NDArray[np.uint8] | None
    keys: NDArray[np.uint8] | None

    @property
    def before(self) -> Manifest:
        """The manifest as it is."""
        return self.opened.manifest


@dataclass(frozen=True)
class Verdict:
    """The verdicts of one frame.

    Attributes:
        name: of the frame.
        before, after: "good", "defect" or "cannot_judge".
    """

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of recent frames, before and after.

    Attributes:
        frames: number of frames that could be read.
        changed: those whose verdict changes.
        unread: number of the others.
    """

    frames: int
    changed: tuple[Verdict, ...]
    unread: int


def verdicts(prospect: Prospect, folder: Path, *, most: int = RECENT, progress: Progress) -> Verdicts:
    """Score recent frames with the bundle as it is and as it would be.

    Args:
        prospect: of the change.
        folder: of the frames.
        most: number of frames, the last by the time of their files.
        progress: wraps the frames, with a label.

    Raises:
        DataError: no folder, or no image in it.
    """
    found = find_images(folder)
    recent = sorted(found, key=_time)[-most:]
    reading = Reading.like(prospect.before.format)
    network = Remembering(prospect.scorer.session)
    before = Scorer(prospect.opened, network, prospect.opened.matcher())
    after = Scorer(prospect.scorer.bundle, network, prospect.scorer.matcher)
    changed: list[Verdict] = []
    unread = 0
    for path in progress(recent, "recent frames"):
        try:
            frame = reading.image(path)
            first, second = before(frame).verdict, after(frame).verdict
        except (DataError, FrameError):
            unread += 1
            continue
        if first != second:
            changed.append(Verdict(name_of(path, folder), first, second))
    return Verdicts(len(recent) - unread, tuple(changed), unread)


def recalls(prospect: Prospect) -> tuple[float, float] | None:
    """`recall` of a bundle as it is and as it would be; None if no graph changes."""
    roles = prospect.before.index_roles()
    if prospect.former_keys is None or prospect.keys is None:
        return None
    if [prospect.before.files[role] for role in roles] == [prospect.manifest.files.get(role) for role in roles]:
        return None
    before = recall(prospect.opened, prospect.opened.matcher(), prospect.former_keys)
    after = recall(prospect.scorer.bundle, prospect.scorer.matcher, prospect.keys)
    return None if before is None or after is None else (before, after)


def recall(bundle: Bundle, matcher: Matcher, keys: NDArray[np.uint8]) -> float | None:
    """How often the graph search finds the nearest key, on cells of a few good images; None without a graph.

    Args:
        bundle: an open bundle.
        matcher: of its gallery.
        keys: (items * cells, D) uint8, of all its cells.
    """
    if not bundle.indexes or matcher.matching.neighbours is not None:
        return None
    gallery, images = bundle.gallery, bundle.manifest.images
    parts = np.array([image.group for image in images])
    allowed = bundle.manifest.counts & (parts[:, np.newaxis] != parts)
    each, count = gallery.cells_per_item, len(gallery)
    hits: list[NDArray[np.bool_]] = []
    for image in np.unique(np.linspace(0, count - 1, SAMPLE).round().astype(int)).tolist():
        if not allowed[image].any():
            continue
        for view in range(gallery.views):
            item = view * count + image
            cells = np.arange(item * each, (item + 1) * each)
            own = keys[cells]
            found = matcher.candidates([gallery.descriptors[item]], own, views=[view], allowed=allowed[image])[0, :, 0]
            nearest = matcher.candidates_of_cells(cells, keys, allowed=allowed)[:, 0]
            hits.append(_apart(own, keys, found) <= _apart(own, keys, nearest))
    return float(np.concatenate(hits).mean()) if hits else None


def _apart(own: NDArray[np.uint8], keys: NDArray[np.uint8], found: NDArray[np.int64]) -> NDArray[np.int64]:
    apart = own.astype(np.int64) - keys[found]
    return np.where(found >= 0, np.einsum("cd,cd->c", apart, apart), np.iinfo(np.int64).max)


def _time(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, str(path)
    except OSError:
        return 0.0, str(path)
