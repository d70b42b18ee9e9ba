"""What teaching does, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from spade_edge.galleries.gallery_change import GalleryChange
from spade_edge.galleries.prospect import Verdicts
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.cli.text.gallery import change_as_json, threshold_sentence, warning

SHOWN = 5  # names on one line


@dataclass(frozen=True)
class Effect:
    """What a change would do.

    Attributes:
        before, manifest: the manifest as it is and as it would be.
        recent: verdicts of recent frames; None where there are none.
        recalls: how often the graph search finds the nearest key, before and after; None if no graph changes.
    """

    before: Manifest
    manifest: Manifest
    recent: Verdicts | None
    recalls: tuple[float, float] | None


def effect_lines(effect: Effect) -> Iterator[str]:
    """What a change would do, line by line."""
    before, after = effect.before.threshold, effect.manifest.threshold
    if (before.score, before.pixel) == (after.score, after.pixel):
        yield f"the threshold stays at {after.score:.4g}"
    else:
        pixel = f"pixel threshold {before.pixel:.4g} → {after.pixel:.4g}"
        yield f"threshold {before.score:.4g} → {after.score:.4g}, {pixel}"
    if effect.recent is not None:
        yield _recent(effect.recent)
    former = {image.name: image.score > before.score for image in effect.before.images if image.counts}
    now = {image.name: image.score > after.score for image in effect.manifest.images if image.counts}
    other = [name for name in former if name in now and former[name] != now[name]]
    if other:
        more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        yield f"of the good images, {len(other)} change sides of the threshold: {', '.join(other[:SHOWN])}{more}"
    if said := warning(effect.before, effect.manifest):
        yield said
    if effect.recalls is not None:
        first, second = effect.recalls
        yield f"the index finds the nearest key for {second:.2%} of cells, before for {first:.2%}"


def sentence(change: GalleryChange, verb: str) -> str:
    """What was done, in one line."""
    words = {"add": ("added", "would add"), "remove": ("removed", "would remove")}[verb]
    done = words[0] if change.former is not None else words[1]
    images = change.manifest.images
    taught = sum(image.selected and image.included for image in images)
    matched = f"{sum(image.included for image in images)} images are matched"
    if taught:
        matched += f", {taught} of them taught in because of their verdict, which set no threshold"
    return f"{done} {', '.join(change.names)}; {matched}; {threshold_sentence(change)}"


def as_json(change: GalleryChange, effect: Effect) -> dict[str, Any]:
    """A change of the gallery as JSON values."""
    recent = None
    if effect.recent is not None:
        recent = {
            "frames": effect.recent.frames,
            "unread": effect.recent.unread,
            "changed": [asdict(one) for one in effect.recent.changed],
        }
    return {
        **change_as_json(change),
        "done": change.former is not None,
        "selected": [image.name for image in change.manifest.images if image.selected and image.included],
        "recent": recent,
        "recall": None if effect.recalls is None else effect.recalls[1],
        "former_recall": None if effect.recalls is None else effect.recalls[0],
    }


def _recent(recent: Verdicts) -> str:
    kinds = Counter((one.before, one.after) for one in recent.changed)
    told = ", ".join(f"{count} from {before} to {after}" for (before, after), count in sorted(kinds.items()))
    unread = f" ({recent.unread} more could not be read)" if recent.unread else ""
    changes = f"{len(recent.changed)} verdict{'' if len(recent.changed) == 1 else 's'} change"
    if len(recent.changed) == 1:
        changes += "s"
    return f"of the last {recent.frames} frames{unread}, {changes}" + (f": {told}" if told else "")
