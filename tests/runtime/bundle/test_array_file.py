"""Arrays of a bundle: in NumPy's format 1.0 and C order, of the right codes, and belonging together."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from altered import put_payload, replaced
from numpy.typing import NDArray

from spade_edge.galleries import Built, build
from spade_edge.runtime import BundleError
from spade_edge.runtime.bundle.array_file import LargestByte, mapped_array
from spade_edge.runtime.bundle.bundle import Bundle

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def saved(path: Path, array: NDArray[np.generic]) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.float32])
@pytest.mark.parametrize("shape", [(24,), (2, 12), (2, 3, 4), (2, 3, 4, 1)])
def test_what_numpy_writes_is_read(tmp_path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    array = np.arange(24).astype(dtype).reshape(shape)
    for wanted in (shape, (None,) * len(shape)):
        found = mapped_array(saved(tmp_path / "a.npy", array), wanted, dtype)
        assert np.array_equal(found, array) and found.dtype == array.dtype and found.flags.c_contiguous
        assert not found.flags.writeable


def test_what_is_mapped_for_writing_by_numpy_is_read(tmp_path: Path) -> None:
    array = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (2, 3, 4))
    array[:] = ARRAY
    array.flush()
    assert np.array_equal(mapped_array(tmp_path / "a.npy", (2, 3, 4), np.float32), ARRAY)


def test_fortran_order_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", np.asfortranarray(ARRAY))
    with pytest.raises(BundleError, match=r"a\.npy: expected .*C order, found Fortran"):
        mapped_array(path, ARRAY.shape, np.float32)
    square = np.ones((3, 3), np.float32)  # its shape does not tell
    (tmp_path / "a.npy").write_bytes(saved(tmp_path / "b.npy", square).read_bytes().replace(b"False", b"True "))
    with pytest.raises(BundleError):
        mapped_array(tmp_path / "a.npy", (3, 3), np.float32)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"'<f4'", b"'>f4'"),
        (b"'<f4'", b"'<f8'"),
        (b"'<f4'", b"'<i4'"),
        (b"'<f4'", b"'|O4'"),
        (b"'<f4'", b"'|V4'"),
        (b"'<f4'", b"'=f4'"),
        (b"'<f4'", b"[('a', '<f4')]"),
        (b"(2, 3, 4)", b"(2, 3, 5)"),
        (b"(2, 3, 4)", b"(2, 3, 3)"),
        (b"(2, 3, 4)", b"(4, 3, 2)"),
        (b"(2, 3, 4)", b"(24,)    "),
        (b"(2, 3, 4)", b"(2, 3, -4)"),
        (b"(2, 3, 4)", b"(2, 3, 4.)"),
        (b"(2, 3, 4)", b"(2, 3, 1e9)"),
        (b"(2, 3, 4)", b"(2, 3, 99999999999999999999999)"),
        (b"(2, 3, 4)", b"()       "),
        (b"(2, 3, 4)", b"[2, 3, 4]"),
        (b"(2, 3, 4)", b"(2, 3, 4) + (2,)"),
        (b"'shape'", b"'chape'"),
        (b"False", b"0"),
        (b"{", b"(" * 40),
        (b"\x93NUMPY\x01", b"\x93NUMPY\x02"),
        (b"\x93NUMPY\x01", b"\x93NUMPY\x03"),
        (b"\x93NUMPY", b"\x93NUMPI"),
    ],
)
def test_other_headers_are_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    content = saved(tmp_path / "a.npy", ARRAY).read_bytes()
    assert old in content
    content = content.replace(old, new, 1)
    for shorter in (content, content.replace(b" " * max(0, len(new) - len(old)) + b"\n", b"\n", 1)):
        (tmp_path / "a.npy").write_bytes(shorter)
        with pytest.raises(BundleError, match="a.npy: expected") as caught:
            mapped_array(tmp_path / "a.npy", ARRAY.shape, np.float32)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left", [0, 1, 7, 8, 9, 10, 11, 100, 127, 128, 223, -1])
def test_a_file_that_ends_early_or_late_is_refused(tmp_path: Path, left: int) -> None:
    content = saved(tmp_path / "a.npy", ARRAY).read_bytes()
    for wrong in (content[:left], content + content[: left % len(content) + 1]):
        (tmp_path / "a.npy").write_bytes(wrong)
        with pytest.raises(BundleError, match="a.npy: expected"):
            mapped_array(tmp_path / "a.npy", ARRAY.shape, np.float32)


def test_no_axis_may_be_empty_where_any_length_will_do(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", np.zeros((2, 0, 4), np.float32))
    with pytest.raises(BundleError, match="expected 2xanyx4"):
        mapped_array(path, (2, None, 4), np.float32)


def test_archives_and_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=ARRAY)
    np.save(tmp_path / "b.npy", np.array([object()], dtype=object), allow_pickle=True)
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("a.npz", "b.npy", "empty.npy"):
        with pytest.raises(BundleError, match=name):
            mapped_array(tmp_path / name, (1,), np.float32)


@pytest.mark.parametrize("at", [0, 5, 999])
def test_the_largest_byte_is_found_block_by_block(tmp_path: Path, at: int) -> None:
    array = np.full(1000, 3, np.uint8)
    array[at] = 9
    content = saved(tmp_path / "a.npy", array).read_bytes()
    for size in (128, 200, 1127, 5000):
        look = LargestByte()
        for start in range(0, len(content), size):
            look(content[start : start + size])
        assert look.value == 9  # the header has larger ones


@pytest.mark.parametrize("role", ["level1", "level2", "level3"])
@pytest.mark.parametrize("at", [(0, 0, 0), (5, 7, 3), (7, -1, -1)])
def test_codes_that_are_none_are_refused(edge: Built, tmp_path: Path, role: str, at: tuple[int, int, int]) -> None:
    codes = np.load(edge.path / edge.manifest.files[role].name)
    codes[at] = 128
    copy = replaced(edge.path, tmp_path / "copy.spade", role, codes)
    with pytest.raises(BundleError, match=rf"{role}-\w+\.npy: expected codes up to 127, found 128"):
        Bundle.open(copy)


def test_codes_that_are_none_are_found_by_a_sample_if_hashes_are_not_asked_for(edge: Built, tmp_path: Path) -> None:
    codes = np.load(edge.path / edge.manifest.files["level2"].name)
    copy = replaced(edge.path, tmp_path / "copy.spade", "level2", codes + np.uint8(120))
    with pytest.raises(BundleError, match="level2-.*expected codes up to 127"):
        Bundle.open(copy, verify="structure")


def test_squares_of_other_features_are_refused(edge: Built, paper: Built, tmp_path: Path) -> None:
    for number, built in enumerate((edge, paper)):
        squares = np.load(built.path / built.manifest.files["squares"].name)
        for name, wrong in {
            "none": np.zeros_like(squares),
            "negative": -squares,
            "turned": np.ascontiguousarray(squares[::-1]),
            "a little too small": squares * np.float32(0.999),
            "a little too large": squares * np.float32(1.001),
        }.items():
            copy = replaced(built.path, tmp_path / f"{number} {name}.spade", "squares", wrong)
            for verify in ("hashes", "structure"):
                with pytest.raises(BundleError, match="squares-.*expected the squared lengths"):
                    Bundle.open(copy, verify=verify)


def test_a_fortran_header_in_a_bundle_is_refused_for_every_array(edge: Built, tmp_path: Path) -> None:
    for role, payload in edge.manifest.files.items():
        if payload.name.endswith(".npy"):
            copy = Path(shutil.copytree(edge.path, tmp_path / f"{role}.spade"))
            content = (copy / payload.name).read_bytes()
            put_payload(
                copy, role, content.replace(b"'fortran_order': False", b"'fortran_order': True ", 1), suffix=".npy"
            )
            with pytest.raises(BundleError, match=f"{role}-"):
                Bundle.open(copy)


@pytest.mark.parametrize("value", [-1.0, 255.5, np.finfo(np.float32).max])
def test_a_reference_of_other_colours_is_refused(
    model: Path, part: Callable[..., NDArray[np.uint8]], tmp_path: Path, value: float
) -> None:
    (tmp_path / "good").mkdir()
    for seed in range(6):
        np.save(tmp_path / "good" / f"{seed}.npy", part(seed))
    built = build(tmp_path / "good", model=model, output=tmp_path / "part.spade")
    if "reference" not in built.manifest.files:
        pytest.fail("expected good images by which frames are aligned")
    reference = np.load(built.path / built.manifest.files["reference"].name)
    assert 0 <= reference.min() <= reference.max() <= 255
    reference[3, 2, 1] = value
    with pytest.raises(BundleError, match="reference-.*expected colours from 0 to 255"):
        Bundle.open(replaced(built.path, tmp_path / "copy.spade", "reference", reference))
