"""Names of pictures: inside their folder, and different for different frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from spade_edge.runtime import DataError
from spade_edge.tools.scoring.picture_names import picture_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (7, "000007.npy"),
        (1234567, "1234567.npy"),
        ("part.bmp", "part.npy"),
        ("sub/part.one.jpeg", "sub/part.one.npy"),
        ("sub.png/part.png", "sub.png/part.npy"),
        ("stack.tif#2", "stack#2.npy"),
        ("stack.tif#12", "stack#12.npy"),
        ("part #3.png", "part #3.npy"),
        ("part..png", "part..npy"),
        (".png", ".png.npy"),
        ("..png", "..npy"),
        ("no suffix", "no suffix.npy"),
        ("#1", "#1.npy"),
        ("Stück\n.tif", "Stück\n.npy"),
        (f"{251 * 'x'}.png", f"{251 * 'x'}.npy"),
    ],
)
def test_the_file_of_a_frame(name: str | int, expected: str, tmp_path: Path) -> None:
    assert picture_path(tmp_path, name, ".npy") == tmp_path / expected


@pytest.mark.parametrize("name", ["/etc/part.png", "../part.png", "sub/../../part.png", "..", "", ".", "a\0.png"])
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        picture_path(tmp_path, name, ".png")
