"""Excluding good images from a bundle, including them again, or matching at another place: without their files and
without the network.

The features of every image stay in the bundle. What changes is the index, which holds the included images only, the
leave-one-out scores, the baseline, where parts lie, the limits, the threshold and the golden results.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.assessment import assess, check_parts
from spade_edge.galleries.calibration import again
from spade_edge.galleries.cell_search import write_cell_search
from spade_edge.galleries.deviations import deviations_from_paper
from spade_edge.galleries.golden_frames import score_golden
from spade_edge.galleries.index_writer import import_hnswlib
from spade_edge.galleries.place_choice import CANDIDATES, choose_place
from spade_edge.galleries.placement import AUTO, OFF, place
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.staging import Staging, publish, staging
from spade_edge.runtime import Scorer, UsageError
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.evidence import IMAGES
from spade_edge.runtime.bundle.good_image import Exclusion
from spade_edge.runtime.bundle.manifest import Manifest, evidence_of
from spade_edge.runtime.bundle.threshold import MANUAL, Threshold
from spade_edge.runtime.matching.coding import Coder
from spade_edge.runtime.matching.config import Matching, parsed_place
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.network.session import Session

_SEARCHED = ("entries", "keys")  # files by which cells are found, beside the indexes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GalleryChange:
    """A change of the images that frames are matched with.

    Attributes:
        names: the images that were excluded or included.
        manifest: the new one.
        before: the former one.
        former: where the former manifest is kept.
    """

    names: tuple[str, ...]
    manifest: Manifest
    before: Manifest
    former: Path


def exclude(
    bundle: str | os.PathLike[str],
    names: Iterable[str],
    *,
    reason: str,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> GalleryChange:
    """Exclude good images: no frame is matched with them any more, and they are no evidence for the threshold.

    Args:
        bundle: the bundle folder.
        names: of the images, as `manifest.json` and `spade-edge gallery list` have them.
        reason: why. It is required and kept with the image.
        threads: of all steps but the index; None for one per core.
        progress: wraps the items of each long loop, with its label.

    Raises:
        UsageError: no name, no reason, a name that is not in the bundle, or an image that is excluded already.
        DataError: fewer than two parts would be left, or the bundle cannot be written.
        BundleError: there is no bundle, or it is damaged.
        DeviceError: hnswlib is not installed.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    if not reason.strip():
        raise UsageError("expected a reason for the exclusion, found none; give --reason TEXT, which is kept with it")
    exclusion = Exclusion(reason=reason.strip(), set=now)
    return _change(Path(bundle), tuple(names), exclusion, now=now, threads=threads, progress=progress)


