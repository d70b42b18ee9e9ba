"""Whether the good images come from one camera: grey or colour, 8 or 16 bits, size.

One image of another kind among many is easily overlooked. It widens what counts as good, or makes the network see other
detail. So such images are named, and the build stops unless the user says that they belong there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spade_edge.runtime import DataError
from spade_edge.runtime.preprocessing.colour import Colour
from spade_edge.runtime.preprocessing.frame_format import Size

SHOWN = 5  # names on one line
ASPECT = 1.02  # sizes whose aspects differ by more are clearly different
SIDES = 1.25  # and those whose sides do


@dataclass(frozen=True)
class Shape:
    """What is compared of a good image.

    Attributes:
        name: relative to its folder.
        size: (height, width) in pixels.
        depth: bits of a number in its file, 8 or 16.
        colour: what is measured of its colours.
    """

    name: str
    size: Size
    depth: int
    colour: Colour


def check_alike(folder: Path, shapes: Sequence[Shape], *, even_so: bool) -> tuple[str, ...]:
    """Refuse good images of which some are of another kind than the others.

    Args:
        folder: of the images.
        shapes: of the images that are used.
        even_so: tell instead of refusing.

    Returns:
        lines to tell the user.

    Raises:
        DataError: some are grey and some in colour, some have 16 bits, or some have clearly another size than most.
    """
    mixed = [line for line in (_mixed_colours(shapes), _mixed_depths(shapes), _other_sizes(shapes)) if line]
    if mixed and not even_so:
        raise DataError(
            f"{folder}: expected good images of one kind, as frames will be, found that {'; '.join(mixed)}; "
            "take them out or name them with --exclude, or build with --even-so if frames differ like that too"
        )
    if mixed:
        return tuple(f"going on even so: {line}" for line in mixed)
    sizes = {shape.size for shape in shapes}
    if len(sizes) == 1:
        return ()
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return (
        f"the good images have {len(sizes)} sizes, {_named(ordered[0])} to {_named(ordered[-1])}: "
        "each is resampled to the same view",
    )


def _mixed_colours(shapes: Sequence[Shape]) -> str:
    grey = [shape for shape in shapes if shape.colour.grey]
    coloured = [shape for shape in shapes if shape.colour.coloured]
    return _fewer(shapes, (grey, "grey, the others in colour"), (coloured, "in colour, the others grey"))


def _mixed_depths(shapes: Sequence[Shape]) -> str:
    deep = [shape for shape in shapes if shape.depth == 16]
    usual = [shape for shape in shapes if shape.depth != 16]
    what = "stored in {} bits per channel, the others in {}"
    return _fewer(shapes, (deep, what.format(16, 8)), (usual, what.format(8, 16)))


def _other_sizes(shapes: Sequence[Shape]) -> str:
    """Where most images have one size, those that clearly differ from it. Sizes that differ by nature have no such."""
    (size, count), *_ = Counter(shape.size for shape in shapes).most_common(1)
    if 2 * count <= len(shapes):
        return ""
    odd = [shape for shape in shapes if _differs(shape.size, size)]
    found = ", ".join(sorted({_named(shape.size) for shape in odd})[:SHOWN])
    return _odd_ones(odd, shapes, f"of {found} pixels, most of {_named(size)}") if odd else ""


def _differs(size: Size, usual: Size) -> bool:
    """Whether a size differs clearly from another: in aspect, or in the length of its sides."""
    high, wide = (abs(math.log(have / want)) for have, want in zip(size, usual, strict=True))
    aspect = abs(math.log(size[1] * usual[0] / (size[0] * usual[1])))
    return aspect > math.log(ASPECT) or max(high, wide) > math.log(SIDES)


def _fewer(shapes: Sequence[Shape], *kinds: tuple[Sequence[Shape], str]) -> str:
    """Names the kind with fewer images, of two; empty if there is only one kind."""
    if not all(found for found, _ in kinds):
        return ""
    odd, what = min(kinds, key=lambda kind: len(kind[0]))
    return _odd_ones(odd, shapes, what)


def _odd_ones(odd: Sequence[Shape], shapes: Sequence[Shape], what: str) -> str:
    more = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
    names = ", ".join(shape.name for shape in odd[:SHOWN]) + more
    return f"{len(odd)} of {len(shapes)} {'is' if len(odd) == 1 else 'are'} {what}: {names}"


def _named(size: Size) -> str:
    return f"{size[1]}x{size[0]}"
