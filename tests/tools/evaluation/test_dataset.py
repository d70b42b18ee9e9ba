"""Datasets as people have them: layouts, masks by name, and what is wrong with them in one line."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from spade_edge.runtime import DataError
from spade_edge.tools.evaluation.dataset import check_masks, mask_of, open_dataset

SIZE = (12, 16)


def write(path: Path, *, defect: bool = False, size: tuple[int, int] = SIZE, value: int = 255) -> Path:
    """An image, or a mask with a defect in it."""
    image = np.zeros(size, np.uint8)
    if defect:
        image[2:5, 3:9] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, image)
    else:
        assert cv2.imwrite(str(path), image)
    return path


def mvtec(root: Path) -> Path:
    """As MVTec AD is published: three good images, two types of defects, masks named both ways."""
    for number in range(3):
        write(root / "train" / "good" / f"{number:03}.png")
        write(root / "test" / "good" / f"{number:03}.png")
    for name, mask in (("crack/000", "crack/000_mask"), ("crack/001", "crack/001"), ("a stain/x", "a stain/x_mask")):
        write(root / "test" / f"{name}.png")
        write(root / "ground_truth" / f"{mask}.png", defect=True)
    return root


def check(path: Path) -> None:
    check_masks(open_dataset(path), progress=lambda done, of: None)


def test_mvtec_layout(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    dataset = open_dataset(root)
    assert [(sample.name, sample.truth) for sample in dataset.samples] == [
        ("good/000.png", "good"),
        ("good/001.png", "good"),
        ("good/002.png", "good"),
        ("a stain/x.png", "a stain"),
        ("crack/000.png", "crack"),
        ("crack/001.png", "crack"),
    ]
    masks = [mask.relative_to(root / "ground_truth").as_posix() for sample in dataset.samples for mask in sample.masks]
    assert masks == ["a stain/x_mask.png", "crack/000_mask.png", "crack/001.png"]
    assert dataset.types == ("good", "a stain", "crack") and dataset.no_pixel_metrics() == "" and dataset.stray == ()
    assert [sample.path for sample in open_dataset(root / "test").samples] == [s.path for s in dataset.samples]
    assert all(sample.masks for sample in open_dataset(root / "test").defective)
    check(root)


def test_a_folder_for_each_type_without_masks(tmp_path: Path) -> None:
    for name in ("good/1.png", "scratch/1.jpg", "scratch/deep/2.npy", "train/9.png", ".cache/1.png"):
        write(tmp_path / name)
    dataset = open_dataset(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["good/1.png", "scratch/1.jpg", "scratch/deep/2.npy"]
    assert dataset.no_pixel_metrics() == (
        "the dataset has no masks: expected ground_truth/TYPE/NAME_mask.png beside the images"
    )
    check(tmp_path)


def test_a_folder_for_each_type_with_masks(tmp_path: Path) -> None:
    write(tmp_path / "good/1.png")
    write(tmp_path / "scratch/deep/2.png")
    write(tmp_path / "ground_truth/scratch/deep/2_mask.npy", defect=True, value=1)
    write(tmp_path / "ground_truth/good/1_mask.png")  # some datasets have masks of good parts
    dataset = open_dataset(tmp_path)
    assert dataset.no_pixel_metrics() == "" and dataset.types == ("good", "scratch") and dataset.stray == ()
    assert mask_of(dataset.samples[1]).sum() == 18


def test_no_defects(tmp_path: Path) -> None:
    write(tmp_path / "test/good/1.png")
    dataset = open_dataset(tmp_path)
    assert dataset.no_pixel_metrics() == "the dataset has no defective images" and len(dataset) == 1


def test_missing_masks_are_named_and_strays_are_told(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    for number in range(2, 7):
        write(root / "test" / "crack" / f"{number:03}.png")
    write(root / "ground_truth" / "crack" / "999_mask.png", defect=True)
    dataset = open_dataset(root)
    assert dataset.no_pixel_metrics() == (
        "5 of 8 defective images have no mask: crack/002.png, crack/003.png, crack/004.png and 2 more"
    )
    assert [mask.name for mask in dataset.stray] == ["999_mask.png"]


def test_masks_of_all_kinds(tmp_path: Path) -> None:
    """0 and 1, grey or colour, with alpha: what is not 0 is defective."""
    root = mvtec(tmp_path)
    mask = np.zeros((*SIZE, 4), np.uint8)
    mask[..., 3] = 255
    mask[2:5, 3:9, 1] = 1
    cv2.imwrite(str(root / "ground_truth/crack/001.png"), mask)
    (sample,) = (sample for sample in open_dataset(root).samples if sample.name == "crack/001.png")
    assert np.argwhere(mask_of(sample)).tolist() == [[y, x] for y in range(2, 5) for x in range(3, 9)]


def test_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "set")
    write(tmp_path / "file.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "test" / "test").mkdir(parents=True)
    write(tmp_path / "bad" / "test" / "pass" / "1.png")
    write(tmp_path / "no images" / "good" / "x.txt.png").rename(tmp_path / "no images" / "good" / "x.txt")
    for path, says in {
        tmp_path / "absent": "expected a folder with a dataset, found nothing",
        tmp_path / "file.png": "expected a folder with a dataset, found a file",
        tmp_path / "empty": f"found no folders; put images of good parts into {tmp_path / 'empty' / 'good'}",
        tmp_path / "bad": f"found the folders pass; put images of good parts into {tmp_path / 'bad' / 'test' / 'good'}",
        tmp_path / "no images": "no images/good: expected images",
        tmp_path: f"found datasets in its folders; choose one of them, such as {tmp_path / 'no images'}",
    }.items():
        with pytest.raises(DataError, match=re.escape(says)) as problem:
            open_dataset(path)
        assert str(problem.value).startswith(str(path)) and "\n" not in str(problem.value)

    twins = mvtec(tmp_path / "twins")
    write(twins / "test" / "crack" / "000.bmp")
    with pytest.raises(DataError, match="found two images of that name; rename one of them"):
        open_dataset(twins)

    mask = root / "ground_truth" / "crack" / "000_mask.png"
    write(mask)
    with pytest.raises(DataError, match=r"000_mask\.png: expected a mask with defective pixels, found none"):
        check(root)
    write(mask, defect=True, size=(24, 32))
    with pytest.raises(DataError, match=r"expected 16x12 pixels like crack/000\.png, found 32x24"):
        check(root)
    mask.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"000_mask\.png: expected an image"):
        check(root)
    write(mask, defect=True)
    (root / "test" / "crack" / "000.png").write_bytes(b"no image")  # a frame that cannot be judged, later
    check(root)
