"""Laying a bundle where it belongs: as a new generation, unless it is there, or people have changed it since.

A bundle that was taught, re-thresholded or taken back at its place is not overwritten by the very bundle that it was
before: the next build would undo that every night. A bundle from other images replaces it, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spade_edge.galleries import unpack
from spade_edge.galleries.generation_log import LogLine, read_log
from spade_edge.galleries.output import check_output
from spade_edge.galleries.unpacking import UNPACK
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.manifest_file import manifest_bytes
from spade_edge.runtime.digest import BUNDLE_MARK

UNCHANGED, BY_HAND, NEW = "unchanged", "changed by hand", "new"
_WHOLE = ("build", UNPACK, "pull")  # verbs of generations that were not made by hand from the one before


@dataclass(frozen=True)
class Standing:
    """What is at the place of a bundle, compared with what is wanted there.

    Attributes:
        state: UNCHANGED if it is the wanted one, and no file of it is gone or cut off; BY_HAND if people have changed
            that since; NEW if it has to be laid.
        by_hand: what people have done since the last generation that came whole.
    """

    state: str
    by_hand: tuple[LogLine, ...] = ()

    @property
    def words(self) -> str:
        """What people have done, in words; empty if nothing."""
        if not self.by_hand:
            return ""
        last = self.by_hand[-1]
        more = f" and {len(self.by_hand) - 1} more" if len(self.by_hand) > 1 else ""
        return f"{last.verb}{more}, at last by {last.who} on {last.when[:10]}"


def standing(bundle: Path, manifest: str) -> Standing:
    """Compare what is at a place with the bundle that is wanted there.

    Args:
        bundle: its folder, which need not exist.
        manifest: SHA-256 of the manifest that is wanted.

    Raises:
        UsageError: something other than a bundle is there.
        BundleError: its manifest or its log cannot be read.
    """
    check_output(bundle)
    if not (bundle / BUNDLE_MARK).exists():
        return Standing(NEW)
    _, found = manifest_bytes(bundle)
    if found == manifest:
        return Standing(UNCHANGED if _is_whole(bundle, manifest) else NEW)
    lines = read_log(bundle).lines
    whole = [number for number, line in enumerate(lines) if line.verb in _WHOLE]
    by_hand = tuple(lines[whole[-1] + 1 :]) if whole else tuple(lines)
    if whole and lines[whole[-1]].manifest == manifest and by_hand:
        return Standing(BY_HAND, by_hand)
    return Standing(NEW, by_hand)


def _is_whole(bundle: Path, manifest: str) -> bool:
    """Whether no file of a bundle is gone or cut off. Their hashes are looked at by whoever opens it."""
    for payload in Manifest.read(bundle, sha256=manifest).files.values():
        try:
            if (bundle / payload.name).stat().st_size != payload.size:
                return False
        except OSError:
            return False
    return True


def lay(packed: Path, bundle: Path) -> None:
    """Put a packed bundle in its place, as a new generation if one is there.

    Args:
        packed: the file, whose name the log will tell; it is removed.
        bundle: the folder, which need not exist.

    Raises:
        UsageError, BundleError, DataError: as for `unpack`.
    """
    try:
        unpack(packed, bundle)
    finally:
        packed.unlink(missing_ok=True)
