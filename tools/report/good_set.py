"""The good images of a bundle in the order in which a person should look at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.advice import Deciding, deciding
from spade_edge.galleries.calibration import again
from spade_edge.runtime.bundle.evidence import BOTH, FRAMES
from spade_edge.runtime.bundle.manifest import Manifest, evidence_of
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.runtime.errors import UsageError


@dataclass(frozen=True)
class GoodSet:
    """The good images, each by its number in the manifest, the least typical first.

    Attributes:
        manifest: of the bundle.
        suspects: the included images that are worth a look.
        others: the other included images.
        excluded: the excluded ones.
        deciding: the image whose score is the threshold; None if no single image decides.
        without: the threshold if the suspects were excluded, from the scores at hand; None if there are no suspects, if
            too few parts would be left, or if the threshold does not come from good images.
    """

    manifest: Manifest
    suspects: tuple[int, ...]
    others: tuple[int, ...]
    excluded: tuple[int, ...]
    deciding: Deciding | None
    without: Threshold | None

    @classmethod
    def of(cls, manifest: Manifest) -> GoodSet:
        images = manifest.images
        ranked = sorted(range(len(images)), key=lambda i: images[i].rank)
        included = [i for i in ranked if images[i].included]
        suspects = tuple(i for i in included if images[i].worth_a_look)
        return cls(
            manifest=manifest,
            suspects=suspects,
            others=tuple(i for i in included if i not in set(suspects)),
            excluded=tuple(i for i in ranked if not images[i].included),
            deciding=deciding(manifest),
            without=_without(manifest, suspects) if suspects else None,
        )

    @property
    def included(self) -> int:
        """Number of included images."""
        return len(self.suspects) + len(self.others)

    @property
    def parts(self) -> int:
        """Number of parts of which an image is included."""
        return len({self.manifest.images[i].group for i in (*self.suspects, *self.others)})

    @property
    def pixel_threshold(self) -> float:
        """The pixel threshold without the suspects, or the bundle's: with them, their own maps would look harmless."""
        return self.manifest.threshold.pixel if self.without is None else self.without.pixel

    def allowed(self, image: int) -> NDArray[np.bool_]:
        """The images that an image is compared with: included, of other parts, and no suspects if any others are left.

        Suspects that are alike would hide each other.

        Returns:
            (N,) bool.
        """
        groups = np.array([one.group for one in self.manifest.images])
        other_parts = self.manifest.counts & (groups != groups[image])
        typical = other_parts.copy()
        typical[list(self.suspects)] = False
        return typical if typical.any() else other_parts

    def repeats(self, image: int) -> tuple[int, ...]:
        """The other images of the part that an image shows."""
        images = self.manifest.images
        return tuple(i for i, one in enumerate(images) if one.group == images[image].group and i != image)

    @property
    def decisive(self) -> int | None:
        """The image whose score is the threshold; None if no single image decides."""
        return None if self.deciding is None else self.manifest.names.index(self.deciding.image.name)


def _without(manifest: Manifest, suspects: Sequence[int]) -> Threshold | None:
    threshold, aside = manifest.threshold, set(suspects)
    left = [image for i, image in enumerate(manifest.images) if image.counts and i not in aside]
    if threshold.source == FRAMES or len({image.group for image in left}) < 2:
        return None
    try:
        evidence = evidence_of(left, manifest.frames if threshold.source == BOTH else ())
        return again(threshold, evidence, now=threshold.set)
    except UsageError:  # the wanted rate cannot be extrapolated from so few
        return None
