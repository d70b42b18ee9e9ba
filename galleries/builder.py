"""The way of a gallery: good images → views → network → codes and keys → index → threshold → bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge import __version__
from spade_edge.galleries.calibration import calibrated
from spade_edge.galleries.conformal import check_rate
from spade_edge.galleries.duplicates import distinct, groups, near_duplicates
from spade_edge.galleries.features import Progress, Pyramids, extract_codes, extract_levels
from spade_edge.galleries.golden_frames import add_golden
from spade_edge.galleries.images import find_images, read_image
from spade_edge.galleries.index_writer import write_index
from spade_edge.galleries.leave_one_out import LeaveOneOut, leave_one_out
from spade_edge.galleries.options import BuildOptions
from spade_edge.galleries.plan import THUMBNAIL, Plan, make_plan
from spade_edge.galleries.staging import Staging, check_output, publish, staging
from spade_edge.runtime import BundleError, DataError, FrameError, ModelError, Scorer, UsageError
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.manifest import Manifest, Scales
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.geometry.resample import resample, resampling_weights
from spade_edge.runtime.matching.config import CODES
from spade_edge.runtime.matching.gallery import CodedGallery, Features
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.condition import Condition, Limits
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor


@dataclass(frozen=True)
class Built:
    """What a build has done.

    Attributes:
        path: the bundle.
        manifest: its contents.
        skipped: images that could not be read, with the reason.
        former: where the manifest of the bundle that was there before is kept.
        seconds: time by step: "reading" the images, "features" with "network" as the part that onnxruntime took for
            it, "index", "calibration" (the threshold), "checking" the bundle, "golden" (the golden frames).
    """

    path: Path
    manifest: Manifest
    skipped: tuple[str, ...]
    former: Path | None
    seconds: Mapping[str, float]


Announce = Callable[[Plan], None]


def build(
    images: Path,
    *,
    model: Path,
    output: Path,
    options: BuildOptions = BuildOptions(),  # noqa: B008  (frozen)
    announce: Announce = lambda plan: None,
    progress: Progress = lambda items, label: items,
) -> Built:
    """Build a bundle from a folder of images of good parts.

    Args:
        images: the folder; nested folders count.
        model: what `spade-edge export` wrote.
        output: the bundle folder; a bundle that is there already is replaced in one step and kept in its history.
        options: profile, views, false-reject rate and the like.
        announce: called once with the plan before the work starts.
        progress: wraps each long loop's items, with its label; e.g. tqdm.

    Raises:
        DataError: no folder, fewer than two images, an image that cannot be read or has another size than the views
            need, or no room on the disk.
        ModelError: the model is not a pyramid, or gives features that are not finite.
        UsageError: the output is something else than a bundle, the views do not fit the frames, or the images are too
            few for the rate.
        DeviceError: a package is missing.
    """
    matching, rate, threads = options.parameters, options.rate, options.threads
    check_output(output)
    output = output.resolve()  # "." has no folder beside it
    if output.is_relative_to(images.resolve()):
        raise UsageError(
            f"{output}: expected a bundle outside the images, found it among them; choose another --output"
        )
    found = find_images(images)
    _check_count(images, len(found))
    check_rate(rate, len(found))
    with staging(output) as stage:
        # Opened from its copy: weights that lie outside the model's file are not part of a bundle and are missed here.
        copy = stage.add("model", _copied(model, stage))
        session = Session.open(copy, threads=threads, source=str(model))
        card = session.card
        matching.check_cell(card.side)
        plan, mask = make_plan(found, session, matching, options.views, model_bytes=model.stat().st_size)
        announce(plan)
        _check_room(stage, plan)
        canvas = Canvas(plan.layout, card.view)
        grid = card.grid(card.levels[0])
        stitching = Stitching(canvas, grid, sigma=matching.sigma, mask=mask, threads=threads)

        clock = _Clock()
        used, skipped, limits = _read(
            stage, plan, Preprocessor(canvas, mask=mask), images, skip_bad=options.skip_bad, progress=progress
        )
        duplicates = _duplicates(stage, len(used), rate)
        clock.lap("reading")
        if mask is not None:
            stage.add_array("mask", mask.looked_at.astype(np.uint8))
        pyramids = Pyramids(session, stage.scratch("views"), used, len(plan.layout))
        searches: list[GraphSearch] = []
        gallery: Features
        if matching.projection == CODES:
            gallery, keys = extract_codes(stage, pyramids, threads=threads, progress=progress)
            clock.lap("features")
            searches = [GraphSearch(index, threads=threads) for index in _indexes(stage, keys, plan, progress)]
        else:
            gallery = extract_levels(stage, pyramids, progress=progress)
            clock.lap("features")
        matcher = Matcher(gallery, matching, searches=searches, threads=threads)
        clock.lap("index")
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        left_out = _leave_out(stage, matcher, stitching, duplicates, progress)
        threshold = calibrated(left_out, rate=rate, area=options.area, duplicates=groups(duplicates), now=now)
        clock.lap("calibration")
        _check_variation(images, gallery, threshold)
        manifest = Manifest(
            created=now,
            writer=f"spade-edge {__version__}",
            profile=options.profile,
            matching=matching,
            deviations=plan.departures,
            model=card,
            layout=plan.layout,
            names=used,
            threshold=threshold,
            limits=limits,
            scales=Scales.of(gallery.coding) if isinstance(gallery, CodedGallery) else None,
            files=dict(stage.files),
        )
        manifest = _finished(stage, manifest, images, threads, clock)
        former = publish(stage, output)
    seconds = clock.seconds | {"network": pyramids.seconds}
    return Built(path=output, manifest=manifest, skipped=skipped, former=former, seconds=seconds)


def _check_count(folder: Path, count: int) -> None:
    if count < 2:
        raise DataError(
            f"{folder}: expected at least 2 good images that can be read, found {count}: "
            "the threshold needs each scored against the others"
        )


def _copied(model: Path, stage: Staging) -> Path:
    if not model.is_file():
        found = "a folder" if model.is_dir() else "none"
        raise ModelError(f"{model}: expected a model file, found {found}; 'spade-edge export' writes one")
    try:
        return Path(shutil.copyfile(model, stage.scratch("model.onnx")))
    except PermissionError as problem:
        raise ModelError(f"{model}: expected a model file that can be read, found: {problem.strerror}") from None


def _check_variation(folder: Path, gallery: Features, threshold: Threshold) -> None:
    if max(threshold.map_maxima) <= 1e-6 * float(gallery.squares_of(0).mean()):
        raise DataError(
            f"{folder}: expected good images that differ a little, found {len(gallery)} that are the same "
            "to the network: every other frame would be a defect; is the camera frozen or covered?"
        )


def _check_room(stage: Staging, plan: Plan) -> None:
    views = len(plan.images) * len(plan.layout) * 12 * int(np.prod(plan.card.view.size))
    maps = len(plan.images) * 4 * int(np.prod(Canvas(plan.layout, plan.card.view).size))
    free, needed = shutil.disk_usage(stage.folder).free, plan.size + views + maps
    if needed > free:
        raise DataError(
            f"{stage.folder.parent}: expected {needed / 1e6:,.0f} MB of free disk, found {free / 1e6:,.0f} MB; "
            "free some, or use fewer images, fewer views or another --output"
        )


def _read(
    stage: Staging, plan: Plan, viewer: Preprocessor, folder: Path, *, skip_bad: bool, progress: Progress
) -> tuple[tuple[str, ...], tuple[str, ...], Limits]:
    """Read every image once, before the long work, so that all bad ones are named at the start.

    Leaves the views in the staging folder; gives the names that were read, the complaints about the others, and within
    which limits a frame is like them.
    """
    view, used, bad = plan.card.view, [], []
    small = tuple(side // THUMBNAIL for side in view.size)
    rows, columns = (resampling_weights(side, target) for side, target in zip(view.size, small, strict=True))
    thumbnails, conditions = [], []
    with stage.scratch("views").open("wb") as file:
        for path in progress(plan.images, "reading images"):
            try:
                name = path.relative_to(folder).as_posix()
                name.encode()
                seen = viewer(read_image(path))
            except UnicodeEncodeError:
                bad.append(f"{path}: expected a file name in UTF-8, found another encoding; rename it")
                continue
            except DataError as problem:
                bad.append(str(problem))
                continue
            except FrameError as problem:
                bad.append(f"{path}: {problem}")
                continue
            seen.tofile(file)
            conditions.append(Condition.of(seen, viewer.painted))
            thumbnails.append([np.rint(resample(one, rows=rows, columns=columns)).astype(np.uint8) for one in seen])
            used.append(name)
    if bad and not skip_bad:
        more = f" (and {len(bad) - 1} more of {len(plan.images)})" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}; mend or remove, or leave out with --skip-bad")
    _check_count(folder, len(used))
    by_view = np.array(thumbnails).swapaxes(0, 1)  # (N, views, …) -> (views, N, …)
    stage.add_array("thumbnails", by_view.reshape(-1, *by_view.shape[2:]))
    return tuple(used), tuple(bad), Limits.learned(conditions)


def _indexes(stage: Staging, keys: NDArray[np.uint8], plan: Plan, progress: Progress) -> list[Index]:
    """One index over all cells, or one a view over its own, which lie together."""
    count = plan.matching.indexes(len(plan.layout))
    indexes = []
    for number, own in enumerate(progress(np.split(keys, count), "indexing cells"), start=1):
        scratch = stage.scratch("index.hnsw")
        write_index(own, scratch)
        indexes.append(Index.read(stage.add("index" if count == 1 else f"index{number}", scratch)))
    return indexes


def _duplicates(stage: Staging, count: int, rate: float | None) -> NDArray[np.bool_]:
    """Find images that repeat others, and see whether what is left can stand for the rate."""
    thumbnails = np.load(stage.folder / stage.files["thumbnails"].name, mmap_mode="r", allow_pickle=False)
    duplicates = near_duplicates(thumbnails, count)
    check_rate(rate, len(distinct(count, groups(duplicates))))
    return duplicates


def _leave_out(
    stage: Staging, matcher: Matcher, stitching: Stitching, duplicates: NDArray[np.bool_], progress: Progress
) -> LeaveOneOut:
    """Score the good images against each other."""
    left_out = leave_one_out(
        matcher,
        stitching,
        duplicates=duplicates,
        scratch=stage.scratch("maps"),
        progress=lambda items: progress(items, "leave-one-out"),
    )
    if left_out.baseline is not None:
        stage.add_array("expected", left_out.baseline)
    return left_out


class _Clock:
    """Seconds since the lap before."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name], self._last = now - self._last, now


def _finished(stage: Staging, manifest: Manifest, images: Path, threads: int | None, clock: _Clock) -> Manifest:
    """Open the bundle as a device will, score a good image with it, and add the golden frames."""
    stage.add_manifest(manifest)
    scorer = Scorer.open(stage.folder, threads=threads)
    first, scores = images / manifest.names[0], manifest.threshold.scores
    result = scorer(read_image(first))
    # The image is in the gallery, so it lies near itself: not above what the others reach when they are left out.
    if not np.isfinite(result.score) or result.score > max(scores):
        raise BundleError(
            f"expected the new bundle to find {first.name} good, found score {result.score:.4g}; not written"
        )
    clock.lap("checking")
    usual = manifest.names[int(np.argsort(scores)[len(scores) // 2])]
    golden = add_golden(stage, scorer, read_image(images / usual))
    finished = replace(manifest, golden=golden, files=dict(stage.files))
    stage.add_manifest(finished)
    clock.lap("golden")
    return finished
