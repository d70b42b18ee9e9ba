"""Labelled images in folders: good parts, types of defects, and masks.

`layout` says which folders there may be, `mask_files` which mask belongs to which image. A mask has the same size as
its image. Pixels that are not 0 are defective; how other kinds of masks are read is said in `galleries.images.mask`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import find_images, read_image
from spade_edge.galleries.images.folder import as_text, name_of, remarks
from spade_edge.galleries.images.listing import look
from spade_edge.galleries.images.mask import looks_inverted, read_masks
from spade_edge.runtime import DataError
from spade_edge.runtime.result import GOOD
from spade_edge.tools.evaluation.layout import SPLIT, Layout, find_layout, some, tested_images
from spade_edge.tools.evaluation.mask_files import MaskFiles, beside


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        name: relative to the folder that holds `good`, with slashes.
        truth: "good" or the type of the defect: the name of its folder.
        path: path of the image.
        masks: paths of its masks, which are read as one; none for a good image, or if there is no mask.
    """

    name: str
    truth: str
    path: Path
    masks: tuple[Path, ...]

    @property
    def defective(self) -> bool:
        """Whether the image shows a defect."""
        return self.truth != GOOD


@dataclass(frozen=True)
class Dataset:
    """A labelled dataset. Use `open_dataset`.

    Attributes:
        path: the folder that was given.
        samples: good ones first, then the types of defects by name; within a type, in the order of names.
        stray: masks without an image.
        layout: the folders that were recognised, in words.
        notes: sentences about what was left out, or may mislead.
    """

    path: Path
    samples: tuple[Sample, ...]
    stray: tuple[Path, ...]
    layout: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def types(self) -> tuple[str, ...]:
        """Good first, then the types of defects by name."""
        return tuple(dict.fromkeys(sample.truth for sample in self.samples))

    @property
    def defective(self) -> tuple[Sample, ...]:
        """The images that show a defect."""
        return tuple(sample for sample in self.samples if sample.defective)

    @property
    def without_mask(self) -> tuple[Sample, ...]:
        """Defective images without a mask."""
        return tuple(sample for sample in self.defective if not sample.masks)

    def no_pixel_metrics(self) -> str:
        """Why pixel metrics cannot be computed; empty if every defective image has a mask."""
        defective, missing = self.defective, self.without_mask
        if not defective:
            return "the dataset has no defective images"
        if len(missing) == len(defective):
            return "the dataset has no masks: expected ground_truth/TYPE/NAME_mask.png beside the images"
        if missing:
            names = some(sample.name for sample in missing)
            return f"{len(missing)} of {len(defective)} defective images have no mask: {names}"
        return ""


def open_dataset(path: str | os.PathLike[str], *, follow_links: bool = False) -> Dataset:
    """Find the images of a dataset and their masks, without reading them.

    Args:
        path: the folder, in one of the layouts that `spade-edge evaluate --help` shows.
        follow_links: whether links to folders below those of good images and of types are followed, as for
            `find_images`.

    Raises:
        DataError: there is no folder of good images or there are several, it contains no images, or masks cannot be
            assigned.
    """
    path = Path(path)
    layout = find_layout(path)
    images, masks, empty = _files(layout, follow_links=follow_links)
    masks_beside = bool(masks)
    notes = []
    if layout.masks is not None:
        listing = look(layout.masks, follow_links=True)
        masks |= {as_text(name): layout.masks / name for name in listing.images}
        notes += [f"{layout.masks.name}: {remark}" for remark in remarks(listing)]
    if layout.split is not None and (tested := tested_images(layout.split, layout)) is not None:
        if missing := sorted(tested - images.keys()):
            notes.append(f"{layout.split} lists {len(missing)} more images, which are not there: {some(missing)}")
        images = {name: image for name, image in images.items() if name in tested}
    if layout.is_visa and layout.split is None:
        notes.append(
            f"without {SPLIT.as_posix()} beside it, all good images of this dataset count, also those that the bundle "
            f"was built from"
        )
    files = MaskFiles(masks)
    good = f"{name_of(layout.good, layout.images)}/"
    same = Counter(image.name.casefold() for name, image in images.items() if not name.startswith(good))
    samples = tuple(
        Sample(name, GOOD, image, ())
        if name.startswith(good)
        else Sample(name, name.split("/")[0], image, files.of(name, alone=same[image.name.casefold()] == 1))
        for name, image in images.items()
    )
    if not any(sample.truth == GOOD for sample in samples):
        raise DataError(
            f"{layout.good}: expected images of good parts"
            + (f" that {layout.split} assigns to the test" if layout.split else "")
            + ", found none"
        )
    if empty:
        notes.append(f"folders without images, left out: {some(empty)}")
    if layout.loose:
        loose = some(as_text(each.name) for each in layout.loose)
        notes.append(f"images outside of the folders of their types, left out: {loose}")
    words = _words(path, layout, samples, masks_beside=masks_beside)
    return Dataset(path, samples, files.stray(), words, tuple(notes))


