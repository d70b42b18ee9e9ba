"""How many of 16 bits the camera of the good images uses, learned from the largest number of each image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spade_edge.galleries.images import Picture, read_picture
from spade_edge.galleries.images.depth import bits_of
from spade_edge.runtime import DataError


def sample_bits(pictures: Iterable[Picture]) -> int | None:
    """The fewest bits of a camera that took all these pictures; None where none is stored in 16 bits.

    Args:
        pictures: read without bits. Those whose range is known do not count.
    """
    needed = (bits_of(one.brightest) for one in pictures if one.depth == 16 and not one.known_range)
    return max(needed, default=None)


class Bits:
    """The bits of 16 that the camera uses.

    All images must need the same number, or their order of brightness would be a guess. Until they are all read, the
    first one decides.

    Args:
        given: by the user; None to find them.

    Attributes:
        used: the bits; None as long as no image has 16.
    """

    def __init__(self, given: int | None) -> None:
        self.used = given
        self._found: dict[int, list[str]] | None = {} if given is None else None

    @property
    def guessed(self) -> bool:
        """Whether they were found and not given."""
        return bool(self._found)

    def read(self, path: Path) -> Picture:
        """Read an image file with these bits.

        Raises:
            DataError, DeviceError: as for `read_picture`.
        """
        if self._found is None:
            return read_picture(path, bits=self.used)
        picture = self._read_any(path)
        if picture.depth != 16 or picture.known_range:
            return picture
        needed = bits_of(picture.brightest)
        self._found.setdefault(needed, []).append(path.name)
        if self.used is None:
            self.used = needed
            picture = read_picture(path, bits=needed)
        return picture

    def _read_any(self, path: Path) -> Picture:
        try:
            return read_picture(path, bits=self.used)
        except DataError:
            if self.used is None:
                raise
            return read_picture(path)  # fails again, unless its numbers were too large for the bits

    def check(self, folder: Path) -> str:
        """Refuse images that need different numbers of bits.

        Returns:
            a line that tells what was found; empty if there is nothing to tell.

        Raises:
            DataError: the images do not agree.
        """
        if not self._found:
            return ""
        if len(self._found) == 1:
            return (
                f"the good images are read as {self.used} bits in 16, as their largest numbers show, and frames like "
                "them; --bits sets another number"
            )
        counts = [
            f"{len(names)} with numbers below {1 << bits:,} ({bits} bits, such as {names[0]})"
            for bits, names in sorted(self._found.items())
        ]
        raise DataError(
            f"{folder}: expected good images that use the same number of bits, found {' and '.join(counts)}; "
            f"say with --bits how many the camera has, at least {max(self._found)}"
        )
