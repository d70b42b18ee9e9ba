"""Changing which good images of a bundle are matched, or where: without their files and without the network.

The features of every image stay in the bundle. What changes is the index, or the keys of each place, the leave-one-out
scores, the baseline, where parts lie, the limits, the threshold and the golden results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.assessment import assess, format_of, limits_of
from spade_edge.galleries.calibration import again
from spade_edge.galleries.cell_search import edit_cell_search, write_cell_search
from spade_edge.galleries.deviations import deviations_from_paper
from spade_edge.galleries.gallery_edit import EditedGallery, Joining, edited, unedited
from spade_edge.galleries.generation_log import Change
from spade_edge.galleries.golden_frames import score_golden
from spade_edge.galleries.index_writer import import_hnswlib
from spade_edge.galleries.learned_alignment import AUTO, OFF, learn_alignment
from spade_edge.galleries.leave_one_out import anomaly_map
from spade_edge.galleries.left_out import Former, add_left_out
from spade_edge.galleries.place_choice import CANDIDATES, choose_place
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.prospect import Prospect
from spade_edge.galleries.staging import Staging, publish, staging
from spade_edge.runtime import Scorer
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.evidence import IMAGES
from spade_edge.runtime.bundle.good_image import GoodImage
from spade_edge.runtime.bundle.manifest import LEAVE_ONE_OUT, Manifest, evidence_of
from spade_edge.runtime.bundle.threshold import MANUAL, Threshold
from spade_edge.runtime.matching.coding import Coder
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.gallery import CodedGallery, keys_of
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.network.session import Session

_OF_GALLERY = ("entries", "keys", *LEAVE_ONE_OUT)  # files that are written anew, beside the indexes


@dataclass(frozen=True)
class GalleryChange:
    """A change of the images that frames are matched with.

    Attributes:
        names: the images that were excluded or included.
        manifest: the new one.
        before: the former one.
        former: where the former manifest is kept; None if the change was not done.
    """

    names: tuple[str, ...]
    manifest: Manifest
    before: Manifest
    former: Path | None


Settled = Callable[["Prospect"], bool]


def change_gallery(
    opened: Bundle,
    *,
    images: Sequence[GoodImage] | None = None,
    kept: NDArray[np.bool_] | None = None,
    joining: Joining | None = None,
    change: Change,
    place: str | int | None = None,
    anew: bool = False,
    settled: Settled = lambda prospect: True,
    session: Session | None = None,
    now: str,
    threads: int | None,
    progress: Progress,
) -> GalleryChange:
    """Publish a bundle with other good images, or with another place, in one step.

    Args:
        opened: the bundle as it is.
        images: its images, some of them excluded or included now; None as before.
        kept: (N,) bool, the images that stay; None for all.
        joining: images that join; None for none.
        change: what the log says of it.
        place: where cells may match from now on, see `choose_place`; None as before.
        anew: build the graphs anew, if there are any.
        settled: is told what the change would do, and says whether to do it.
        session: of the bundle's model; None to open one.
        now: the time, UTC, ISO 8601.
        threads: of all steps but the index; None for one per core.
        progress: wraps the items of each long loop, with its label.

    Returns:
        the change; its `former` is None if it was not done.

    Raises:
        UsageError: a place for views that share a gallery.
        DataError: the bundle cannot be written.
        DeviceError: hnswlib is needed and not installed.
    """
    if place is not None or (anew and opened.indexes):
        import_hnswlib()  # what is missing is said before the work and not after it
    former = None
    with staging(opened.path, before=opened.manifest) as stage:
        prospect = _staged(
            stage,
            opened,
            opened.manifest.images if images is None else images,
            kept=kept,
            joining=joining,
            place=place,
            anew=anew,
            session=session,
            now=now,
            threads=threads,
            progress=progress,
        )
        manifest = prospect.manifest
        if settled(prospect):
            del prospect  # its files are mapped, and Windows does not move such files
            stage.add_manifest(manifest)
            former = publish(stage, opened.path, change)
    return GalleryChange(change.names, manifest, opened.manifest, former)


def _staged(
    stage: Staging,
    opened: Bundle,
    images: Sequence[GoodImage],
    *,
    kept: NDArray[np.bool_] | None,
    joining: Joining | None,
    place: str | int | None,
    anew: bool,
    session: Session | None,
    now: str,
    threads: int | None,
    progress: Progress,
) -> Prospect:
    """Write the files that change into the staging folder."""
    before = opened.manifest
    keys = _keys(opened.gallery, opened, threads=threads) if isinstance(opened.gallery, CodedGallery) else None
    if kept is None and joining is None:
        good = unedited(opened, images, keys)
    else:
        kept = np.ones(len(before.images), bool) if kept is None else kept
        good = edited(stage, opened, keys, kept=kept, joining=joining)
    gallery, former = good.gallery, good.former
    matching, choice = before.matching, before.place
    if place is not None and good.keys is not None:
        if choice.auto and matching.place is not None and matching.candidates == CANDIDATES:
            matching = replace(matching, candidates=Matching().candidates)  # as before the choice
        placed = choose_place(
            gallery,
            good.keys,
            matching,
            wanted=place,
            included=good.counts,
            groups=[image.group for image in good.images],
            threads=threads,
            progress=progress,
        )
        matching, choice, former = placed.matching, placed.choice, None
    if anew or place is not None:
        search = write_cell_search(
            stage, good.keys, matching, views=gallery.views, included=good.counts, progress=progress
        )
    else:
        search = edit_cell_search(
            stage, opened, good.keys, matching, views=gallery.views, included=good.counts, progress=progress
        )
    matcher = search.matcher(gallery, matching, included=good.counts, selected=good.selected, threads=threads)
    stitching = Stitching(before.canvas, gallery.grid, sigma=before.matching.sigma, mask=opened.mask, threads=threads)
    if place is None and _counting(good.images) == _counting(before.images) and _frames_hold(before, good.images):
        learned = _as_before(stage, opened, good, matcher, stitching, progress=progress)
    else:
        learned = _anew(stage, opened, good, matcher, stitching, former=former, now=now, progress=progress)
    changed = replace(
        learned.manifest,
        matching=matching,
        place=choice,
        deviations=deviations_from_paper(before.model, matching, before.layout),
    )
    altered = replace(
        opened,
        manifest=changed,
        gallery=gallery,
        thumbnails=good.thumbnails,
        indexes=search.indexes,
        entries=search.entries,
        keys=search.keys,
        baseline=learned.baseline,
        reference=learned.reference,
    )
    if session is None:
        session = Session.open(opened.model, threads=threads, views=len(before.layout))
    scorer = Scorer(altered, session, matcher, threads=threads)
    golden = () if opened.golden is None else score_golden(stage, scorer, np.asarray(opened.golden.frames))
    files = {role: file for role, file in before.files.items() if role not in _OF_GALLERY and role[:5] != "index"}
    files |= stage.files
    if learned.reference is None:
        files.pop("reference", None)
    return Prospect(replace(changed, golden=golden, files=files), opened, scorer, keys, good.keys)


@dataclass(frozen=True)
class _Learned:
    """What the good images tell, in a manifest that still names the former files, and in arrays."""

    manifest: Manifest
    baseline: NDArray[np.float32] | None
    reference: NDArray[np.float32] | None


def _counting(images: Sequence[GoodImage]) -> list[tuple[str, int]]:
    """The images that something is learned from, by name and part."""
    return [(image.name, image.group) for image in images if image.counts]


def _frames_hold(before: Manifest, images: Sequence[GoodImage]) -> bool:
    """Whether held-back frames, if there are any, score no higher: every image that they were matched with stays."""
    matched = {image.name for image in before.images if image.included}
    return not before.frames or matched <= {image.name for image in images if image.included}


def _as_before(
    stage: Staging,
    opened: Bundle,
    good: EditedGallery,
    matcher: Matcher,
    stitching: Stitching,
    *,
    progress: Progress,
) -> _Learned:
    """Nothing is learned anew, as the images that count are the same: threshold and baseline stay as they are.

    So the promise stays, too: good frames are matched with more images, and score no higher.
    """
    before, counts = opened.manifest, good.counts
    groups = [image.group for image in good.images]
    known = {image.name: image for image in before.images}
    left_out = None
    if good.former is not None and good.keys is not None:
        left_out = good.former.now(matcher, good.keys, groups=groups, included=counts, progress=progress)
        add_left_out(stage, left_out)
    images = []
    for number, image in enumerate(good.images):
        if image.name in known:
            images.append(replace(known[image.name], exclusion=image.exclusion))
            continue
        assert opened.baseline is not None  # noqa: S101  (only images of a bundle with scores from the map join so)
        if left_out is not None:
            heatmap = stitching(left_out.of_image(number, matcher.gallery))
        else:
            allowed = counts & (np.array(groups) != image.group)
            heatmap = anomaly_map(matcher, stitching, number, allowed=allowed)
        score = stitching.score(heatmap - opened.baseline)
        images.append(replace(image, score=score, map_maximum=float(heatmap.max())))
    manifest = replace(
        before,
        images=tuple(images),
        limits=limits_of(images),
        format=format_of(images, bits=before.format.bits),
    )
    return _Learned(manifest, opened.baseline, opened.reference)


def _anew(
    stage: Staging,
    opened: Bundle,
    good: EditedGallery,
    matcher: Matcher,
    stitching: Stitching,
    *,
    former: Former | None,
    now: str,
    progress: Progress,
) -> _Learned:
    """Scores, baseline, limits, threshold and alignment are learned from the images that count."""
    before = opened.manifest
    assessment = assess(
        matcher,
        stitching,
        good.images,
        keys=good.keys,
        former=former,
        bits=before.format.bits,
        scratch=stage.scratch("maps"),
        progress=progress,
    )
    if assessment.baseline is not None:
        stage.add_array("baseline", assessment.baseline)
    add_left_out(stage, assessment.left_out)
    learned = learn_alignment(
        stage,
        good.thumbnails,
        align=OFF if before.alignment is None else AUTO,
        matching=before.matching,
        canvas=before.canvas,
        included=good.counts,
        groups=[image.group for image in good.images],
        sizes=[image.size for image in good.images],
    )
    manifest = replace(
        before,
        alignment=learned.alignment,
        images=assessment.images,
        frames=(),  # they were scored with the former gallery
        threshold=again(_from_images(before.threshold), evidence_of(assessment.images), now=now),
        limits=assessment.limits,
        format=assessment.format,
        farthest=assessment.farthest,
    )
    return _Learned(manifest, assessment.baseline, learned.reference)


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
    for item in np.flatnonzero(opened.entries[::cells] < 0).tolist():
        keys[item * cells : (item + 1) * cells] = keys_of(gallery, [item], coder)
    return keys
