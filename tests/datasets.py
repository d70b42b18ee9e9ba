"""The same labelled images, arranged as different datasets arrange theirs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Labelled:
    """An image and where it is defective.

    Attributes:
        type: of its defect; "good" for none.
        frame: (H, W, 3) uint8.
        defects: (H, W) bool for each defect, not empty unless the image is good.
    """

    type: str
    frame: NDArray[np.uint8]
    defects: tuple[NDArray[np.bool_], ...]

    @property
    def mask(self) -> NDArray[np.bool_]:
        return np.any(self.defects, axis=0)


def rendered(*, size: tuple[int, int] = (24, 32), good: int = 3, seed: int = 0) -> list[Labelled]:
    """A few good images and two of each of two types, one of them with two defects that overlap."""
    rng = np.random.default_rng(seed)

    def frame() -> NDArray[np.uint8]:
        return np.full((*size, 3), rng.integers(0, 256, 3), np.uint8)  # a colour tells them apart, also in a JPEG

    def defect() -> NDArray[np.bool_]:
        mask = np.zeros(size, bool)
        top, left = (int(rng.integers(0, side - 8)) for side in size)
        mask[top : top + 6, left : left + 8] = rng.integers(0, 2, (6, 8))
        mask[top, left] = True
        return mask

    images = [Labelled("good", frame(), ()) for _ in range(good)]
    for kind, count in (("crack", 1), ("stain", 2)):
        images += [Labelled(kind, frame(), tuple(defect() for _ in range(count))) for _ in range(2)]
    return images


def write(path: Path, pixels: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())
    return path


def numbered(images: list[Labelled]) -> list[tuple[str, Labelled]]:
    """Each image with its number among those of its type."""
    count: dict[str, int] = {}
    names = []
    for image in images:
        number = count[image.type] = count.get(image.type, -1) + 1
        names.append((f"{number:03}", image))
    return names


def white(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return mask * np.uint8(255)


def mvtec_ad(root: Path, images: list[Labelled]) -> None:
    write(root / "train/good/000.png", images[0].frame)
    for name, image in numbered(images):
        write(root / "test" / image.type / f"{name}.png", image.frame)
        if image.defects:
            write(root / "ground_truth" / image.type / f"{name}_mask.png", white(image.mask))


def mvtec_loco(root: Path, images: list[Labelled]) -> None:
    """A folder of masks for each image, and for each type of defect another value that is not 0."""
    write(root / "train/good/000.png", images[0].frame)
    write(root / "validation/good/000.png", images[0].frame)
    for name, image in numbered(images):
        write(root / "test" / image.type / f"{name}.png", image.frame)
        for number, defect in enumerate(image.defects):
            path = root / "ground_truth" / image.type / name / f"{number:03}.png"
            write(path, defect * np.uint8(255 - 7 * number))


def visa(root: Path, images: list[Labelled]) -> None:
    """Labels 1, 2 and so on; one folder for all types; a list of the images to test with."""
    rows = []
    for number, (_, image) in enumerate(numbered(images)):
        kind = "Anomaly" if image.defects else "Normal"
        name = f"{number:04}"
        write(root / "Data/Images" / kind / f"{name}.PNG", image.frame)
        labels = np.zeros(image.frame.shape[:2], np.uint8)
        for label, defect in enumerate(image.defects, start=1):
            labels[defect] = label
        mask = f"Data/Masks/{kind}/{name}.png"
        if image.defects:
            write(root / mask, labels)
        rows.append([root.name, "test", kind.lower(), f"{root.name}/Data/Images/{kind}/{name}.PNG", mask])
    write(root / "Data/Images/Normal/9999.PNG", images[0].frame)
    rows.append([root.name, "train", "normal", f"{root.name}/Data/Images/Normal/9999.PNG", ""])
    rows.append(["candle", "test", "normal", "candle/Data/Images/Normal/9999.PNG", ""])
    (root / "image_anno.csv").write_text("image,label,mask\n")
    (root.parent / "split_csv").mkdir(exist_ok=True)
    with (root.parent / "split_csv/1cls.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["object", "split", "label", "image", "mask"], *rows])


def visa_as_mvtec(root: Path, images: list[Labelled]) -> None:
    for number, image in enumerate(images):
        kind = "bad" if image.defects else "good"
        write(root / "test" / kind / f"{number:03}.PNG", image.frame)
        if image.defects:
            write(root / "ground_truth" / kind / f"{number:03}.png", image.mask * np.uint8(1))


def mvtec_ad_2(root: Path, images: list[Labelled]) -> None:
    write(root / "train/good/000_regular.png", images[0].frame)
    write(root / "test_private/000_regular.png", images[0].frame)
    for number, image in enumerate(images):
        kind, name = "bad" if image.defects else "good", f"{number:03}_regular"
        write(root / "test_public" / kind / f"{name}.png", image.frame)
        if image.defects:
            write(root / "test_public/ground_truth" / kind / f"{name}_mask.png", white(image.mask))


def btad(root: Path, images: list[Labelled]) -> None:
    write(root / "train/ok/0000.bmp", images[0].frame)
    for number, image in enumerate(images):
        kind = "ko" if image.defects else "ok"
        write(root / "test" / kind / f"{number:04}.bmp", image.frame)
        if image.defects:
            write(root / "ground_truth" / kind / f"{number:04}.png", white(image.mask))


def real_iad(root: Path, images: list[Labelled]) -> None:
    """Masks beside JPEG files, under the same name; the frames of the good ones are JPEG, too."""
    for number, image in enumerate(images):
        place = f"NG/{image.type}/S{number:04}" if image.defects else f"OK/S{number:04}"
        path = root / place / f"part_{number:04}_C1.jpg"
        write(path, image.frame)
        if image.defects:
            write(path.with_suffix(".png"), white(image.mask))


def masks_beside(root: Path, images: list[Labelled]) -> None:
    """Masks in the folders of their images, also those of good parts, which are black."""
    for name, image in numbered(images):
        write(root / image.type / f"{name}.png", image.frame)
        mask = image.mask if image.defects else np.zeros(image.frame.shape[:2], bool)
        write(root / image.type / f"{name}_mask.png", white(mask))


def masks_in_subfolders(root: Path, images: list[Labelled]) -> None:
    for name, image in numbered(images):
        write(root / image.type / "images" / f"{name}.png", image.frame)
        if image.defects:
            write(root / image.type / "masks" / f"{name}.PNG", white(image.mask))


def labels_in_subfolders(root: Path, images: list[Labelled]) -> None:
    for name, image in numbered(images):
        write(root / image.type / f"{name}.PNG", image.frame)
        if image.defects:
            write(root / image.type / "Label" / f"{name}_label.PNG", white(image.mask))


def one_folder_of_masks(root: Path, images: list[Labelled]) -> None:
    """All masks together; the names of the images are not repeated in another type."""
    for number, image in enumerate(images):
        write(root / image.type.upper() / f"{number}.png", image.frame)
        if image.defects:
            write(root / "Masks" / f"{number}_GT.npy", image.mask)


LAYOUTS: Mapping[str, Callable[[Path, list[Labelled]], None]] = {
    "MVTec AD": mvtec_ad,
    "MVTec AD 2": mvtec_ad_2,
    "MVTec LOCO AD": mvtec_loco,
    "VisA": visa,
    "VisA as MVTec AD": visa_as_mvtec,
    "BTAD": btad,
    "Real-IAD": real_iad,
    "masks beside the images": masks_beside,
    "masks in subfolders": masks_in_subfolders,
    "labels in subfolders": labels_in_subfolders,
    "one folder of masks": one_folder_of_masks,
}
