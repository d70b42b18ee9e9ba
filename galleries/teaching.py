"""Teaching at the line: good frames join the gallery of a bundle, or leave it, on the device itself.

Neither hnswlib nor OpenCV is needed: the network runs on the new images only, the features of the others are copied,
and of the leave-one-out scores only those parts are found anew that the change can touch (`left_out`).

A frame that was rejected and is taught in does not stand for the frames of the line: it was selected by its score. So
frames are matched with it, and nothing else is learned from it. Then good frames score no higher than before, and the
threshold and its promise stay as they are, whatever is taught in. Frames that were taken whatever their verdict are
evidence like the images of the build, and the threshold is certified anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.assessment import check_parts
from spade_edge.galleries.free_text import storable
from spade_edge.galleries.gallery_change import GalleryChange, Settled, change_gallery
from spade_edge.galleries.gallery_edit import Joining
from spade_edge.galleries.generation_log import Change
from spade_edge.galleries.good_images import Thumbnails
from spade_edge.galleries.grouping import parts_of
from spade_edge.galleries.images import find_images, name_of
from spade_edge.galleries.images.folder import as_text
from spade_edge.galleries.images.like_good import Reading
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.remembering import Remembering
from spade_edge.galleries.untypical import spread_of
from spade_edge.runtime import DataError, DeviceError, FrameError, Scorer, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.evidence import IMAGES
from spade_edge.runtime.bundle.good_image import GoodImage, Taught, unscored
from spade_edge.runtime.matching.config import FROM_MAP
from spade_edge.runtime.matching.gallery import CodedGallery, Features, squared_lengths
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.network.pyramid import Pyramid
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.condition import Condition
from spade_edge.runtime.result import CANNOT_JUDGE

log = logging.getLogger(__name__)

FAR_OUTSIDE = 3.0  # spreads of the good images' scores over the threshold; measured in docs/architecture.md
SAME = 1e-3  # of the pixel threshold: a map that nowhere reaches it is that of an image of the gallery
EACH, ONE = "each", "one"  # what the images of a lesson show: each a part of its own, or all one and the same


def teach_in(
    bundle: str | os.PathLike[str],
    images: Iterable[str | os.PathLike[str]],
    *,
    reason: str = "",
    who: str = "",
    selected: bool = True,
    part: str = EACH,
    even_so: bool = False,
    bits: int | None = None,
    settled: Settled = lambda prospect: True,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> GalleryChange:
    """Add images of good parts to a bundle.

    Args:
        bundle: the bundle folder.
        images: image files, and folders of them.
        reason: why; kept with the images.
        who: teaches; "" for user and host of this process.
        selected: whether the images were chosen because of their verdict or score, as rejects are. False for frames
            that were taken whatever their verdict: these are evidence for the threshold, too.
        part: what the images show: "each" a part of its own, all "one" and the same part, or the name of a good image
            that shows this part.
        even_so: add images too that cannot be judged, or that score far over the threshold.
        bits: that the camera uses of the 16 of a stored number; None for those of the good images.
        settled: is told what the change would do before it is done, and says whether to do it.
        threads: of all steps; None for one per core.
        progress: wraps the items of each long loop, with its label.

    Returns:
        the change; its `former` is None if it was not done.

    Raises:
        UsageError: no image, one that is named twice, or a name that the bundle has already.
        DataError: an image that cannot be read, is there already or twice, or is refused without `even_so`; or the
            bundle cannot be written.
        BundleError: there is no bundle, or it is damaged.
        DeviceError: onnxruntime is missing.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    bundle = Path(bundle).resolve()  # a link to a bundle stays a link
    found = _found(images)
    scorer = Scorer.open(bundle, threads=threads)
    opened, manifest = scorer.bundle, scorer.bundle.manifest
    if selected and manifest.matching.image_score != FROM_MAP:
        raise UsageError(
            f"{bundle}: expected scores from the anomaly map, found means over the nearest good images, which rejects "
            "could raise; add only frames that were taken whatever their verdict (--unselected), or build the bundle "
            "with profile edge"
        )
    found = _named(bundle, found, manifest.names)
    taught = Taught(selected=selected, reason=storable(as_text(reason)), set=now)
    groups = _groups(bundle, manifest.images, len(found), part)
    repeats = part == EACH and not selected  # several images of one part would be counted as several parts
    joining, views = _lesson(
        scorer, found, taught=taught, bits=bits, even_so=even_so, keep_views=repeats, progress=progress
    )
    names = tuple(image.name for image in joining.images)
    if repeats:
        groups = _without_repeats(bundle, names, views, groups, progress=progress)
    numbered = tuple(replace(image, group=group) for image, group in zip(joining.images, groups, strict=True))
    assert isinstance(scorer.session, Session)  # noqa: S101  (it was opened here)
    change = change_gallery(
        opened,
        joining=replace(joining, images=numbered),
        change=Change("add", reason, names, who),
        settled=settled,
        session=scorer.session,
        now=now,
        threads=threads,
        progress=progress,
    )
    if change.former is not None:
        log.info("added %d images to %s", len(names), bundle)
    return change


