"""What `spade-edge gallery` prints."""

from __future__ import annotations

from typing import Any

from spade_edge.galleries.gallery_change import GalleryChange
from spade_edge.runtime.bundle.good_image import GoodImage
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


def threshold_sentence(change: GalleryChange) -> str:
    """What a change of the gallery does to the threshold, in one line."""
    threshold = change.manifest.threshold
    return f"threshold {change.before.threshold.score:.6g} → {threshold.score:.6g}: {threshold.sentence()}"


def _why(image: GoodImage) -> str:
    if image.exclusion is not None:
        return f"  EXCLUDED: {image.exclusion.reason}"
    return f"  {image.remark}" if image.remark else ""
