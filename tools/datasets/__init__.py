"""Datasets: which images there are, where they lie, and what they are.

entry          one image, and the names that images may have
dataset_file   reads and writes dataset files
stores         one store for each bucket or server
read_ahead     slow calls for many items, some of them at once
image_cache    copies of images whose hash is known
scanning       finds and hashes the images of a folder or an address
verification   are they still there, and the same
difference     what differs between two datasets
naming         messages name the address and not the copy
local_images   images wherever they lie as local files
"""

from __future__ import annotations

from spade_edge.tools.datasets.dataset_file import read_dataset, write_dataset
from spade_edge.tools.datasets.difference import Difference, difference
from spade_edge.tools.datasets.entry import Entry
from spade_edge.tools.datasets.local_images import LocalImages, images_at
from spade_edge.tools.datasets.scanning import scan
from spade_edge.tools.datasets.verification import Mismatch, verify

__all__ = [
    "Difference",
    "Entry",
    "LocalImages",
    "Mismatch",
    "difference",
    "images_at",
    "read_dataset",
    "scan",
    "verify",
    "write_dataset",
]
