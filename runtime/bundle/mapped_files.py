"""Files of a bundle that are mapped into memory, and whether they are still whole.

A mapped page is read from the file when it is first used. If the file has become shorter meanwhile, or its disk is
gone, the system ends the process with SIGBUS, which Python cannot turn into an exception. So only large arrays are
mapped, and their files are looked at before each frame, in about a microsecond each.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError


class MappedFiles:
    """The mapped files of an open bundle.

    Args:
        arrays: file to the array that np.load has mapped; arrays in memory are ignored.
    """

    def __init__(self, arrays: Mapping[Path, NDArray[Any]]) -> None:
        maps = ((path, getattr(array, "_mmap", None)) for path, array in arrays.items())
        self._maps: list[tuple[Path, mmap.mmap]] = [(path, mapped) for path, mapped in maps if mapped is not None]

    def check(self) -> None:
        """Refuse a bundle whose files were cut while it was open.

        A file that was deleted or replaced by another stays readable until the bundle is closed.

        Raises:
            BundleError: a file is shorter than when it was opened.
        """
        for path, mapped in self._maps:
            if mapped.size() < len(mapped):  # of the file as it is now, and of the map; offsets of ours are below 64 KB
                raise BundleError(
                    f"{path}: expected at least {len(mapped)} bytes as when it was opened, found {mapped.size()}: "
                    "the file was cut meanwhile; copy the bundle again"
                )
