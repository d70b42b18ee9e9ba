"""The last step of a build: the bundle is opened as on a device, and must find a good image good."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.staging import Staging
from spade_edge.runtime import BundleError, Scorer
from spade_edge.runtime.bundle.manifest import Manifest


def accepted(stage: Staging, manifest: Manifest, frame: NDArray[np.uint8], *, threads: int | None) -> Scorer:
    """Write the manifest, open the bundle, and score the first good image that is included.

    Args:
        stage: the bundle, complete but for the golden frames.
        manifest: of it.
        frame: that image, (H, W, 3) or (H, W), as it was read at the beginning: its file may be gone.
        threads: of the scorer.

    Raises:
        BundleError: the score is not that of a good image.
    """
    stage.add_manifest(manifest)
    scorer = Scorer.open(stage.folder, threads=threads)
    first = next(image.name for image in manifest.images if image.included)
    result = scorer(frame)
    # The image is in the gallery and matches itself, so it scores no higher than the images that were left out.
    if not np.isfinite(result.score) or result.score > max(image.score for image in manifest.images):
        raise BundleError(f"expected the new bundle to find {first} good, found score {result.score:.4g}; not written")
    return scorer
