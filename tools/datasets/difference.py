"""What differs between two datasets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spade_edge.tools.datasets.entry import Entry

SAID = ("group", "label", "camera")  # what a dataset says of an image


@dataclass(frozen=True)
class Change:
    """Something that a dataset says of an image, before and after.

    Attributes:
        name: of the image.
        what: "group", "label", "camera" or "address".
        before: in the old dataset.
        after: in the new one.
    """

    name: str
    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Difference:
    """What differs between an old and a new dataset; names in order.

    Attributes:
        added: only in the new one.
        removed: only in the old one.
        changed: with another content.
        said: of which group, label or camera differ.
        moved: that lie at another address, with the same content.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    said: tuple[Change, ...]
    moved: tuple[Change, ...]

    @property
    def nothing(self) -> bool:
        """Whether both are the same, but for the times of their files."""
        return not (self.added or self.removed or self.changed or self.said or self.moved)


def difference(old: Iterable[Entry], new: Iterable[Entry]) -> Difference:
    """Compare two datasets, image by image of the same name."""
    before, after = ({entry.name: entry for entry in entries} for entries in (old, new))
    both = sorted(before.keys() & after.keys())
    same = {name for name in both if before[name].sha256 == after[name].sha256}
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(name for name in both if name not in same),
        said=tuple(
            Change(name, what, getattr(before[name], what), getattr(after[name], what))
            for name in both
            for what in SAID
            if getattr(before[name], what) != getattr(after[name], what)
        ),
        moved=tuple(
            Change(name, "address", before[name].address, after[name].address)
            for name in sorted(same)
            if before[name].address != after[name].address
        ),
    )