def take_out(
    bundle: str | os.PathLike[str],
    names: Iterable[str],
    *,
    reason: str = "",
    who: str = "",
    settled: Settled = lambda prospect: True,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> GalleryChange:
    """Remove good images from a bundle, with their features; `exclude` keeps these.

    The former generation holds them until it is pruned.

    Args:
        bundle: the bundle folder.
        names: of the images, as `spade-edge gallery list` has them.
        reason: why; kept in the log.
        who: does it; "" for user and host of this process.
        settled: is told what the change would do before it is done, and says whether to do it.
        threads: of all steps; None for one per core.
        progress: wraps the items of each long loop, with its label.

    Raises:
        UsageError: no name, or one that is not in the bundle.
        DataError: fewer than two parts would be left as evidence, or the bundle cannot be written.
        BundleError: there is no bundle, or it is damaged.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    bundle, wanted = Path(bundle).resolve(), tuple(dict.fromkeys(names))
    opened = Bundle.open(bundle)
    known = opened.manifest.images
    if not wanted:
        raise UsageError("expected the names of good images, found none; 'spade-edge gallery list' shows them")
    unknown = sorted(set(wanted) - {image.name for image in known})
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise UsageError(
            f"{bundle}: expected the name of a good image, found {unknown[0]!r}{more}; "
            "'spade-edge gallery list' shows them"
        )
    kept = np.array([image.name not in wanted for image in known], bool)
    left = [image for image in known if image.name not in wanted]
    check_parts(bundle, tuple(image.group for image in left), np.array([image.counts for image in left], bool))
    change = change_gallery(
        opened,
        kept=kept,
        change=Change("remove", reason, wanted, who),
        settled=settled,
        now=now,
        threads=threads,
        progress=progress,
    )
    if change.former is not None:
        log.info("removed %d images from %s", len(wanted), bundle)
    return change


def compact(
    bundle: str | os.PathLike[str],
    *,
    who: str = "",
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> GalleryChange | None:
    """Build the graphs of a bundle anew with hnswlib, in the order of the gallery, as a build would.

    Returns:
        the change; None if the bundle has no graph, because cells are matched by place or exactly.

    Raises:
        BundleError: there is no bundle, or it is damaged.
        DeviceError: hnswlib is not installed.
        DataError: the bundle cannot be written.
    """
    opened = Bundle.open(Path(bundle).resolve())
    if not opened.indexes:
        return None
    return change_gallery(
        opened,
        anew=True,
        change=Change("compact", "", (), who),
        now=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        threads=threads,
        progress=progress,
    )


def _found(images: Iterable[str | os.PathLike[str]]) -> list[tuple[str, Path]]:
    """Name and path of each image, those of folders relative to them.

    Raises:
        UsageError: no image.
        DataError: a folder without images.
    """
    found: list[tuple[str, Path]] = []
    for image in map(Path, images):
        if image.is_dir():
            found.extend((name_of(path, image), path) for path in find_images(image))
        else:
            found.append((as_text(image.name), image))
    if not found:
        raise UsageError("expected images to add, found none; name files or folders")
    return found


def _named(bundle: Path, found: Sequence[tuple[str, Path]], known: Sequence[str]) -> list[tuple[str, Path]]:
    """The images under names of their own. Cameras number from 0 again, so the name of the folder tells them apart.

    Raises:
        UsageError: that name is taken, too.
    """
    taken = set(known)
    named: list[tuple[str, Path]] = []
    for short, path in found:
        name = as_text(f"{path.resolve().parent.name}/{path.name}") if short in taken else short
        if path in [other for _, other in named]:
            raise UsageError(f"{path}: expected each image once, found it twice; leave one out")
        if name in taken:
            raise UsageError(
                f"{bundle}: expected images with names of their own, found {name!r}, which a good image has already; "
                "rename the file"
            )
        taken.add(name)
        named.append((name, path))
    return named


def _lesson(
    scorer: Scorer,
    found: Sequence[tuple[str, Path]],
    *,
    taught: Taught,
    bits: int | None,
    even_so: bool,
    keep_views: bool,
    progress: Progress,
) -> tuple[Joining, list[NDArray[np.float32]]]:
    """Read, judge and code new images, one after the other; their parts are numbered later.

    Args:
        scorer: of the bundle as it is.
        found: name and path of each.
        taught: how they are taught in.
        bits: as for `teach_in`.
        even_so: as for `teach_in`.
        keep_views: whether the views are needed afterwards.
        progress: wraps the images, with a label.

    Returns:
        what the gallery keeps of them, and with `keep_views` the views of each, (views, H, W, 3) float32.

    Raises:
        DataError: see `teach_in`.
    """
    manifest, gallery = scorer.bundle.manifest, scorer.bundle.gallery
    reading = Reading.like(manifest.format, bits=bits, even_so=even_so)
    examine = _Examination(scorer, even_so=even_so)
    shrink, views = Thumbnails(scorer.session.card.view), len(scorer.canvas.boxes)
    images: list[GoodImage] = []
    kept: list[NDArray[np.float32]] = []
    rows: list[list[_Item]] = [[] for _ in range(views)]  # view by view, as the gallery has them
    for name, path in progress(found, "reading images"):
        picture = reading.picture(path)
        examine(path, picture.frame)
        of_frame = scorer.preprocessor(picture.frame)
        for view in range(views):  # one at a time, as a build does
            (pyramid,) = examine.network(of_frame[view : view + 1])
            rows[view].append(_Item.of(pyramid, scorer.matcher, gallery, shrink(of_frame[view])))
        height, width = picture.frame.shape[:2]
        images.append(
            unscored(
                name,
                group=0,
                condition=Condition.of(of_frame, scorer.preprocessor.painted),
                size=(height, width),
                depth=picture.depth,
                taught=taught,
            )
        )
        if keep_views:
            kept.append(of_frame)
    items = [item for of_view in rows for item in of_view]
    joining = Joining(
        images=tuple(images),
        levels=tuple(np.stack([item.levels[i] for item in items]) for i in range(len(gallery.levels))),
        descriptors=np.stack([item.descriptor for item in items]),
        squares=np.concatenate([item.squares for item in items]),
        keys=None if items[0].keys is None else np.concatenate([item.keys for item in items if item.keys is not None]),
        thumbnails=np.stack([item.thumbnail for item in items]),
    )
    return joining, kept


@dataclass(frozen=True)
class _Item:
    """What the gallery keeps of one view; `squares` and `keys` are rows of its arrays."""

    levels: tuple[NDArray[Any], ...]
    descriptor: NDArray[np.float32]
    squares: NDArray[np.float32]
    keys: NDArray[np.uint8] | None
    thumbnail: NDArray[np.uint8]

    @classmethod
    def of(cls, pyramid: Pyramid, matcher: Matcher, gallery: Features, thumbnail: NDArray[np.uint8]) -> _Item:
        if not isinstance(gallery, CodedGallery):
            return cls(pyramid.levels, pyramid.descriptor, squared_lengths(pyramid)[np.newaxis], None, thumbnail)
        coded, squares = matcher.coded([pyramid])
        levels = tuple(level[0] for level in coded.levels)
        return cls(levels, pyramid.descriptor, squares, coded.keys, thumbnail)


class _Examination:
    """Refuses images that are not to be taught in by mistake.

    Args:
        scorer: of the bundle as it is.
        even_so: accept images that cannot be judged, or that score far over the threshold.

    Attributes:
        network: of the scorer; it does not run twice on the view of an image that lies where parts lie.
    """

    def __init__(self, scorer: Scorer, *, even_so: bool) -> None:
        manifest = scorer.bundle.manifest
        self.network = Remembering(scorer.session)
        self._judge = Scorer(scorer.bundle, self.network, scorer.matcher)
        self._even_so = even_so
        self._same = SAME * manifest.threshold.pixel
        spread = spread_of(np.array(manifest.evidence_of(IMAGES).of_parts))
        self._highest = manifest.threshold.score + FAR_OUTSIDE * spread
        self._seen: dict[bytes, Path] = {}

    def __call__(self, path: Path, frame: NDArray[np.uint8]) -> None:
        """Examine the frame of an image file.

        Raises:
            DataError: it is refused.
        """
        digest = sha256(repr(frame.shape).encode() + frame.tobytes()).digest()
        if digest in self._seen:
            raise DataError(
                f"{path}: expected each image once, found the same pixels in {self._seen[digest]}; leave one out"
            )
        self._seen[digest] = path
        try:
            result = self._judge(frame)
        except FrameError as problem:
            raise DataError(f"{path}: {problem}") from None
        if result.heatmap.max() <= self._same:
            raise DataError(
                f"{path}: expected an image that the gallery does not hold, found one that it holds already; "
                "leave it out"
            )
        if result.verdict == CANNOT_JUDGE and not self._even_so:
            raise DataError(
                f"{path}: expected an image that can be judged, found: {result.reason}; leave it out, or add it with "
                "--even-so if good parts may look like that"
            )
        if result.score > self._highest and not self._even_so:
            raise DataError(
                f"{path}: expected a score up to {self._highest:.4g}, found {result.score:.4g}: it is farther from the "
                "good images than good rejects usually are; look at it, and if the part is good, add it with --even-so"
            )


def _groups(bundle: Path, known: Sequence[GoodImage], count: int, part: str) -> list[int]:
    """The number of the part that each new image shows.

    Raises:
        UsageError: the name of an image that is not there.
    """
    free = 1 + max(image.group for image in known)
    if part == EACH:
        return list(range(free, free + count))
    if part == ONE:
        return [free] * count
    of = [image.group for image in known if image.name == part]
    if not of:
        raise UsageError(
            f"{bundle}: expected the name of a good image of the same part, found {part!r}; "
            "'spade-edge gallery list' shows them"
        )
    return of * count


def _without_repeats(
    bundle: Path,
    names: Sequence[str],
    views: Sequence[NDArray[np.float32]],
    groups: list[int],
    *,
    progress: Progress,
) -> list[int]:
    """The numbers of the parts, with one number for new images of the same part; OpenCV finds them, if it is there."""
    if len(names) < 2:
        return groups
    try:
        own = parts_of(np.stack(views), names, None, folder=bundle, progress=progress)
    except DeviceError:
        log.warning("without OpenCV, new images of the same part are not found: add them by themselves, as --same-part")
        return groups
    return [groups[0] + number for number in own]
