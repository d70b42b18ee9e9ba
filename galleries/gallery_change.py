"""Changing which good images of a bundle are matched, or where: without their files and without the network.

The features of every image stay in the bundle. What changes is the index, or the keys of each place, the leave-one-out
scores, the baseline, where parts lie, the limits, the threshold and the golden results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.assessment import assess
from spade_edge.galleries.calibration import again
from spade_edge.galleries.cell_search import write_cell_search
from spade_edge.galleries.deviations import deviations_from_paper
from spade_edge.galleries.golden_frames import score_golden
from spade_edge.galleries.index_writer import import_hnswlib
from spade_edge.galleries.learned_alignment import AUTO, OFF, learn_alignment
from spade_edge.galleries.place_choice import CANDIDATES, choose_place
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.staging import Staging, publish, staging
from spade_edge.runtime import Scorer
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.evidence import IMAGES
from spade_edge.runtime.bundle.good_image import Exclusion
from spade_edge.runtime.bundle.manifest import Manifest, evidence_of
from spade_edge.runtime.bundle.threshold import MANUAL, Threshold
from spade_edge.runtime.matching.coding import Coder
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.network.session import Session

_SEARCHED = ("entries", "keys")  # files by which cells are found, beside the indexes


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


def change_gallery(
    opened: Bundle,
    *,
    exclusions: Sequence[Exclusion | None],
    names: tuple[str, ...] = (),
    place: str | int | None = None,
    now: str,
    threads: int | None,
    progress: Progress,
) -> GalleryChange:
    """Publish a bundle with other good images, or with another place, in one step.

    Args:
        opened: the bundle as it is.
        exclusions: for each good image, why it is excluded; None if it is included.
        names: of the images that are excluded or included by this change.
        place: where cells may match from now on, see `choose_place`; None as before.
        now: the time, UTC, ISO 8601.
        threads: of all steps but the index; None for one per core.
        progress: wraps the items of each long loop, with its label.

    Raises:
        UsageError: a place for views that share a gallery.
        DataError: the bundle cannot be written.
        DeviceError: hnswlib is not installed.
    """
    if opened.indexes or place is not None:
        import_hnswlib()  # what is missing is said before the work and not after it
    with staging(opened.path) as stage:
        manifest = _staged(stage, opened, exclusions, place=place, now=now, threads=threads, progress=progress)
        stage.add_manifest(manifest)
        former = publish(stage, opened.path)
    assert former is not None  # noqa: S101  (the bundle was opened)
    return GalleryChange(names, manifest, opened.manifest, former)


def _staged(
    stage: Staging,
    opened: Bundle,
    exclusions: Sequence[Exclusion | None],
    *,
    place: str | int | None,
    now: str,
    threads: int | None,
    progress: Progress,
) -> Manifest:
    """Write the files that change into the staging folder."""
    before, gallery = opened.manifest, opened.gallery
    included = np.array([exclusion is None for exclusion in exclusions], bool)
    groups = tuple(image.group for image in before.images)
    keys = None
    matching, choice = before.matching, before.place
    if isinstance(gallery, CodedGallery):
        keys = _keys(gallery, opened, threads=threads)
        if place is not None:
            if choice.auto and matching.place is not None and matching.candidates == CANDIDATES:
                matching = replace(matching, candidates=Matching().candidates)  # as before the choice
            placed = choose_place(
                gallery,
                keys,
                matching,
                wanted=place,
                included=included,
                groups=groups,
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
        groups=groups,
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
    learned = learn_alignment(
        stage,
        opened.thumbnails,
        align=OFF if before.alignment is None else AUTO,
        matching=before.matching,
        canvas=before.canvas,
        included=included,
        groups=groups,
        sizes=[image.size for image in before.images],
    )
    changed = replace(
        before,
        matching=matching,
        place=choice,
        deviations=deviations_from_paper(before.model, matching, before.layout),
        alignment=learned.alignment,
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
        reference=learned.reference,
    )
    scorer = Scorer(altered, session, matcher, threads=threads)
    golden = () if opened.golden is None else score_golden(stage, scorer, np.asarray(opened.golden.frames))
    files = {role: file for role, file in before.files.items() if role not in _SEARCHED and role[:5] != "index"}
    files |= stage.files
    if learned.reference is None:
        files.pop("reference", None)
    return replace(changed, golden=golden, files=files)


def _from_images(threshold: Threshold) -> Threshold:
    """A threshold whose evidence are the good images; the reason for which frames were taken instead is none for it."""
    if threshold.source == IMAGES or threshold.basis == MANUAL:
        return replace(threshold, source=IMAGES)
    return replace(threshold, source=IMAGES, reason="")


def _keys(gallery: CodedGallery, opened: Bundle, *, threads: int | None) -> NDArray[np.uint8]:
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
