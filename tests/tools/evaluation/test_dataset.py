"""Datasets as people have them: layouts, masks by name, and what is wrong with them in one line."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from datasets import LAYOUTS, rendered

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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_truth(tmp_path: Path, layout: str) -> None:
    images = rendered()
    root = tmp_path / "part"
    LAYOUTS[layout](root, images)
    dataset = open_dataset(root)
    check(root)
    assert dataset.stray == () and dataset.notes == () and dataset.no_pixel_metrics() == ""
    assert [sample.truth for sample in dataset.samples].count("good") == 3 and len(dataset) == len(images)
    left = list(images)
    for sample in dataset.samples:
        frame = cv2.imread(str(sample.path)).astype(int)
        (image,) = (each for each in left if np.abs(frame - each.frame).max() < 5)
        left.remove(image)
        assert sample.defective == bool(image.defects)
        if sample.defective:
            assert np.array_equal(mask_of(sample), image.mask)
    assert left == []
    assert len({sample.name for sample in dataset.samples}) == len(images)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("MVTec AD", "good images in test/good, defects in test/crack, test/stain, masks in ground_truth"),
        (
            "MVTec LOCO AD",
            "good images in test/good, defects in test/crack, test/stain, masks in ground_truth, "
            "several of an image read as one",
        ),
        ("VisA", "good images in Data/Images/Normal, defects in Data/Images/Anomaly, masks in Data/Masks"),
        ("BTAD", "good images in test/ok, defects in test/ko, masks in ground_truth"),
        ("Real-IAD", "good images in OK, defects in NG, masks in the same folders"),
        ("one folder of masks", "good images in GOOD, defects in CRACK, STAIN, masks in Masks"),
    ],
)
def test_the_layout_is_said(tmp_path: Path, layout: str, words: str) -> None:
    LAYOUTS[layout](tmp_path / "part", rendered())
    assert open_dataset(tmp_path / "part").layout == words


@pytest.mark.parametrize(
    "name",
    [
        *("000_mask.png", "000_mask.PNG", "000.png", "000.Png", "000-mask.bmp", "000_Mask.tif", "000_GT.png"),
        *(
            "000_gt.tiff",
            "000_label.PNG",
            "mask_000.png",
            "000.mask.png",
            "000.bmp.png",
            "000_masks.npy",
            "000 mask.png",
        ),
        *("000_ground_truth.png", "000_mask.jpg", "000/0.png", "000/any name.bmp"),
    ],
)
@pytest.mark.parametrize("place", ["ground_truth/crack", "Ground_Truth/Crack", "masks/crack", "gt", "test/crack/masks"])
def test_names_of_masks(tmp_path: Path, name: str, place: str) -> None:
    write(tmp_path / "test/good/000.bmp")
    write(tmp_path / "test/crack/000.bmp")
    write(tmp_path / place / name, defect=True)
    dataset = open_dataset(tmp_path)
    assert [(sample.name, sample.truth) for sample in dataset.samples] == [
        ("good/000.bmp", "good"),
        ("crack/000.bmp", "crack"),
    ]
    assert dataset.samples[1].masks == (tmp_path / place / name,) and dataset.stray == ()
    check(tmp_path)


@pytest.mark.parametrize("name", ["000_mask.png", "000-mask.PNG", "000_gt.bmp", "000_label.tif", "mask_000.png"])
def test_masks_beside_images_are_no_images(tmp_path: Path, name: str) -> None:
    for place in ("good/000", "crack/000", "crack/001"):
        write(tmp_path / f"{place}.jpg")
    write(tmp_path / "crack" / name, defect=True)
    write(tmp_path / "crack" / name.replace("000", "007"), defect=True)  # its image is gone
    dataset = open_dataset(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["good/000.jpg", "crack/000.jpg", "crack/001.jpg"]
    assert dataset.samples[1].masks == (tmp_path / "crack" / name,) and dataset.samples[2].masks == ()
    assert [path.name for path in dataset.stray] == [name.replace("000", "007")]


def test_an_image_may_be_called_mask(tmp_path: Path) -> None:
    """What ends in _mask beside no image of that name is an image itself."""
    for name in ("good/face_mask.png", "crack/face_mask.png", "crack/solder mask.png"):
        write(tmp_path / name)
    write(tmp_path / "ground_truth/crack/face_mask_mask.png", defect=True)
    write(tmp_path / "ground_truth/crack/solder mask.png", defect=True)
    dataset = open_dataset(tmp_path)
    assert [sample.name for sample in dataset.defective] == ["crack/face_mask.png", "crack/solder mask.png"]
    assert dataset.no_pixel_metrics() == "" and dataset.stray == ()


def test_several_masks_of_an_image(tmp_path: Path) -> None:
    write(tmp_path / "good/0.png")
    write(tmp_path / "crack/0.png")
    first = write(tmp_path / "ground_truth/crack/0_mask_1.png", defect=True)
    second = tmp_path / "ground_truth/crack/0_mask_2.png"
    cv2.imwrite(str(second), np.eye(*SIZE, dtype=np.uint8))
    (sample,) = open_dataset(tmp_path).defective
    expected = np.eye(*SIZE, dtype=bool)
    expected[2:5, 3:9] = True
    assert sample.masks == (first, second) and np.array_equal(mask_of(sample), expected)
    third = write(tmp_path / "ground_truth/crack/0_mask.png", defect=True)
    with pytest.raises(DataError, match=r"expected one mask for crack/0\.png, found 0_mask.*; remove all but one"):
        open_dataset(tmp_path)
    first.unlink()
    second.unlink()
    write(tmp_path / "ground_truth/crack/0_mask.bmp", defect=True)
    with pytest.raises(DataError, match=r"found 0_mask\.bmp, 0_mask\.png"):
        open_dataset(tmp_path)
    third.unlink()
    write(tmp_path / "ground_truth/crack/0.png", defect=True)  # a copy of the image, perhaps
    dataset = open_dataset(tmp_path)
    assert [path.name for path in dataset.defective[0].masks] == ["0_mask.bmp"]
    assert [path.name for path in dataset.stray] == ["0.png"]


@pytest.mark.parametrize("place", ["ground_truth/crack", "crack"])
def test_pages_have_their_own_masks(tmp_path: Path, place: str) -> None:
    frames = [np.full((*SIZE, 3), 40 * number, np.uint8) for number in range(1, 4)]
    masks = [np.zeros(SIZE, np.uint8) for _ in frames]
    for number, mask in enumerate(masks):
        mask[number, number:] = 1
    write(tmp_path / "good/1.png")
    (tmp_path / "crack").mkdir()
    (tmp_path / place).mkdir(exist_ok=True, parents=True)
    cv2.imwritemulti(str(tmp_path / "crack/stack.tif"), frames)
    cv2.imwritemulti(str(tmp_path / place / "stack_mask.tif"), masks)
    dataset = open_dataset(tmp_path)
    assert [sample.name for sample in dataset.defective] == [f"crack/stack.tif#{number}" for number in (1, 2, 3)]
    assert dataset.stray == () and dataset.no_pixel_metrics() == ""
    for sample, mask in zip(dataset.defective, masks, strict=True):
        assert np.array_equal(mask_of(sample), mask > 0)
    check(tmp_path)


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    write(tmp_path / "good/0.png")
    for name in ("A", "a"):
        write(tmp_path / "crack" / f"{name}.png")
        write(tmp_path / "gt/crack" / f"{name}_mask.png", defect=True)
    masks = [sample.masks[0].name for sample in open_dataset(tmp_path).defective]
    assert masks == ["A_mask.png", "a_mask.png"]


def test_one_folder_of_masks_for_names_that_repeat(tmp_path: Path) -> None:
    """000_mask.png may belong to either type: neither gets it, and it is named."""
    for name in ("good/000", "crack/000", "stain/000", "stain/001"):
        write(tmp_path / f"{name}.png")
    write(tmp_path / "masks/000_mask.png", defect=True)
    write(tmp_path / "masks/001_mask.png", defect=True)
    dataset = open_dataset(tmp_path)
    assert [sample.name for sample in dataset.without_mask] == ["crack/000.png", "stain/000.png"]
    assert [path.name for path in dataset.stray] == ["000_mask.png"]


@pytest.mark.parametrize("good", ["good", "Good", "GOOD", "ok", "OK", "normal", "Normal"])
@pytest.mark.parametrize("test", ["test", "Test", "images", "Data/Images", "."])
def test_names_of_good_folders(tmp_path: Path, good: str, test: str) -> None:
    write(tmp_path / test / good / "0.png")
    write(tmp_path / test / "NG" / "0.png")
    dataset = open_dataset(tmp_path)
    assert [(sample.name, sample.truth) for sample in dataset.samples] == [
        (f"{good}/0.png", "good"),
        ("NG/0.png", "NG"),
    ]


def test_what_else_lies_in_a_dataset(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "set")
    for name in ("test/.cache/1.png", "test/__MACOSX/crack/._000.png", "__MACOSX/1.png", ".DS_Store.png", "readme.png"):
        write(root / name)
    for name in (
        "test/good/Thumbs.db",
        "test/notes.txt",
        "test/documents/plan.txt",
        "ground_truth/crack/.002_mask.png",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("no image")
    (root / "test/scratch").mkdir()
    write(root / "test/overview.png")
    elsewhere = write(tmp_path / "elsewhere/000.png")
    (root / "test/linked").symlink_to(elsewhere.parent)
    (root / "ground_truth/crack/000.psd").touch()
    write(root / "ground_truth/linked/000.png", defect=True)
    dataset = open_dataset(root)
    assert dataset.types == ("good", "a stain", "crack", "linked") and len(dataset) == 7
    assert dataset.notes[0].startswith("ground_truth: left out 1 .psd file")
    assert dataset.notes[1:] == (
        "folders without images, left out: documents, scratch",
        "images outside of the folders of their types, left out: overview.png",
    )
    assert dataset.no_pixel_metrics() == "" and dataset.stray == ()


def test_layouts_that_cannot_be_read_say_how_to_arrange_them(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "DAGM/Train" / f"{number:04}.PNG")
        write(tmp_path / "Kolektor/kos01" / f"Part{number}.jpg")
        write(tmp_path / "Kolektor/kos01" / f"Part{number}_label.bmp")
        write(tmp_path / "flat" / f"{number}.png")
        write(tmp_path / "flat test/test" / f"{number}.png")
        write(tmp_path / "only defects/test/crack" / f"{number}.png")
        write(tmp_path / "two/good" / f"{number}.png")
        write(tmp_path / "two/OK" / f"{number}.png")
        write(tmp_path / "two masks/test/good" / f"{number}.png")
    write(tmp_path / "DAGM/Train/Label/0001_label.PNG", defect=True)
    (tmp_path / "two masks/Masks").mkdir()
    (tmp_path / "two masks/ground_truth").mkdir()
    (tmp_path / "empty/good").mkdir(parents=True)
    for name, says in {
        "DAGM": "found the folders Train",
        "DAGM/Train": "found images of all kinds in one folder; sort them into",
        "Kolektor": "found the folders kos01; put images of good parts into",
        "flat": f"sort them into {tmp_path / 'flat/good'} and a folder for each type of defect",
        "flat test": f"sort them into {tmp_path / 'flat test/test/good'} and",
        "only defects": f"found the folders crack; put images of good parts into {tmp_path / 'only defects/test/good'}",
        "two": "expected one folder of good images, found good, OK",
        "two masks": "expected one folder of masks, found",
        "empty": "expected images",
    }.items():
        with pytest.raises(DataError, match=re.escape(says)) as problem:
            open_dataset(tmp_path / name)
        assert "\n" not in str(problem.value)


def test_the_list_of_visa(tmp_path: Path) -> None:
    images = rendered()
    LAYOUTS["VisA"](tmp_path / "part", images)
    LAYOUTS["VisA"](tmp_path / "other", images)
    with pytest.raises(DataError, match=re.escape(f"choose one of them, such as {tmp_path / 'other'}")):
        open_dataset(tmp_path)
    whole = open_dataset(tmp_path / "other")
    assert len(whole) == len(images) and not any(sample.name == "Normal/9999.PNG" for sample in whole.samples)
    (tmp_path / "other/Data/Images/Normal/0001.PNG").unlink()
    (tmp_path / "other/Data/Images/Anomaly/0003.PNG").unlink()
    dataset = open_dataset(tmp_path / "other")
    assert len(dataset) == len(images) - 2 and [path.name for path in dataset.stray] == ["0003.png"]
    assert dataset.notes == (
        f"{tmp_path / 'split_csv/1cls.csv'} lists 2 more images, which are not there: "
        "Anomaly/0003.PNG, Normal/0001.PNG",
    )
    (tmp_path / "split_csv/1cls.csv").write_bytes(b"object,split,picture\nother,test,a\n")
    with pytest.raises(DataError, match=r"1cls\.csv: expected a list with the columns"):
        open_dataset(tmp_path / "other")
    (tmp_path / "split_csv/1cls.csv").write_bytes(b"object,split,label,image,mask\nother,\xff\n")
    with pytest.raises(DataError, match=r"1cls\.csv: expected a list with the columns"):
        open_dataset(tmp_path / "other")
    (tmp_path / "split_csv/1cls.csv").unlink()
    dataset = open_dataset(tmp_path / "other")
    assert len(dataset) == len(images) - 1 and "all good images of this dataset count" in dataset.notes[0]


def test_masks_that_look_inverted(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    for sample in open_dataset(root).defective[:2]:
        cv2.imwrite(str(sample.masks[0]), (~mask_of(sample)).astype(np.uint8) * 255)
    with pytest.raises(DataError, match="found that 2 of 3 mark most of their image, .*000_mask.png; invert them"):
        check(root)
    cv2.imwrite(str(open_dataset(root).defective[0].masks[0]), np.eye(*SIZE, dtype=np.uint8))
    check(root)  # one of three may be right


def test_a_mask_that_is_turned(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    write(root / "ground_truth/crack/001.png", defect=True, size=SIZE[::-1])
    with pytest.raises(DataError, match=r"expected 16x12 pixels like crack/001\.png, found 12x16; it is turned by 90"):
        check(root)