def _files(layout: Layout, *, follow_links: bool) -> tuple[dict[str, Path], dict[str, Path], list[str]]:
    """The images by name, good ones first; the masks that lie beside them; and the folders without images.

    Raises:
        DataError: the folder of good images has none.
    """
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    empty = []
    for folder in (layout.good, *layout.types):
        try:
            found = {name_of(image, layout.images): image for image in find_images(folder, follow_links=follow_links)}
        except DataError:
            if folder == layout.good:
                raise
            empty.append(as_text(folder.name))
            continue
        drawn = beside(found)
        masks |= {name: found[name] for name in drawn}
        images |= {name: image for name, image in found.items() if name not in drawn}
    return images, masks, empty


def mask_of(sample: Sample) -> NDArray[np.bool_]:
    """Read the mask of a sample: (H, W) bool, True for defective pixels.

    Raises:
        DataError: there is no mask, it cannot be read, or no pixel is defective.
    """
    if not sample.masks:
        raise DataError(f"{sample.path}: expected an image with a mask, found none")
    mask = read_masks(sample.masks)
    if not mask.any():
        raise DataError(
            f"{sample.masks[0]}: expected a mask with defective pixels, found none: all pixels are 0; "
            f"draw the defect, or move {sample.name} to {GOOD}"
        )
    return mask


def check_size(sample: Sample, mask: NDArray[np.bool_], frame: NDArray[np.uint8]) -> None:
    """Refuse a mask of another size than its image.

    Args:
        sample: whose mask.
        mask: (H, W) bool.
        frame: (H, W, 3) or (H, W) uint8, the image.

    Raises:
        DataError: the sizes differ.
    """
    if mask.shape != frame.shape[:2]:
        remedy = "draw the mask at the size of the image"
        if mask.shape == frame.shape[1::-1]:
            remedy = "it is turned by 90 degrees; draw it on the image as it is shown, turned as its EXIF data say"
        raise DataError(
            f"{sample.masks[0]}: expected {frame.shape[1]}x{frame.shape[0]} pixels like {sample.name}, "
            f"found {mask.shape[1]}x{mask.shape[0]}; {remedy}"
        )


def check_masks(dataset: Dataset, *, progress: Callable[[int, int], None]) -> None:
    """Read every mask and its image, so that a bad mask is found before the long work starts.

    An image that cannot be read is left to the evaluation, which counts it as a frame that cannot be judged.

    Args:
        dataset: whose masks.
        progress: called with the number of masks read and of all masks.

    Raises:
        DataError: a mask cannot be read, has no defective pixel, or has another size than its image; or most masks
            look inverted.
    """
    masked = [sample for sample in dataset.defective if sample.masks]
    inverted = []
    for number, sample in enumerate(masked, start=1):
        mask = mask_of(sample)
        if looks_inverted(mask):
            inverted.append(sample)
        try:
            frame = read_image(sample.path)
        except DataError:
            continue
        check_size(sample, mask, frame)
        progress(number, len(masked))
    if 2 * len(inverted) > len(masked):
        raise DataError(
            f"{dataset.path}: expected masks that are 0 where the part is good, found that {len(inverted)} of "
            f"{len(masked)} mark most of their image, with all four corners: "
            f"{some(sample.masks[0].name for sample in inverted)}; invert them, or move them out of the dataset to go "
            f"on without pixel metrics"
        )


def _words(path: Path, layout: Layout, samples: Sequence[Sample], *, masks_beside: bool) -> str:
    """The folders of a dataset, in words."""

    def inside(folder: Path) -> str:
        return as_text(Path(os.path.relpath(folder, path)).as_posix())

    words = f"good images in {inside(layout.good)}"
    types = {sample.truth for sample in samples}
    if defects := [inside(folder) for folder in layout.types if as_text(folder.name) in types]:
        words += f", defects in {some(defects)}"
    if any(sample.masks for sample in samples):
        places = [inside(layout.masks)] if layout.masks is not None else []
        places += ["the same folders"] if masks_beside else []
        several = any(len(sample.masks) > 1 for sample in samples)
        words += f", masks in {' and '.join(places)}" + (", several of an image read as one" if several else "")
    return words
