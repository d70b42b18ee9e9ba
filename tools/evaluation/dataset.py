"""Labelled images in folders: one folder of good parts, one per type of defect, and masks.

    DIR/test/good/*.png                                  MVTec AD; DIR/test may also be given
    DIR/test/scratch/000.png
    DIR/ground_truth/scratch/000_mask.png                or 000.png

    DIR/good/*.png                                       the same without `test`; ground_truth is optional
    DIR/scratch/*.png

A mask has the same size as its image. Pixels that are not 0 are defective. JPEG files are not accepted as masks:
their compression changes pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import find_images, read_image, read_mask
from spade_edge.galleries.images.formats import SUFFIXES
from spade_edge.runtime import DataError
from spade_edge.runtime.result import GOOD

TEST, MASKS, TRAIN = "test", "ground_truth", "train"
MASK_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix not in (".jpg", ".jpeg"))
NAMED = 3  # files that a message names; the others are counted


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        name: relative to the folder that holds `good`, with slashes.
        truth: "good" or the type of the defect: the name of its folder.
        path: path of the image.
        mask: path of its mask; None for a good image, or if there is no mask.
    """

    name: str
    truth: str
    path: Path
    mask: Path | None

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
    """

    path: Path
    samples: tuple[Sample, ...]
    stray: tuple[Path, ...]

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
        return tuple(sample for sample in self.defective if sample.mask is None)

    def no_pixel_metrics(self) -> str:
        """Why pixel metrics cannot be computed; empty if every defective image has a mask."""
        defective, missing = self.defective, self.without_mask
        if not defective:
            return "the dataset has no defective images"
        if len(missing) == len(defective):
            return f"the dataset has no masks: expected {MASKS}/TYPE/NAME_mask.png beside the images"
        if missing:
            names = some(sample.name for sample in missing)
            return f"{len(missing)} of {len(defective)} defective images have no mask: {names}"
        return ""


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Find the images of a dataset and their masks, without reading them.

    Args:
        path: the folder, in one of the layouts that `spade-edge evaluate --help` shows.

    Raises:
        DataError: there is no folder of good images, or a folder contains no images.
    """
    path = Path(path)
    test, masks = _layout(path)
    samples: list[Sample] = []
    used: set[Path] = set()
    for folder in sorted(_folders(test), key=lambda folder: (folder.name != GOOD, folder.name)):
        for image in find_images(folder):
            mask = None if folder.name == GOOD else _mask_of(image.relative_to(test), masks)
            samples.append(Sample(image.relative_to(test).as_posix(), folder.name, image, mask))
            if mask in used:
                raise DataError(
                    f"{mask}: expected one mask for each image, found two images of that name; rename one of them"
                )
            used |= {mask} if mask is not None else set()
    return Dataset(path, tuple(samples), _stray(masks, used))


def some(names: Iterable[str]) -> str:
    """The first of some names, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def mask_of(sample: Sample) -> NDArray[np.bool_]:
    """Read the mask of a sample: (H, W) bool, True for defective pixels.

    Raises:
        DataError: there is no mask, it cannot be read, or no pixel is defective.
    """
    if sample.mask is None:
        raise DataError(f"{sample.path}: expected an image with a mask, found none")
    mask = read_mask(sample.mask)
    if not mask.any():
        raise DataError(
            f"{sample.mask}: expected a mask with defective pixels, found none: all pixels are 0; "
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
        raise DataError(
            f"{sample.mask}: expected {frame.shape[1]}x{frame.shape[0]} pixels like {sample.name}, "
            f"found {mask.shape[1]}x{mask.shape[0]}; draw the mask at the size of the image"
        )


def check_masks(dataset: Dataset, *, progress: Callable[[int, int], None]) -> None:
    """Read every mask and its image, so that a bad mask is found before the long work starts.

    An image that cannot be read is left to the evaluation, which counts it as a frame that cannot be judged.

    Args:
        dataset: whose masks.
        progress: called with the number of masks read and of all masks.

    Raises:
        DataError: a mask cannot be read, has no defective pixel, or has another size than its image.
    """
    masked = [sample for sample in dataset.defective if sample.mask is not None]
    for number, sample in enumerate(masked, start=1):
        mask = mask_of(sample)
        try:
            frame = read_image(sample.path)
        except DataError:
            continue
        check_size(sample, mask, frame)
        progress(number, len(masked))


def _layout(path: Path) -> tuple[Path, Path | None]:
    """The folder that contains `good`, and the folder of masks."""
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder with a dataset, found {'a file' if path.exists() else 'nothing'}")
    if (path / TEST / GOOD).is_dir():
        test, masks = path / TEST, path / MASKS
    elif (path / GOOD).is_dir():
        test = path
        # If DIR/test itself was given, the masks are beside it.
        masks = path / MASKS
        if path.resolve().name == TEST and not masks.is_dir():
            masks = path.resolve().parent / MASKS
    else:
        raise DataError(f"{path}: expected {TEST}/{GOOD} or {GOOD} in it, found {_found(path)}")
    return test, masks if masks.is_dir() else None


def _found(path: Path) -> str:
    """What was found instead of good images, and what to do about it."""
    for folder in _folders(path):
        if (folder / TEST / GOOD).is_dir() or (folder / GOOD).is_dir():
            return f"datasets in its folders; choose one of them, such as {folder}"
    inside = path / TEST if (path / TEST).is_dir() else path
    names = some(folder.name for folder in _folders(inside))
    return f"{f'the folders {names}' if names else 'no folders'}; put images of good parts into {inside / GOOD}"


def _folders(path: Path) -> list[Path]:
    """The folders of images in a folder, in the order of their names."""
    no_class = (MASKS, TRAIN) if path.name != TEST else ()
    return sorted(
        folder
        for folder in path.iterdir()
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in no_class
    )


def _mask_of(name: Path, masks: Path | None) -> Path | None:
    if masks is None:
        return None
    for stem in (f"{name.stem}_mask", name.stem):
        for suffix in MASK_SUFFIXES:
            mask = masks / name.parent / f"{stem}{suffix}"
            if mask.is_file():
                return mask
    return None


def _stray(masks: Path | None, used: set[Path]) -> tuple[Path, ...]:
    """Masks without an image. Some datasets have masks of good parts, which are all 0: they are ignored."""
    if masks is None:
        return ()
    return tuple(
        mask
        for folder in _folders(masks)
        if folder.name != GOOD
        for mask in sorted(folder.rglob("*"))
        if mask.suffix.lower() in MASK_SUFFIXES and mask not in used and not mask.name.startswith(".")
    )