def include(
    bundle: str | os.PathLike[str],
    names: Iterable[str],
    *,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> GalleryChange:
    """Include images again that were excluded; see `exclude` for arguments and errors."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return _change(Path(bundle), tuple(names), None, now=now, threads=threads, progress=progress)


def set_place(
    bundle: str | os.PathLike[str],
    place: str | int,
    *,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> GalleryChange:
    """Match cells at another place, or at any, without the image files and without extracting features again.

    Scores, baseline, limits and threshold are found anew.

    Args:
        bundle: the bundle folder.
        place: "auto" to choose from the good images; "free" for any place; or a number of cells.
        threads: of all steps but the index; None for one per core.
        progress: wraps the items of each long loop, with its label.

    Raises:
        UsageError: another place, a place for views that share a gallery, or a bundle built with --projection none.
        DataError: the bundle cannot be written.
        BundleError: there is no bundle, or it is damaged.
        DeviceError: hnswlib is not installed.
    """
    wanted = parsed_place(str(place))
    bundle = Path(bundle).resolve()
    opened = Bundle.open(bundle)
    before = opened.manifest
    if not isinstance(opened.gallery, CodedGallery):
        raise UsageError(f"{bundle}: expected a gallery in codes, found one built with --projection none")
    import_hnswlib()
    exclusions = [image.exclusion for image in before.images]
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with staging(bundle) as stage:
        manifest = _staged(
            stage, opened, exclusions, before.included, wanted=wanted, now=now, threads=threads, progress=progress
        )
        stage.add_manifest(manifest)
        former = publish(stage, bundle)
    assert former is not None  # noqa: S101  (the bundle was opened above)
    log.info("%s: %s", bundle, manifest.place.reason)
    return GalleryChange((), manifest, before, former)


def _change(
    bundle: Path,
    names: tuple[str, ...],
    exclusion: Exclusion | None,
    *,
    now: str,
    threads: int | None,
    progress: Progress,
) -> GalleryChange:
    bundle = bundle.resolve()  # a link to a bundle stays a link
    opened = Bundle.open(bundle)
    before = opened.manifest
    chosen = _chosen(bundle, before, names, exclude=exclusion is not None)
    exclusions = [exclusion if i in chosen else image.exclusion for i, image in enumerate(before.images)]
    included = np.array([one is None for one in exclusions], bool)
    check_parts(bundle, tuple(image.group for image in before.images), included)
    if opened.indexes:
        import_hnswlib()
    with staging(bundle) as stage:
        manifest = _staged(
            stage, opened, exclusions, included, wanted=None, now=now, threads=threads, progress=progress
        )
        stage.add_manifest(manifest)
        former = publish(stage, bundle)
    assert former is not None  # noqa: S101  (the bundle was opened above)
    log.info("%s %d images of %s", "excluded" if exclusion else "included", len(chosen), bundle)
    return GalleryChange(tuple(before.names[i] for i in sorted(chosen)), manifest, before, former)


def _staged(
    stage: Staging,
    opened: Bundle,
    exclusions: list[Exclusion | None],
    included: NDArray[np.bool_],
    *,
    wanted: str | int | None,
    now: str,
    threads: int | None,
    progress: Progress,
) -> Manifest:
    """Write the files that change into the staging folder."""
    before, gallery = opened.manifest, opened.gallery
    keys = None
    matching, choice = before.matching, before.place
    if isinstance(gallery, CodedGallery):
        keys = keys_of(gallery, opened, threads=threads)
        if wanted is not None:
            if choice.auto and matching.place is not None and matching.candidates == CANDIDATES:
                matching = replace(matching, candidates=Matching().candidates)  # as before the choice
            placed = choose_place(
                gallery,
                keys,
                matching,
                wanted=wanted,
                included=included,
                groups=[image.group for image in before.images],
                threads=threads,
                progress=progress,
            )
            matching, choice = placed.matching, placed.choice
    search = write_cell_search(stage, keys, matching, views=gallery.views, included=included, progress=progress)
    matcher = search.matcher(gallery, matching, included=included, threads=threads)
    stitching = Stitching(before.canvas, gallery.grid, sigma=before.matching.sigma, mask=opened.mask, threads=threads)
    assessment = assess(
        matcher,
        stitching,
        groups=tuple(image.group for image in before.images),
        exclusions=exclusions,
        conditions=tuple(image.condition for image in before.images),
        sizes=[image.size for image in before.images],
        depths=[image.depth for image in before.images],
        bits=before.format.bits,
        scratch=stage.scratch("maps"),
        progress=progress,
    )
    if assessment.baseline is not None:
        stage.add_array("baseline", assessment.baseline)
    placement = place(
        stage,
        opened.thumbnails,
        align=OFF if before.alignment is None else AUTO,
        matching=before.matching,
        canvas=before.canvas,
        included=included,
        groups=[image.group for image in before.images],
        sizes=[image.size for image in before.images],
    )
    changed = replace(
        before,
        matching=matching,
        place=choice,
        deviations=deviations_from_paper(before.model, matching, before.layout),
        alignment=placement.alignment,
        images=assessment.images,
        frames=(),  # they were scored with the former gallery
        threshold=again(_from_images(before.threshold), evidence_of(assessment.images), now=now),
        limits=assessment.limits,
        format=assessment.format,
        farthest=assessment.farthest,
    )
    session = Session.open(opened.model, threads=threads, views=len(before.layout))
    altered = replace(
        opened,
        manifest=changed,
        indexes=search.indexes,
        entries=search.entries,
        keys=search.keys,
        baseline=assessment.baseline,
        reference=placement.reference,
    )
    scorer = Scorer(altered, session, matcher, threads=threads)
    golden = () if opened.golden is None else score_golden(stage, scorer, np.asarray(opened.golden.frames))
    files = {role: file for role, file in before.files.items() if role not in _SEARCHED and role[:5] != "index"}
    files |= stage.files
    if placement.reference is None:
        files.pop("reference", None)
    return replace(changed, golden=golden, files=files)


def _from_images(threshold: Threshold) -> Threshold:
    """A threshold whose evidence are the good images; the reason for which frames were taken instead is none for it."""
    if threshold.source == IMAGES or threshold.basis == MANUAL:
        return replace(threshold, source=IMAGES)
    return replace(threshold, source=IMAGES, reason="")


def keys_of(gallery: CodedGallery, opened: Bundle, *, threads: int | None) -> NDArray[np.uint8]:
    """The keys of all cells: as stored, or from the indexes; of images that were excluded, from their codes."""
    if opened.keys is not None:
        return opened.keys
    assert opened.entries is not None  # noqa: S101  (a gallery in codes has indexes)
    cells, dimensions = gallery.cells_per_item, opened.indexes[0].keys.shape[1]
    keys = np.zeros((len(gallery.squares), dimensions), np.uint8)
    parts = np.split(keys, len(opened.indexes))
    for index, entries, own in zip(opened.indexes, np.split(opened.entries, len(parts)), parts, strict=True):
        by_label = np.zeros_like(own)
        by_label[index.labels] = index.keys
        own[:] = by_label[entries]  # of cells without an entry overwritten below
    coder = Coder(gallery.card, gallery.coding, threads=threads)
    for item in np.flatnonzero(opened.entries[::cells] < 0):
        keys[item * cells : (item + 1) * cells] = coder.with_keys(
            tuple(level[np.newaxis] for level in gallery.codes(int(item)))
        ).keys
    return keys


def _chosen(bundle: Path, manifest: Manifest, names: tuple[str, ...], *, exclude: bool) -> set[int]:
    """Numbers of the images to change.

    Raises:
        UsageError: see `exclude`.
    """
    if not names:
        raise UsageError("expected the names of good images, found none; 'spade-edge gallery list' shows them")
    place = {name: number for number, name in enumerate(manifest.names)}
    unknown = [name for name in names if name not in place]
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise UsageError(
            f"{bundle}: expected the name of a good image, found {unknown[0]!r}{more}; "
            "'spade-edge gallery list' shows them"
        )
    wrong = [name for name in names if manifest.images[place[name]].included != exclude]
    if wrong:
        found, wanted = ("excluded", "included") if exclude else ("included", "excluded")
        raise UsageError(f"{bundle}: expected an image that is {wanted}, found {wrong[0]!r}, which is {found} already")
    return {place[name] for name in names}
