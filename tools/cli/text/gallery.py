"""What `spade-edge gallery` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from spade_edge.galleries.gallery_change import GalleryChange
from spade_edge.runtime.bundle.good_image import GoodImage, in_words
from spade_edge.runtime.bundle.manifest import Manifest


def as_json(manifest: Manifest) -> list[dict[str, Any]]:
    """The good images in the gallery's order, as JSON values."""
    return [
        {
            "name": image.name,
            "group": image.group,
            "included": image.included,
            "untypical": image.untypical,
            "score": image.score,
            "reason": image.remark if image.exclusion is None else image.exclusion.reason,
            "taught": None if image.taught is None else asdict(image.taught),
        }
        for image in manifest.images
    ]


def lines(manifest: Manifest) -> list[str]:
    """The good images as lines of text, the least typical first."""
    text = [f"{'untypical':>9}  {'score':>9}  {'part':>5}  image"]
    for image in ranked(manifest):
        value = round(image.untypical, 2) + 0.0  # no minus sign before 0.00
        text.append(f"{value:9.2f}  {image.score:9.4g}  {image.group:5}  {image.name}{_why(image)}")
    included = [image for image in manifest.images if image.included]
    text.append(
        f"{len(included)} of {len(manifest.images)} images are included and show "
        f"{len({image.group for image in included})} different parts; above 1 an image is worth a look"
    )
    if selected := sum(image.selected for image in included):
        text.append(f"taught in because of their verdict, and no evidence for the threshold: {selected} of them")
    return text


def ranked(manifest: Manifest) -> list[GoodImage]:
    """The good images, the least typical first."""
    return sorted(manifest.images, key=lambda image: image.rank)


def change_as_json(change: GalleryChange) -> dict[str, Any]:
    """A change of the gallery as JSON values."""
    return {
        "changed": list(change.names),
        "included": int(change.manifest.included.sum()),
        "excluded": int((~change.manifest.included).sum()),
        "place": change.manifest.matching.place,
        "threshold": change.manifest.threshold.to_json(),
        "former_threshold": change.before.threshold.score,
    }


def sentence(change: GalleryChange, verb: str) -> str:
    """A change of the gallery in one line."""
    return (
        f"{verb}d {', '.join(change.names)}; {int(change.manifest.included.sum())} of {len(change.manifest.images)} "
        f"images are included; {threshold_sentence(change)}"
    )


def warning(before: Manifest, after: Manifest) -> str:
    """What to say if good images that score high leave the evidence; empty if none does."""
    counts = {image.name for image in after.images if image.counts}
    limit = before.threshold.score
    high = [image.name for image in before.images if image.counts and image.name not in counts and image.score > limit]
    if not high:
        return ""
    more = f" and {len(high) - 1} more" if len(high) > 1 else ""
    return (
        f"{high[0]}{more} scored over the threshold: if the part is good, keep it ('spade-edge gallery undo'), because "
        "without such parts more good frames are rejected than promised"
    )


def threshold_sentence(change: GalleryChange) -> str:
    """What a change of the gallery does to the threshold, in one line."""
    threshold = change.manifest.threshold
    if threshold.score == change.before.threshold.score:
        return f"the threshold stays at {threshold.score:.6g}: {threshold.sentence()}"
    return f"threshold {change.before.threshold.score:.6g} → {threshold.score:.6g}: {threshold.sentence()}"


def _why(image: GoodImage) -> str:
    if image.exclusion is not None:
        return f"  EXCLUDED: {image.exclusion.reason}"
    if image.taught is not None:
        return f"  {in_words(image.taught)}"
    return f"  {image.remark}" if image.remark else ""
