"""What the images, the disk and the model file must fulfil for a build."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spade_edge.galleries.plan import Plan
from spade_edge.galleries.staging import Staging
from spade_edge.galleries.untypical import ROUNDS
from spade_edge.runtime import DataError, ModelError
from spade_edge.runtime.bundle.good_image import GoodImage
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.matching.gallery import Features
from spade_edge.runtime.preprocessing.condition import Condition

STILL = 1e-6  # anomaly maps below this fraction of the embeddings' mean square come from images that are the same

EMPTY = 12.0  # grey levels: a picture of which nearly all pixels are so near black, or white, shows nothing
NEARLY = 3.0  # standard deviations from the mean within which nearly all pixels lie


def check_count(folder: Path, count: int) -> None:
    """Refuse fewer than two images.

    Raises:
        DataError: there are not enough.
    """
    if count < 2:
        raise DataError(
            f"{folder}: expected at least 2 good images that can be read, found {count}: "
            "for the threshold each is scored against the others"
        )


def check_content(folder: Path, conditions: Sequence[Condition]) -> None:
    """Refuse images most of which are nearly black or nearly white. Dark images in which something is seen pass.

    Raises:
        DataError: half of the images or more show nothing.
    """
    dark = sum(one.brightness + NEARLY * one.contrast < EMPTY for one in conditions)
    bright = sum(255 - one.brightness + NEARLY * one.contrast < EMPTY for one in conditions)
    for what, count in (("black", dark), ("white", bright)):
        if count and 2 * count >= len(conditions):
            raise DataError(
                f"{folder}: expected good images that show something, found {count} of {len(conditions)} nearly "
                f"{what}; look at light, exposure and lens cap, and give --bits if the camera has fewer than 16"
            )


def check_room(folder: Path, plan: Plan) -> None:
    """Refuse a disk without room for the bundle and for what is kept beside it while it is built.

    Raises:
        DataError: there is too little room.
    """
    views = len(plan.images) * len(plan.layout) * 12 * int(np.prod(plan.card.view.size))
    maps = (1 + ROUNDS) * len(plan.images) * 4 * int(np.prod(Canvas(plan.layout, plan.card.view).size))
    free, needed = shutil.disk_usage(folder).free, plan.size + views + maps
    if needed > free:
        raise DataError(
            f"{folder.parent}: expected {needed / 1e6:,.0f} MB of free disk space, found {free / 1e6:,.0f} MB; "
            "free some, or use fewer images, fewer views or another --output"
        )


def check_variation(folder: Path, gallery: Features, images: Sequence[GoodImage]) -> None:
    """Refuse images that are all the same to the network.

    Raises:
        DataError: the largest anomaly map of a good image is practically zero.
    """
    maxima = [image.map_maximum for image in images if image.map_maximum is not None]
    if max(maxima) <= STILL * float(gallery.squares_of(0).mean()):
        raise DataError(
            f"{folder}: expected good images that differ a little, found {len(gallery)} that are the same "
            "to the network, so that any other frame would be a defect; is the camera frozen or covered?"
        )


def copied_model(model: Path, stage: Staging) -> Path:
    """Copy the model file into the staging folder.

    Raises:
        ModelError: there is no such file, or it cannot be read.
    """
    if not model.is_file():
        found = "a folder" if model.is_dir() else "none"
        raise ModelError(f"{model}: expected a model file, found {found}; 'spade-edge export' writes one")
    try:
        return Path(shutil.copyfile(model, stage.scratch("model.onnx")))
    except PermissionError as problem:
        raise ModelError(f"{model}: expected a model file that can be read, found: {problem.strerror}") from None
