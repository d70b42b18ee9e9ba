"""One image of a dataset, and the names that images may have."""

from __future__ import annotations

import os
from dataclasses import dataclass

from spade_edge.galleries.images.formats import SUFFIXES
from spade_edge.tools.remote import is_name

GOOD_LABELS = ("", "good", "ok", "normal")  # what images of good parts are called, in upper or lower case


@dataclass(frozen=True)
class Entry:
    """An image of a dataset.

    Attributes:
        name: of the image in a bundle: relative, with slashes.
        address: where it lies: an address or an absolute path; as it stands in a file, also relative to that file.
        sha256: of the file, 64 hexadecimal digits.
        size: of the file in bytes.
        group: images of one group show the same part; empty if it shows a part of its own.
        label: "good" or the type of the defect; empty if it is not known.
        camera: that took it; empty if it is not known.
        time: when the file was last changed, UTC, ISO 8601; empty if it is not known.
    """

    name: str
    address: str
    sha256: str
    size: int
    group: str = ""
    label: str = ""
    camera: str = ""
    time: str = ""

    @property
    def good(self) -> bool:
        """Whether it shows a good part, as far as its label says."""
        return self.label.casefold() in GOOD_LABELS


def fault_of(name: str) -> str:
    """Why a text cannot be the name of an image: it would lie elsewhere, be hidden, or not be read; empty if it can."""
    parts = name.split("/")
    if not name or name != name.strip() or not all(parts):
        return "a name with an empty part, or with spaces at its ends"
    if not is_name(name):
        return "a name with '..' or control characters in it"
    if any(part.startswith(".") for part in parts):
        return "a name with a part that begins with a dot"
    if os.name == "nt" and any(one in name for one in '\\:*?"<>|'):
        return "a name with characters that Windows does not allow"
    if not name.lower().endswith(SUFFIXES):
        return "a name that does not end like that of an image, such as .png"
    return ""
