"""How a bundle is made: good images → views → network → codes and keys → index → threshold → bundle."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge import __version__
from spade_edge.galleries.acceptance import accepted
from spade_edge.galleries.assessment import assess, check_parts
from spade_edge.galleries.calibration import calibrated
from spade_edge.galleries.cell_search import write_cell_search
from spade_edge.galleries.conformal import check_rate
from spade_edge.galleries.deviations import deviations_from_paper
from spade_edge.galleries.encoding import Encode, encode
from spade_edge.galleries.feature_extraction import extract_codes, extract_levels
from spade_edge.galleries.feature_extractor import FeatureExtractor
from spade_edge.galleries.generation_log import Change
from spade_edge.galleries.golden_frames import add_golden
from spade_edge.galleries.good_images import GoodImages, read_good_images
from spade_edge.galleries.grouping import groups_of
from spade_edge.galleries.images import find_images, name_of, read_image
from spade_edge.galleries.index_writer import import_hnswlib
from spade_edge.galleries.learned_alignment import learn_alignment
from spade_edge.galleries.left_out import add_left_out
from spade_edge.galleries.options import BuildOptions
from spade_edge.galleries.output import check_output, check_outside
from spade_edge.galleries.place_choice import check_place, choose_place
from spade_edge.galleries.plan import Plan, make_plan
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.requirements import check_count, check_room, check_variation, copied_model
from spade_edge.galleries.staging import Staging, publish, staging
from spade_edge.galleries.stopwatch import Stopwatch
from spade_edge.runtime import DataError, FrameError, Scorer, UsageError
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.budget import check_budget
from spade_edge.runtime.bundle.good_image import Exclusion
from spade_edge.runtime.bundle.manifest import Manifest, Scales, evidence_of
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.matching.config import CODES, Matching
from spade_edge.runtime.matching.gallery import CodedGallery, Features
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.frame_format import GREY
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """A bundle that has been built.

    Attributes:
        path: the bundle.
        manifest: its contents.
        skipped: what is wrong with each image that was left out.
        remarks: what a user should know about the good images, a line each: their bits, their sizes, what is mixed.
        former: where the manifest of the former bundle at that path is kept; None if there was none.
        seconds: time by step: "reading" the images, "features" (of which "network" was spent in onnxruntime), "place"
            (choosing where cells are matched), "index", "calibration" (the threshold), "checking" the bundle, "golden"
            (the golden frames).
    """

    path: Path
    manifest: Manifest
    skipped: tuple[str, ...]
    remarks: tuple[str, ...]
    former: Path | None
    seconds: Mapping[str, float]

    @property
    def repeats(self) -> tuple[tuple[str, ...], ...]:
        """The names of the included images of each part that has several."""
        parts: dict[int, list[str]] = {}
        for image in self.manifest.images:
            if image.included:
                parts.setdefault(image.group, []).append(image.name)
        return tuple(tuple(names) for names in parts.values() if len(names) > 1)


Announce = Callable[[Plan], None]


def build(
    images: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: BuildOptions = BuildOptions(),  # noqa: B008  (frozen)
    announce: Announce = lambda plan: None,
    progress: Progress = lambda items, label: items,
    encode: Encode = encode,
) -> Built:
    """Build a bundle from a folder of images of good parts.

    Args:
        images: the folder, with its subfolders.
        model: a file that `spade-edge export` wrote.
        output: the bundle folder; an existing bundle is replaced in one step and kept in its history.
        options: profile, views, false-reject rate and so on.
        announce: called once with the plan before the work starts.
        progress: wraps the items of each long loop, with its label; e.g. tqdm.
        encode: makes the records of the gallery items, see `spade_edge.galleries.encoding`; by default here, one after
            the other. A profile without codes does not ask for them.

    Raises:
        DataError: no folder, fewer than two images, an image that cannot be read or has another size than the views
            need, images of different kinds or without content, or too little room on the disk.
        ModelError: the model is not a feature pyramid, or its features are not finite.
        UsageError: the output is something else than a bundle, the views do not fit the frames, or there are too few
            images for the rate.
        DeviceError: a package is missing.
    """
    images, model, output = Path(images), Path(model), Path(output)
    check_output(output)
    check_outside(output, images)
    output = output.resolve()  # "." has no folder beside it
    found = find_images(images, follow_links=options.follow_links)
    check_count(images, len(found))
    check_rate(options.rate, len(found))
    names = tuple(name_of(path, images) for path in found)
    _check_excluded(images, names, options.exclude)  # mistakes are said before the images are read
    if options.groups is not None:
        groups_of(names, options.groups, folder=images)
    if options.parameters.projection == CODES:
        import_hnswlib()  # what is missing is said before the work and not after it
    with staging(output) as stage:
        # In a function of its own, at whose end every file of the stage is closed: Windows does not move open ones.
        built = _staged(
            stage, images, found, model=model, options=options, announce=announce, progress=progress, encode=encode
        )
        former = publish(stage, output, Change("build", ""))
    log.info("built %s from %d good images", output, len(built.manifest.names))
    return replace(built, path=output, former=former)


def _staged(
    stage: Staging,
    images: Path,
    found: tuple[Path, ...],
    *,
    model: Path,
    options: BuildOptions,
    announce: Announce,
    progress: Progress,
    encode: Encode,
) -> Built:
    """Build the bundle in its staging folder."""
    matching, threads = options.parameters, options.threads
    # Opened from its copy: a model with weights in other files fails here, as it would in the bundle.
    session = Session.open(stage.add("model", copied_model(model, stage)), threads=threads, source=str(model))
    card = session.card
    matching.check_cell(card.side)
    plan, mask = make_plan(found, session, matching, options.views, model_bytes=model.stat().st_size)
    check_place(matching, options.place, views=len(plan.layout))
    wanted = matching.placed(options.place) if isinstance(options.place, int) else matching
    check_budget(card, wanted, plan.layout, images=len(found), size=plan.size)
    announce(plan)
    check_room(stage.folder, plan)

    stopwatch = Stopwatch()
    canvas = Canvas(plan.layout, card.view)
    preprocessor = Preprocessor(canvas, mask=mask)
    good = read_good_images(
        stage,
        plan,
        preprocessor,
        images,
        groups=options.groups,
        exclude=options.exclude,
        skip_bad=options.skip_bad,
        bits=options.bits,
        even_so=options.even_so,
        progress=progress,
    )
    now = options.created or datetime.now(timezone.utc).isoformat(timespec="seconds")
    _check_excluded(images, good.names, options.exclude)  # some may have been skipped
    exclusions = _exclusions(good.names, options.exclude, now=now)
    included = np.array([exclusion is None for exclusion in exclusions], bool)
    check_rate(options.rate, check_parts(images, good.groups, included))
    if mask is not None:
        stage.add_array("mask", mask.looked_at.astype(np.uint8))
    stopwatch.lap("reading")

    extract = FeatureExtractor(session, good.views, good.names, len(plan.layout))
    gallery, keys = _features(
        stage, extract, matching, included=included, threads=threads, encode=encode, progress=progress
    )
    stopwatch.lap("features")
    placed = choose_place(
        gallery,
        keys,
        matching,
        wanted=options.place,
        included=included,
        groups=good.groups,
        threads=threads,
        progress=progress,
    )
    matching = placed.matching
    stopwatch.lap("place")
    search = write_cell_search(stage, keys, matching, views=len(plan.layout), included=included, progress=progress)
    matcher = search.matcher(gallery, matching, included=included, threads=threads)
    stopwatch.lap("index")

    stitching = Stitching(canvas, card.grid(card.levels[0]), sigma=matching.sigma, mask=mask, threads=threads)
    assessment = assess(
        matcher,
        stitching,
        good.images(exclusions),
        keys=keys,
        bits=good.bits,
        scratch=stage.scratch("maps"),
        progress=progress,
    )
    if assessment.baseline is not None:
        stage.add_array("baseline", assessment.baseline)
    add_left_out(stage, assessment.left_out)
    learned = learn_alignment(
        stage,
        good.thumbnails,
        align=options.align,
        matching=matching,
        canvas=canvas,
        included=included,
        groups=good.groups,
        sizes=[shape.size for shape in good.shapes],
    )
    threshold = calibrated(evidence_of(assessment.images), rate=options.rate, area=options.area, now=now)
    stopwatch.lap("calibration")
    check_variation(images, gallery, assessment.images)

    manifest = Manifest(
        created=now,
        writer=f"spade-edge {__version__}",
        profile=options.profile,
        matching=matching,
        place=placed.choice,
        deviations=deviations_from_paper(card, matching, plan.layout),
        model=card,
        layout=plan.layout,
        images=assessment.images,
        frames=(),
        threshold=threshold,
        limits=assessment.limits,
        format=assessment.format,
        farthest=assessment.farthest,
        scales=Scales.of(gallery.coding) if isinstance(gallery, CodedGallery) else None,
        files=dict(stage.files),
        alignment=learned.alignment,
    )
    scorer = accepted(stage, manifest, good.first, threads=threads)
    stopwatch.lap("checking")
    manifest = _with_golden_frames(stage, manifest, scorer, good)
    stopwatch.lap("golden")
    seconds = stopwatch.seconds | {"network": extract.seconds}
    return Built(
        path=stage.folder,
        manifest=manifest,
        skipped=good.skipped,
        remarks=(
            *good.remarks,
            *_without_order(manifest),
            *([placed.choice.reason] if keys is not None or matching.place is not None else []),
            *filter(None, [learned.remark]),
        ),
        former=None,
        seconds=seconds,
    )


def _features(
    stage: Staging,
    extract: FeatureExtractor,
    matching: Matching,
    *,
    included: NDArray[np.bool_],
    threads: int | None,
    encode: Encode,
    progress: Progress,
) -> tuple[Features, NDArray[np.uint8] | None]:
    """The gallery, and the keys of its cells if features are stored as codes."""
    if matching.projection != CODES:
        return extract_levels(stage, extract, progress=progress), None
    return extract_codes(
        stage,
        extract,
        normalisation=matching.normalisation,
        included=np.tile(included, len(extract) // len(included)),
        threads=threads,
        encode=encode,
        progress=progress,
    )


def _exclusions(names: tuple[str, ...], exclude: tuple[str, ...], *, now: str) -> list[Exclusion | None]:
    """Why each image is excluded; None for those that are included."""
    exclusion = Exclusion(reason="excluded when the bundle was built", set=now)
    return [exclusion if name in exclude else None for name in names]


def _without_order(manifest: Manifest) -> tuple[str, ...]:
    """What to tell if the good images have colours that do not tell red from blue."""
    if manifest.format.colour == GREY or manifest.format.order is not None:
        return ()
    return ("the good images have too little colour to tell red from blue: swapped channels may go unnoticed",)


def _check_excluded(images: Path, names: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    """Refuse to exclude what is not there.

    Raises:
        UsageError: a name that is none of theirs.
    """
    unknown = sorted(set(exclude) - set(names))
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise UsageError(
            f"{images}: expected names of images to exclude, found {unknown[0]!r}{more}, which is none; give names "
            "relative to that folder"
        )


def _with_golden_frames(stage: Staging, manifest: Manifest, scorer: Scorer, good: GoodImages) -> Manifest:
    """Add golden frames made from the typical good image with the median score."""
    included = [image for image in manifest.images if image.included]
    typical = [image for image in included if not image.worth_a_look] or included
    median = sorted(typical, key=lambda image: (image.score, image.name))[len(typical) // 2].name
    number = good.names.index(median)
    image = _unchanged(good, number, scorer)
    if image is None:
        log.warning(
            "%s: changed or disappeared after it was read; the golden frames are made from the first good image",
            good.paths[number],
        )
        image = good.first
    golden = add_golden(stage, scorer, image)
    finished = replace(manifest, golden=golden, files=dict(stage.files))
    stage.add_manifest(finished)
    return finished


def _unchanged(good: GoodImages, number: int, scorer: Scorer) -> NDArray[np.uint8] | None:
    """Read a good image again; None if it is not there any more, or not the same."""
    try:
        image = read_image(good.paths[number], bits=good.bits)
        views = scorer.preprocessor(image)
    except (DataError, FrameError):
        return None
    stored = np.memmap(good.views, np.float32, "r", shape=(len(good.names), *views.shape))
    return image if np.array_equal(views, stored[number]) else None
