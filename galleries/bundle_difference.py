"""What differs between two generations of a bundle, or between two bundles."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spade_edge.galleries.generation import manifest_of
from spade_edge.runtime.bundle.manifest import Manifest


@dataclass(frozen=True)
class Difference:
    """What differs between an old manifest and a new one.

    Attributes:
        added: names of good images that only the new one has.
        removed: of those that only the old one has.
        excluded: of images that were included and are excluded now, with the reason.
        included: of images that were excluded and are included now.
        settings: dotted name to the old and the new value of everything else that is set, chosen or found: threshold,
            limits, matching, place, layout, model and so on; None where there is none.
        files: roles whose content differs.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    excluded: dict[str, str]
    included: tuple[str, ...]
    settings: dict[str, tuple[Any, Any]]
    files: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return any((self.added, self.removed, self.excluded, self.included, self.settings, self.files))


def difference(
    old: str | os.PathLike[str] | int,
    new: str | os.PathLike[str] | int | None = None,
    *,
    bundle: str | os.PathLike[str] | None = None,
) -> Difference:
    """Compare two bundle folders, or two generations of one bundle.

    Args:
        old: a bundle folder, or with `bundle` the number of a generation.
        new: the same; with `bundle` also None for the one in force.
        bundle: the bundle that the numbers belong to.

    Raises:
        UsageError: there is no such generation, or it was deleted.
        BundleError: there is no bundle, or log or manifest are damaged.
    """
    return _difference(*(_manifest(which, bundle) for which in (old, new)))


def _manifest(which: str | os.PathLike[str] | int | None, bundle: str | os.PathLike[str] | None) -> Manifest:
    if bundle is None:
        if which is None or isinstance(which, int):
            raise TypeError(f"expected a bundle folder, or bundle= with numbers, found {which!r}")
        return Manifest.read(Path(which))
    if which is None:
        return Manifest.read(Path(bundle))
    if not isinstance(which, int):
        raise TypeError(f"expected the number of a generation with bundle=, found {which!r}")
    return manifest_of(Path(bundle), which)


def _difference(old: Manifest, new: Manifest) -> Difference:
    before, after = ({image.name: image for image in manifest.images} for manifest in (old, new))
    both = [name for name in after if name in before]
    settings = [_settings(manifest) for manifest in (old, new)]
    return Difference(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        excluded={
            name: exclusion.reason
            for name in both
            if before[name].exclusion is None and (exclusion := after[name].exclusion) is not None
        },
        included=tuple(name for name in both if before[name].exclusion is not None and after[name].exclusion is None),
        settings={
            name: (settings[0].get(name), settings[1].get(name))
            for name in dict.fromkeys([*settings[0], *settings[1]])
            if settings[0].get(name) != settings[1].get(name)
        },
        files=tuple(
            role for role in dict.fromkeys([*old.files, *new.files]) if old.files.get(role) != new.files.get(role)
        ),
    )


def _settings(manifest: Manifest) -> dict[str, Any]:
    """Everything but images and files, by dotted names; scales of codes and golden results follow from the images."""
    return _flat(
        {
            "created": manifest.created,
            "writer": manifest.writer,
            "profile": manifest.profile,
            "threshold": manifest.threshold.to_json(),
            "limits": manifest.limits.to_json(),
            "format": manifest.format.to_json(),
            "farthest": manifest.farthest,
            "matching": manifest.matching.to_json(),
            "place": manifest.place.to_json(),
            "alignment": None if manifest.alignment is None else manifest.alignment.to_json(),
            "layout": manifest.layout.to_json(),
            "model": manifest.model.to_json(),
            "frames": len(manifest.frames),
        }
    )


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            flat |= _flat(inner, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = list(inner) if isinstance(inner, tuple) else inner
    return flat
