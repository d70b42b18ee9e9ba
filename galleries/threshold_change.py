"""Changing the threshold of a bundle."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from spade_edge.galleries.calibration import calibrated, manual
from spade_edge.galleries.free_text import storable
from spade_edge.galleries.generation_log import Change
from spade_edge.galleries.images.folder import as_text
from spade_edge.galleries.staging import replace_manifest
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.threshold import Threshold

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ThresholdChange:
    """A change that has been made.

    Attributes:
        threshold: the new one.
        former: where the former manifest is kept.
    """

    threshold: Threshold
    former: Path


def set_threshold(
    bundle: str | os.PathLike[str],
    *,
    rate: float | None = None,
    score: float | None = None,
    pixel: float | None = None,
    area: float | None = None,
    reason: str = "",
) -> ThresholdChange:
    """Change the threshold of a bundle in one step. None leaves a value as it is.

    A rate is turned into thresholds by the scores of good parts that the bundle keeps. Scorers that are already open
    keep the threshold that they were opened with.

    Args:
        bundle: the bundle folder.
        rate: fraction of good frames that may be rejected; sets the score threshold and the pixel threshold.
        score: the score threshold, set manually. The rate is then estimated by counting.
        pixel: the pixel threshold, set manually.
        area: of the smallest region that is reported, in frame pixels; 0 for any.
        reason: why the threshold is changed. It is required and kept in the manifest with the date.

    Raises:
        UsageError: no change or no reason given, a rate together with manual values, or a value out of range.
        BundleError: there is no bundle, or its manifest is damaged.
        DataError: the bundle cannot be written.
    """
    bundle = Path(bundle)
    manifest = Manifest.read(bundle)
    reason = storable(as_text(reason))
    threshold = _changed(manifest, rate=rate, score=score, pixel=pixel, area=area, reason=reason)
    if not reason:
        raise UsageError("expected a reason for the change, found none; give --reason TEXT, which is kept with it")
    former = replace_manifest(
        bundle, replace(manifest, threshold=threshold), Change("threshold", reason), before=manifest
    )
    log.info("changed the threshold of %s to %g: %s", bundle, threshold.score, reason)
    return ThresholdChange(threshold, former)


def _changed(
    manifest: Manifest,
    *,
    rate: float | None,
    score: float | None,
    pixel: float | None,
    area: float | None,
    reason: str,
) -> Threshold:
    if all(value is None for value in (rate, score, pixel, area)):
        raise UsageError(
            "expected a rate, a score, a pixel threshold or an area to set, found none; "
            "give --false-rejects, --score, --pixel or --min-area"
        )
    is_manual = score is not None or pixel is not None
    if rate is not None and is_manual:
        raise UsageError(
            "expected a rate or manual values, found both; leave out --false-rejects, or --score and --pixel"
        )
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    threshold, evidence = manifest.threshold, manifest.evidence
    if area is not None:
        if not (math.isfinite(area) and area >= 0):
            raise UsageError(f"expected an area of 0 frame pixels or more, found {area:g}")
        threshold = replace(threshold, area=area, set=now, reason=reason)
    if rate is not None:
        threshold = calibrated(
            evidence, rate=rate, area=threshold.area, now=now, reason=reason, source=threshold.source
        )
    if is_manual:
        threshold = manual(threshold, evidence, score=score, pixel=pixel, now=now, reason=reason)
    return threshold
