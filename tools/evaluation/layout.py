"""Where a labelled dataset keeps its images and masks: the folders, without looking at their images.

    DIR/test/good/*.png            MVTec AD, MVTec LOCO AD, BTAD (ok, ko); DIR/test may also be given
    DIR/test/scratch/000.png
    DIR/ground_truth/…

    DIR/test_public/good/*.png     MVTec AD 2, with the folder of masks in DIR/test_public
    DIR/test_public/bad/*.png

    DIR/good/*.png                 the same without `test`
    DIR/scratch/*.png

    DIR/Data/Images/Normal/*.JPG   VisA; `split_csv/1cls.csv` beside DIR names the images to test with
    DIR/Data/Images/Anomaly/*.JPG
    DIR/Data/Masks/…

Upper and lower case are the same.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from spade_edge.galleries.images.formats import SUFFIXES
from spade_edge.runtime import DataError

GOOD_FOLDERS = ("good", "ok", "normal")
TEST_FOLDERS = ("test", "test_public", "images")
MASK_FOLDERS = (
    *("ground_truth", "ground-truth", "groundtruth", "ground truth", "gt", "masks", "mask", "labels", "annotations"),
)
OTHER_FOLDERS = ("train", "validation", "val", "__macosx")  # hold no images to test with
NAMED = 3  # files that a message names; the others are counted
VISA, SPLIT, TESTED = "data", Path("split_csv", "1cls.csv"), "test"


@dataclass(frozen=True)
class Layout:
    """The folders of a dataset.

    Attributes:
        images: the folder that holds those of the good images and of the types of defects.
        good: the folder of good images.
        types: the folders of the types of defects, by name.
        masks: the folder of masks; None if there is none.
        loose: images outside of these folders.
        is_visa: whether the folders are those of VisA, where good images to build from and to test with lie together.
        split: VisA's list of the images to test with; None if there is none.
    """

    images: Path
    good: Path
    types: tuple[Path, ...]
    masks: Path | None
    loose: tuple[Path, ...]
    is_visa: bool
    split: Path | None


def find_layout(path: Path) -> Layout:
    """Recognise the layout of a dataset.

    Raises:
        DataError: there is no folder of good images, or more than one.
    """
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder with a dataset, found {'a file' if path.exists() else 'nothing'}")
    images = _images(path)
    if images is None:
        raise DataError(
            f"{path}: expected test/good or good in it ({', '.join(GOOD_FOLDERS[1:])} mean the same), "
            f"found {_found(path)}"
        )
    (good, *others) = _named(images, GOOD_FOLDERS)
    if others:
        raise DataError(
            f"{images}: expected one folder of good images, found {some(each.name for each in (good, *others))}; "
            f"put all good images into one of them, or rename what holds a type of defect"
        )
    masks = _masks(path, images)
    is_visa = images.parent.name.lower() == VISA
    return Layout(
        images=images,
        good=good,
        types=tuple(folder for folder in _class_folders(images) if folder != good),
        masks=masks,
        loose=tuple(
            sorted(
                each
                for each in images.iterdir()
                if each.suffix.lower() in SUFFIXES and not each.name.startswith(".") and each.is_file()
            )
        ),
        is_visa=is_visa,
        split=_split(path) if is_visa else None,
    )


def tested_images(split: Path, layout: Layout) -> frozenset[str] | None:
    """The images that a list assigns to the test, relative to `layout.images`; None if it has none of this dataset.

    VisA's list has the columns object, split, label, image and mask, for all of its objects.

    Raises:
        DataError: the list cannot be read.
    """
    dataset = layout.images.parent.parent
    try:
        with split.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("object") == dataset.resolve().name]
        prefix = f"{dataset.resolve().name}/{layout.images.relative_to(dataset).as_posix()}/"
        tested = {row["image"].removeprefix(prefix) for row in rows if row["split"] == TESTED}
    except (OSError, ValueError, KeyError, AttributeError, csv.Error) as problem:
        raise DataError(
            f"{split}: expected a list with the columns object, split and image, found: {type(problem).__name__}; "
            f"restore it, or remove it to evaluate all images"
        ) from None
    return frozenset(tested) or None


def some(names: Iterable[str]) -> str:
    """The first of some names, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _images(path: Path) -> Path | None:
    """The folder that holds a folder of good images: DIR/test, DIR/Data/Images, or DIR itself."""
    places = _named(path, TEST_FOLDERS)
    places += [inside for data in _named(path, (VISA,)) for inside in _named(data, TEST_FOLDERS)]
    return next((place for place in (*places, path) if _named(place, GOOD_FOLDERS)), None)


def _masks(path: Path, images: Path) -> Path | None:
    """The folder of masks, beside the folder of images or in it.

    Raises:
        DataError: there are several.
    """
    found = _named(images, MASK_FOLDERS)
    if images != path:
        found += _named(images.parent, MASK_FOLDERS)
    elif images.resolve().name.lower() in TEST_FOLDERS:  # DIR/test itself was given
        found += _named(images.resolve().parent, MASK_FOLDERS)
    if len(found) > 1:
        raise DataError(
            f"{path}: expected one folder of masks, found {some(map(str, found))}; put all masks into one of them, or "
            f"move the other out of the dataset"
        )
    return found[0] if found else None


def _split(path: Path) -> Path | None:
    places = (path / SPLIT, path.resolve().parent / SPLIT)
    return next((place for place in places if place.is_file()), None)


def _found(path: Path) -> str:
    """What was found instead of good images, and what to do about it."""
    for folder in _folders(path):
        if _images(folder) is not None:
            return f"datasets in its folders; choose one of them, such as {folder}"
    inside = next(iter(_named(path, TEST_FOLDERS)), path)
    if any(each.suffix.lower() in SUFFIXES and not each.name.startswith(".") for each in inside.iterdir()):
        return (
            f"images of all kinds in one folder; sort them into {inside / 'good'} and a folder for each type of "
            f"defect, such as {inside / 'scratch'}, and masks into {path / 'ground_truth' / 'scratch'}"
        )
    names = some(folder.name for folder in _folders(inside))
    return (
        f"{f'the folders {names}' if names else 'no folders'}; put images of good parts into {inside / 'good'}, and "
        f"those of each type of defect into a folder beside it"
    )


def _class_folders(images: Path) -> list[Path]:
    """The folders of good images and of types of defects, by name."""
    no_class = (
        MASK_FOLDERS + OTHER_FOLDERS[-1:] if images.name.lower() in TEST_FOLDERS else MASK_FOLDERS + OTHER_FOLDERS
    )
    return [folder for folder in _folders(images) if folder.name.lower() not in no_class]


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if not each.name.startswith(".") and each.is_dir())


def _named(path: Path, names: Iterable[str]) -> list[Path]:
    """The folders in a folder that have one of these names, in upper or lower case; in the order of the names."""
    folders = [(folder.name.lower(), folder) for folder in _folders(path)]
    return [folder for name in names for found, folder in folders if found == name]
