"""Good frames that were held back from the gallery: do they keep the promise, and what threshold would they certify?"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from spade_edge.galleries.calibration import calibrated
from spade_edge.galleries.disk import open_reserved
from spade_edge.galleries.free_text import storable
from spade_edge.galleries.generation_log import Change
from spade_edge.galleries.grouping import groups_of, parts_of
from spade_edge.galleries.images import find_images, name_of
from spade_edge.galleries.images.folder import as_text
from spade_edge.galleries.images.like_good import Reading
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.promise import UNLIKE, Promise, promise, rank_test
from spade_edge.galleries.staging import replace_manifest
from spade_edge.runtime import DataError, FrameError, Scorer, UsageError
from spade_edge.runtime.bundle.evidence import BOTH, FRAMES, IMAGES
from spade_edge.runtime.bundle.held_back_frame import HeldBackFrame
from spade_edge.runtime.bundle.manifest import evidence_of
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.runtime.result import CANNOT_JUDGE, GOOD

log = logging.getLogger(__name__)

SAME = 1e-3  # of the pixel threshold: a map that nowhere reaches it is that of an image of the gallery


@dataclass(frozen=True)
class Calibration:
    """What held-back frames say about a bundle's threshold.

    Attributes:
        frames: those that could be judged, with their scores.
        refused: reason by name, for the frames that cannot be judged; they count as rejects.
        promise: the promised rate and the rate found, one frame of each part.
        likeness: p-value of the rank test of the frames' scores against the leave-one-out scores of the good images.
        higher: probability that a frame scores higher than a good image; .5 if they are alike.
        certified: the threshold that these frames give, alone or with the good images; None if it was not asked for.
        former: where the former manifest is kept, if the threshold was changed.
    """

    frames: tuple[HeldBackFrame, ...]
    refused: dict[str, str]
    promise: Promise
    likeness: float
    higher: float
    certified: Threshold | None = None
    former: Path | None = None

    @property
    def alike(self) -> bool:
        """Whether the frames score like the good images, so that both can be evidence together."""
        return self.likeness >= UNLIKE


def calibrate(
    bundle: str | os.PathLike[str],
    frames: str | os.PathLike[str],
    *,
    groups: str | None = None,
    follow_links: bool = False,
    certify: str | None = None,
    rate: float | None = None,
    reason: str = "",
    bits: int | None = None,
    even_so: bool = False,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> Calibration:
    """Score good frames that the gallery does not hold, test the promised rate, and certify a threshold from them.

    Args:
        bundle: the bundle folder.
        frames: a folder of images of good parts, none of which is among the good images of the bundle.
        groups: which frames show the same part, as for a build; None to find repeats automatically.
        follow_links: whether links to folders are followed, as for a build.
        certify: "frames" sets the threshold from these frames alone, "both" from them and the good images together;
            None changes nothing.
        rate: fraction of good frames that may be rejected; None for the one that the evidence suggests.
        reason: why the threshold is changed; required with `certify`.
        bits: that the camera uses of the 16 of a stored number; None for those of the good images.
        even_so: judge also frames of other colours, another depth, shape or size than the good images.
        threads: for all work; None for one per core.
        progress: wraps the frames, with a label.

    Raises:
        UsageError: an unknown `certify`, no reason, a rate or a reason without `certify`, a rate too low, or frames
            that are unlike the good images and are to be counted together with them.
        DataError: no frame that can be read and judged, or a frame that is one of the gallery's images.
        BundleError, DeviceError: as for `Scorer.open`.
    """
    if certify not in (None, FRAMES, BOTH):
        raise UsageError(f"expected certify to be {FRAMES} or {BOTH}, found '{certify}'")
    if certify is None and rate is not None:
        raise UsageError("expected --certify with a rate, found none; choose frames or both")
    if certify is None and reason.strip():
        raise UsageError("expected --certify with a reason, found none; choose frames or both, or leave out --reason")
    if certify is not None and not reason.strip():
        raise UsageError("expected a reason for the change, found none; give --reason TEXT, which is kept with it")
    bundle, folder = Path(bundle), Path(frames)
    found = find_images(folder, follow_links=follow_links)
    if groups is not None:  # a mistake is said before the frames are scored
        groups_of([name_of(path, folder) for path in found], groups, folder=folder)
    scorer = Scorer.open(bundle, threads=threads, even_so=even_so)
    manifest = scorer.bundle.manifest
    reading = Reading.like(manifest.format, bits=bits, even_so=even_so)
    scored, refused, rejected = _scored(scorer, folder, found, reading, groups=groups, progress=progress)
    known = {(frame.name, frame.score) for frame in manifest.frames}
    if certify is None and manifest.threshold.source != IMAGES and any((f.name, f.score) in known for f in scored):
        raise DataError(
            f"{folder}: expected frames that have not set the threshold, found some that have: they would confirm "
            "themselves; take other frames"
        )
    parts = {frame.group for frame in scored} | {-1 - i for i in range(len(refused))}
    likeness, higher = rank_test(evidence_of((), scored).of_parts, manifest.evidence_of(IMAGES).of_parts)
    result = Calibration(
        frames=scored,
        refused=refused,
        promise=promise(manifest.threshold.rate, rejected=rejected, parts=len(parts)),
        likeness=likeness,
        higher=higher,
    )
    if certify is None:
        return result
    if certify == BOTH and not result.alike:
        raise UsageError(
            f"{folder}: expected frames that score like the good images, found that they score "
            f"{'higher' if higher > 0.5 else 'lower'} (p = {likeness:.2g}), so both together certify nothing; "
            "use --certify frames"
        )
    changed = replace(manifest, frames=scored)
    threshold = calibrated(
        changed.evidence_of(certify),
        rate=rate,
        area=manifest.threshold.area,
        now=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        reason=storable(as_text(reason)),
        source=certify,
    )
    former = replace_manifest(
        bundle, replace(changed, threshold=threshold), Change("calibrate", reason.strip()), before=manifest
    )
    log.info("changed the threshold of %s to %g: %s", bundle, threshold.score, reason)
    return replace(result, certified=threshold, former=former)


def _scored(
    scorer: Scorer, folder: Path, found: Sequence[Path], reading: Reading, *, groups: str | None, progress: Progress
) -> tuple[tuple[HeldBackFrame, ...], dict[str, str], int]:
    """Score the frames; returns those that can be judged, the others with the reason, and the number of rejects.

    One frame of each part is counted, the first by name.
    """
    names: list[str] = []
    scores, maxima, verdicts = [], [], []
    refused: dict[str, str] = {}
    limit = SAME * scorer.bundle.manifest.threshold.pixel
    with TemporaryDirectory(prefix="spade-edge-") as scratch:
        size = (len(found), len(scorer.canvas.boxes), *scorer.bundle.manifest.model.view.size, 3)
        views = open_reserved(Path(scratch, "views.npy"), np.float32, size)
        for path in progress(found, "scoring frames"):
            name = name_of(path, folder)
            try:
                image = reading.image(path)
            except DataError as problem:  # as where it is scored
                refused[name] = str(problem)
                continue
            try:
                result = scorer(image)
            except FrameError as problem:
                raise DataError(f"{path}: {problem}") from None
            if result.verdict == CANNOT_JUDGE:
                refused[name] = result.reason
                continue
            if result.heatmap.max() <= limit:
                raise DataError(
                    f"{path}: expected a frame that was held back, found one of the gallery's images; "
                    "take frames of other parts"
                )
            views[len(names)] = scorer.preprocessor(image)
            names.append(name)
            scores.append(result.score)
            maxima.append(float(result.heatmap.max()))
            verdicts.append(result.verdict)
        if not names:
            raise DataError(f"{folder}: expected frames that can be judged, found none among {len(found)}")
        numbers = parts_of(views[: len(names)], names, groups, folder=folder, progress=progress)
        del views  # Windows does not remove files that are mapped
    frames = tuple(
        HeldBackFrame(name=name, group=group, score=score, map_maximum=maximum)
        for name, group, score, maximum in zip(names, numbers, scores, maxima, strict=True)
    )
    first = [numbers.index(group) for group in sorted(set(numbers))]
    return frames, refused, len(refused) + sum(verdicts[i] != GOOD for i in first)
