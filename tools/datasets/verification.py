"""Whether the images of a dataset are still there, and still the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from spade_edge.galleries.progress import Progress
from spade_edge.runtime.errors import DataError
from spade_edge.tools.datasets.entry import Entry
from spade_edge.tools.datasets.read_ahead import read_ahead
from spade_edge.tools.datasets.stores import Stores
from spade_edge.tools.remote import UnreachableError


@dataclass(frozen=True)
class Mismatch:
    """An image that is not what its dataset says.

    Attributes:
        name: of the image.
        fault: what is wrong, in a sentence with its address.
    """

    name: str
    fault: str


def verify(entries: Sequence[Entry], *, progress: Progress = lambda items, label: items) -> Iterator[Mismatch]:
    """Read every image of a dataset where it lies, and compare it with its size and hash.

    Args:
        entries: the dataset.
        progress: wraps the images, with a label.

    Yields:
        each image that is gone, changed or refused, in the order of the dataset.

    Raises:
        UnreachableError: a place does not answer; then nothing is said about the images after it.
    """
    stores = Stores()
    with TemporaryDirectory(prefix="spade-edge-", ignore_cleanup_errors=True) as scratch:

        def fault(numbered: tuple[int, Entry]) -> str:
            number, entry = numbered
            store, name = stores.of(entry.address)
            copy = Path(scratch, str(number))
            try:
                store.fetch(name, copy, sha256=entry.sha256, size=entry.size)
            except UnreachableError:
                raise
            except DataError as problem:
                return str(problem)
            finally:
                copy.unlink(missing_ok=True)
            return ""

        faults = read_ahead(fault, enumerate(entries))
        for entry in progress(entries, "verifying images"):
            if said := next(faults):
                yield Mismatch(entry.name, said)
