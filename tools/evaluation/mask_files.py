"""Which mask files belong to which image, by their names.

    scratch/000.png         the image, relative to the folder of images
    scratch/000_mask.png    its mask, relative to the folder of masks; also -mask, _gt, _label, mask_000, in any case
    scratch/000.png         its mask, if there is none of the former
    scratch/000/*.png       its masks, if there are none of the former: what any of them marks is defective
    000_mask.png            its mask, if no other type of defect has an image of that name

Masks may also lie beside the images, or in a folder `masks` beside them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from spade_edge.runtime import DataError
from spade_edge.tools.evaluation.layout import GOOD_FOLDERS, MASK_FOLDERS, some

_ENDING = re.compile(r"(.+)[ ._-](?:masks?|gt|labels?|ground[ _-]?truth)([ _-]?\d+)?", re.IGNORECASE)
_BEGINNING = re.compile(r"(?:mask|gt|label)[ ._-](.+)", re.IGNORECASE)
_LOSSY = (".jpg", ".jpeg", ".jfif", ".jpe")
_INSIDE = (*MASK_FOLDERS, "label")  # folders of masks within that of a type
_PLACES = (*_INSIDE, "images", "image", "img")  # folders within that of a type, which say nothing about the name
_NUMBERED = re.compile(r"\d$")  # of several masks that belong to one image
_PAGE = re.compile(r"#\d+$")  # of a TIFF with several pages


class MaskFiles:
    """The masks of a dataset.

    Args:
        files: path of each mask by its name, relative to the folder of masks, or of images if it lies beside them.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._marked: dict[tuple[str, str], list[str]] = defaultdict(list)  # by folder and name of their image
        self._same: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._inside: dict[str, list[str]] = defaultdict(list)
        self._used: set[str] = set()
        self._taken: set[Path] = set()
        for name in sorted(files):
            place, stem = _place(name), PurePosixPath(name).stem
            self._same[place, stem.casefold()].append(name)
            self._inside[place].append(name)
            if (image := _called_after(stem)) is not None:
                self._marked[place, image.casefold()].append(name)

    def of(self, image: str, *, alone: bool) -> tuple[Path, ...]:
        """The masks of an image, in the order of their names; none, one, or several that belong together.

        Args:
            image: its name, relative to the folder of images.
            alone: whether no other defective image has the same file name, so that the folder need not be the same.

        Raises:
            DataError: there are several that do not belong together, or another image has the same.
        """
        name, place = PurePosixPath(image).name, _place(image)
        stem = PurePosixPath(image).stem
        for where in (place, "") if alone else (place,):
            keys = [(where, each.casefold()) for each in dict.fromkeys((stem, name))]
            if marked := self._of_page(image, [each for key in keys for each in self._marked.get(key, ())]):
                numbered = all(_NUMBERED.search(PurePosixPath(each).stem) for each in marked)
                return self._take(image, marked if numbered else [self._only(image, marked)])
            if same := self._of_page(image, [each for key in keys for each in self._same.get(key, ())]):
                return self._take(image, [self._only(image, same)])
            if inside := self._inside.get(f"{where}/{stem.casefold()}" if where else stem.casefold()):
                return self._take(image, inside)
        return ()

    def stray(self) -> tuple[Path, ...]:
        """Masks without an image, by name. Masks of good parts, which are all 0, are ignored."""
        return tuple(
            self._files[name]
            for name in sorted(self._files)
            if name not in self._used and _place(name).split("/")[0] not in GOOD_FOLDERS
        )

    def _of_page(self, image: str, found: list[str]) -> list[str]:
        """Those for the page that an image is, if any are for a single page."""
        page = _PAGE.search(image)
        return [each for each in found if page is not None and each.endswith(page[0])] or found

    def _only(self, image: str, found: list[str]) -> str:
        if len(found) > 1:  # names that differ only in upper and lower case
            exact = {PurePosixPath(image).stem, PurePosixPath(image).name}
            stems = {each: PurePosixPath(each).stem for each in found}
            found = [each for each in found if exact & {stems[each], _called_after(stems[each])}] or found
        if len(found) > 1:
            raise DataError(
                f"{self._files[found[0]]}: expected one mask for {image}, found "
                f"{some(PurePosixPath(each).name for each in found)}; remove all but one"
            )
        return found[0]

    def _take(self, image: str, names: list[str]) -> tuple[Path, ...]:
        page = _PAGE.search(image)
        paths = tuple(
            self._files[name].with_name(self._files[name].name + page[0])
            if page is not None and self._files[name].suffix.lower() in (".tif", ".tiff")
            else self._files[name]
            for name in names
        )
        self._used |= set(names)
        for path in paths:
            if path in self._taken:
                raise DataError(
                    f"{path}: expected one mask for each image, found two images of that name; rename one of them"
                )
        self._taken |= set(paths)
        return paths


def beside(names: Iterable[str]) -> frozenset[str]:
    """The masks among the files of a folder of images, by their names.

    A file is a mask if it lies in a folder `masks`, or is called NAME_mask where there is an image NAME or another
    file with such a name has one. Where each PNG or BMP of a folder has a JPEG of the same name, as in Real-IAD, it is
    the mask of that JPEG.
    """
    masks, folders = set(), defaultdict(list)
    for name in names:
        path = PurePosixPath(name)
        if any(part.lower() in _INSIDE for part in path.parts[1:-1]):
            masks.add(name)
        else:
            folders[path.parent].append(path)
    for files in folders.values():
        stems = {file.stem for file in files} | {file.name for file in files}
        called = {file: image for file in files if (image := _called_after(file.stem)) is not None}
        if stems & set(called.values()):
            masks |= {file.as_posix() for file in called}
        lossy = {file.stem for file in files if file.suffix.lower() in _LOSSY}
        twins = [file for file in files if file.suffix.lower() not in _LOSSY]
        if twins and all(file.stem in lossy for file in twins):
            masks |= {file.as_posix() for file in twins}
    return frozenset(masks)


def _called_after(stem: str) -> str | None:
    """The name of the image in that of its mask; None if it is not called mask."""
    found = _ENDING.fullmatch(stem) or _BEGINNING.fullmatch(stem)
    return None if found is None else found[1]


def _place(name: str) -> str:
    """The folder of a name, in lower case."""
    parts = [part.casefold() for part in PurePosixPath(name).parts[:-1]]
    return "/".join(part for number, part in enumerate(parts) if not number or part not in _PLACES)
