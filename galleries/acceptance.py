"""The last step of a build: the bundle is opened as on a device, and must find a good image good."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spade_edge.galleries.images import read_image
from spade_edge.galleries.staging import Staging
from spade_edge.runtime import BundleError, Scorer
from spade_edge.runtime.bundle.manifest import Manifest


def accepted(stage: Staging, manifest: Manifest, images: Path, *, threads: int | None) -> Scorer:
    """Write the manifest, open the bundle, and score the first good image that is included.

    Args:
        stage: the bundle, complete but for the golden frames.
        manifest: of it.
        images: the folder that its names refer to.
        threads: of the scorer.

    Raises:
        BundleError: the score is not that of a good image.
    """
    stage.add_manifest(manifest)
    scorer = Scorer.open(stage.folder, threads=threads)
    first = images / next(image.name for image in manifest.images if image.included)
    result = scorer(read_image(first, bits=manifest.format.bits))
    # The image is in the gallery and matches itself, so it scores no higher than the images that were left out.
    if not np.isfinite(result.score) or result.score > max(image.score for image in manifest.images):
        raise BundleError(
            f"expected the new bundle to find {first.name} good, found score {result.score:.4g}; not written"
        )
    return scorer
