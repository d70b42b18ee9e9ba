"""Datasets: which images there are, where they lie, and what they are.

entry          one image
dataset_file   reads and writes dataset files
"""

from __future__ import annotations

from spade_edge.tools.datasets.dataset_file import read_dataset, write_dataset
from spade_edge.tools.datasets.entry import Entry

__all__ = ["Entry", "read_dataset", "write_dataset"]
